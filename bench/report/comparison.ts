/** Two runs compared, as text. Pure. */
import { compareRuns, compareValues, type Difference, findings } from '../compare.ts';
import type { SampleField } from '../results.ts';
import type { Run } from '../run-document.ts';
import { ratio } from '../statistics.ts';
import { formatNumber, formatTable } from '../table.ts';
import { answers } from '../targets.ts';

const left = (title: string) => ({ title, align: 'left' }) as const;
const right = (title: string) => ({ title, align: 'right' }) as const;

const fieldNames: Readonly<Record<SampleField, string>> = {
  rate: 'IOPS',
  throughput: 'MiB/s',
  p50: 'p50 µs',
  p99: 'p99 µs',
  p999: 'p99.9 µs',
  max: 'max µs',
  cpu: 'CPU µs/op',
};

/** What `--compare A B` prints; ratios are B / A. */
export function formatComparison(before: Run, after: Run): string {
  const differences = compareRuns(before.results, after.results);
  const sections = [
    `A: ${before.head.time}\nB: ${after.head.time}\n${unlike(before, after)}`.trimEnd(),
    formatDifferences(differences),
    formatMarks(before, after),
    formatValues(before, after),
    conclusion(differences),
  ];
  return `${sections.filter((each) => each !== '').join('\n\n')}\n`;
}

/** Warns when the runs were not made alike. */
function unlike(before: Run, after: Run): string {
  const [a, b] = [before.head, after.head];
  const parts: string[] = [];
  for (const name of ['processor', 'memory', 'kernel', 'node']) {
    if (a.machine[name] !== b.machine[name]) {
      parts.push(`${name}: ${a.machine[name]} / ${b.machine[name]}`);
    }
  }
  if (JSON.stringify(a.settings) !== JSON.stringify(b.settings)) {
    parts.push(`settings: ${JSON.stringify(a.settings)} / ${JSON.stringify(b.settings)}`);
  }
  return parts.length === 0 ? '' : `NOT ALIKE, compare with care:\n${parts.join('\n')}`;
}

function formatDifferences(differences: readonly Difference[]): string {
  if (differences.length === 0) return 'The runs have no job in common.';
  const rows = differences.map((each) => [
    each.job,
    fieldNames[each.field],
    formatNumber(each.before),
    formatNumber(each.after),
    formatNumber(each.ratio),
    each.finding === 'unknown'
      ? '-'
      : `${formatNumber(each.range[0])} to ${formatNumber(each.range[1])}`,
    formatNumber(each.others),
    findings[each.finding],
  ]);
  const columns = [
    left('job (Casemate)'),
    left('figure'),
    right('A'),
    right('B'),
    right('B / A'),
    left('repetitions'),
    right('others B / A'),
    left('finding'),
  ];
  return formatTable(columns, rows);
}

/** The marks are ratios within one run, so that a machine that drifts moves them less. */
function formatMarks(before: Run, after: Run): string {
  const earlier = answers(before.results, before.head.wanted);
  const rows = answers(after.results, after.head.wanted).flatMap(({ asked, measured, outcome }) => {
    const old = earlier.find((each) => each.asked === asked);
    if (old?.measured === undefined || measured === undefined) return [];
    return [
      [
        asked.job,
        asked.formula,
        formatNumber(old.measured),
        formatNumber(measured),
        formatNumber(ratio(measured, old.measured)),
        old.outcome === outcome ? outcome : `${old.outcome} -> ${outcome}`,
      ],
    ];
  });
  if (rows.length === 0) return '';
  const columns = [
    left('job'),
    left('asked'),
    right('A'),
    right('B'),
    right('B / A'),
    left('mark'),
  ];
  return formatTable(columns, rows);
}

function formatValues(before: Run, after: Run): string {
  const rows = compareValues(before.results, after.results).map((each) => [
    each.title,
    each.unit,
    formatNumber(each.before),
    formatNumber(each.after),
    formatNumber(ratio(each.after, each.before)),
  ]);
  if (rows.length === 0) return '';
  const columns = [left('single figure'), left('unit'), right('A'), right('B'), right('B / A')];
  return formatTable(columns, rows);
}

function conclusion(differences: readonly Difference[]): string {
  const names = (finding: 'better' | 'worse'): string =>
    differences
      .filter((each) => each.finding === finding)
      .map(({ job, field, ratio: by }) => `${job} ${fieldNames[field]} x ${formatNumber(by)}`)
      .join('\n  ');
  const better = names('better');
  const worse = names('worse');
  if (differences.some(({ finding }) => finding === 'unknown') && better === '' && worse === '') {
    return 'Nothing can be said for sure: runs of one repetition show no noise. Use --rounds 3 or more.';
  }
  return [
    better === '' ? 'Nothing is better beyond the noise.' : `Better beyond the noise:\n  ${better}`,
    worse === '' ? 'Nothing is worse beyond the noise.' : `Worse beyond the noise:\n  ${worse}`,
  ].join('\n');
}
