/** Sections of figures that are no job's: the soak, single figures, parts by themselves. Pure. */
import type { Results, SingleValue } from '../results.ts';
import { formatNumber } from '../table.ts';
import { lineChart } from './line-chart.ts';
import { escapeText, section, table } from './markup.ts';

/** What a long run with kills has shown: everything has to stay flat. */
export function soakSection(results: Results): string {
  const values = results.values.filter(({ group }) => group === 'soak');
  if (values.length === 0) return '';
  const charts = results.plots
    .filter(({ group }) => group === 'soak')
    .map(({ lines, ...plot }) =>
      lineChart({
        ...plot,
        lines: Object.entries(lines).map(([name, points]) => ({ name, points })),
      }),
    );
  const rows = values.map(({ title, value, note }) => [
    title,
    { markup: badge(note) },
    formatNumber(value),
    note.slice(note.indexOf(':') + 1).trim(),
  ]);
  const columns = [
    { title: 'what' },
    { title: 'verdict' },
    { title: 'late / early', numeric: true },
    { title: 'medians' },
  ];
  const intro =
    '<p>A mixed load for a long time, with a site killed and started again every so often. The last third of the longest life of each process is compared with its first third; log and latency over the whole run.</p>';
  return section(
    'soak',
    'The soak',
    `${intro}${table(columns, rows)}<div class="charts">${charts.join('\n')}</div>`,
  );
}

/** Notes of the soak begin with its verdict. */
function badge(note: string): string {
  const verdict = note.slice(0, note.indexOf(':'));
  const kind = verdict === 'flat' ? 'goal' : verdict === 'grows' ? 'missed' : '';
  return `<span class="badge ${kind}">${escapeText(verdict)}</span>`;
}

export function valueSection(results: Results): string {
  const rows = results.values.filter(({ group }) => group === undefined).map(row);
  return rows.length === 0 ? '' : section('values', 'Single figures', valueTable(rows));
}

export function microSection(results: Results): string {
  const rows = results.values.filter(({ group }) => group === 'micro').map(row);
  if (rows.length === 0) return '';
  const intro =
    '<p>What the parts of the path of a write take when nothing else is asked of the process.</p>';
  return section('parts', 'Parts by themselves', intro + valueTable(rows));
}

const row = ({ title, value, unit, note }: SingleValue): string[] => [
  title,
  formatNumber(value),
  unit,
  note,
];

const valueTable = (rows: readonly (readonly string[])[]): string =>
  table(
    [{ title: 'figure' }, { title: 'value', numeric: true }, { title: 'unit' }, { title: 'how' }],
    rows,
  );
