/**
 * What a job costs, target by target: rows for both reports, and where a write's time goes. Pure.
 */
import { casemateName } from '../casemate-names.ts';
import type { Costs, LatencySplit } from '../costs.ts';
import { jobs } from '../jobs.ts';
import type { Results } from '../results.ts';
import { median } from '../statistics.ts';
import { formatNumber } from '../table.ts';
import { type Cell, escapeText, section, table } from './markup.ts';

export const costColumns = [
  'CPU µs/op primary',
  'secondary',
  'disk bytes per byte',
  'syncs per write',
  'writes per commit',
  'MiB primary',
  'secondary',
  'loop delay p99 ms',
] as const;

/** Casemate's costs of every job that has samples, as the columns say. */
export function costRows(results: Results): { job: string; cells: string[] }[] {
  return results.jobNames.flatMap((job) => {
    const of = figureOf(results, job, casemateName);
    if (!results.samples(job, casemateName).some(({ costs }) => costs !== undefined)) return [];
    const cells = [
      of((costs) => costs.cpuUsPerOperation['primary']),
      of((costs) => costs.cpuUsPerOperation['secondary']),
      of((costs) => costs.diskBytesPerByte),
      of((costs) => costs.syncsPerWrite),
      of((costs) => costs.writesPerCommit),
      of((costs) => costs.memoryMiB['primary']),
      of((costs) => costs.memoryMiB['secondary']),
      of((costs) => costs.loopDelayP99Ms),
    ].map(formatNumber);
    return [{ job, cells }];
  });
}

/** The median of one of the costs over the repetitions. */
const figureOf =
  (results: Results, job: string, target: string) =>
  (pick: (costs: Costs) => number | undefined): number | undefined =>
    median(
      results
        .samples(job, target)
        .flatMap(({ costs }) => (costs === undefined ? [] : [pick(costs)]))
        .filter((value) => typeof value === 'number'),
    );

export function costSection(results: Results): string {
  const rows = costRows(results).map(({ job, cells }) => [whole(job), ...cells]);
  if (rows.length === 0) return '';
  const columns = [{ title: 'job' }, ...costColumns.map((title) => ({ title, numeric: true }))];
  const intro = `<p>Casemate’s two daemons. A written byte goes to two logs and two data files, so about four bytes reach the disk for each; small writes add the heads of their records, and each log write is rounded up to 4 KiB.</p>`;
  return section(
    'costs',
    'What it costs',
    `${intro}${table(columns, rows)}<h3>By process, next to the others</h3>${processTable(results)}`,
  );
}

/** A cell that is not broken into lines. */
const whole = (text: string): Cell => ({
  markup: `<span class="whole">${escapeText(text)}</span>`,
});

/** Jobs in which CPU and disk writes by process are worth comparing. */
const comparedJobs = ['write-qd1', 'write-qd32', 'write-1m', 'read-qd32'];

function processTable(results: Results): string {
  const rows = comparedJobs.flatMap((job) =>
    results.targetsOf(job).flatMap((target) => {
      const costs = results.samples(job, target).flatMap((sample) => sample.costs ?? []);
      const [first] = costs;
      if (first === undefined) return [];
      const of = figureOf(results, job, target);
      const roles = Object.keys(first.cpuUsPerOperation);
      const each = (pick: (costs: Costs, role: string) => number | undefined): string =>
        roles.map((role) => `${role} ${formatNumber(of((one) => pick(one, role)))}`).join(', ');
      return [
        [
          whole(job),
          target,
          formatNumber(results.median(job, target, 'cpu')),
          each((one, role) => one.cpuUsPerOperation[role]),
          formatNumber(of((one) => one.diskBytesPerByte)),
          each((one, role) => one.memoryMiB[role]),
        ],
      ];
    }),
  );
  return table(
    [
      { title: 'job' },
      { title: 'target' },
      { title: 'CPU µs/op', numeric: true },
      { title: 'by process' },
      { title: 'disk bytes per byte', numeric: true },
      { title: 'memory MiB' },
    ],
    rows,
  );
}

const splitParts: readonly {
  readonly title: string;
  readonly of: (split: LatencySplit) => number;
}[] = [
  { title: 'local log', of: ({ localLogUs }) => localLogUs },
  { title: 'peer and back', of: ({ peerUs }) => peerUs },
  { title: 'committed', of: ({ commitUs }) => commitUs },
  { title: 'answered', of: ({ answerUs }) => answerUs },
];

/** Where a write's time went, as bars that begin at the same moment as what they wait for. */
export function splitSection(results: Results): string {
  const figures = jobs.flatMap(({ name, title }) => splitFigure(results, name, title));
  if (figures.length === 0) return '';
  const intro = `<p>Means, from Casemate’s own histograms at the primary. A write is received, waits for its place in a frame (<i>before</i>), then its frame goes to the local log and to the peer at the same time and is committed when both are done; the answer follows. What lies between “answered” here and the client’s own median is the client, its socket and the waiting of the processors.</p>`;
  return section(
    'latency',
    'Where the time of a write goes',
    `${intro}<div class="charts">${figures.join('\n')}</div>`,
  );
}

const size = { width: 440, label: 110, value: 70, row: 24 };

function splitFigure(results: Results, job: string, title: string): string[] {
  const splits = results.samples(job, casemateName).flatMap(({ costs }) => costs?.split ?? []);
  if (splits.length === 0) return [];
  const values = splitParts.map(({ of }) => median(splits.map(of)) ?? 0);
  const [, , commitUs = 0, answerUs = 0] = values;
  const client = results.median(job, casemateName, 'p50') ?? 0;
  // What is left of an answer's time when its commit is taken off: before the frame, and after.
  const beforeUs = Math.max(0, answerUs - commitUs);
  const bars = [
    ...splitParts.slice(0, 3).map((part, index) => ({
      title: part.title,
      from: beforeUs,
      length: values[index] ?? 0,
      kind: index === 0 ? 'own' : index === 1 ? 'same' : 'weaker',
    })),
    { title: 'answered', from: 0, length: answerUs, kind: 'own' },
    { title: 'client’s median', from: 0, length: client, kind: 'bound' },
  ];
  const max = Math.max(...bars.map(({ from, length }) => from + length), 1);
  const scale = (size.width - size.label - size.value) / max;
  const rows = bars.map(({ title: name, from, length, kind }, index) => {
    const middle = index * size.row + size.row / 2;
    const x = size.label + from * scale;
    const width = Math.max(1, length * scale);
    return `<text class="label" x="${size.label - 8}" y="${middle + 4}" text-anchor="end">${escapeText(name)}</text><rect class="bar ${kind}" x="${x.toFixed(1)}" y="${middle - 7}" width="${width.toFixed(1)}" height="14" rx="2"/><text class="value" x="${(x + width + 5).toFixed(1)}" y="${middle + 4}">${formatNumber(length)}</text>`;
  });
  return [
    `<figure><figcaption>${escapeText(title)} <small>µs; ${formatNumber(beforeUs)} before and after the commit</small></figcaption>
<svg viewBox="0 0 ${size.width} ${bars.length * size.row}" role="img" aria-label="${escapeText(title)}">${rows.join('\n')}</svg></figure>`,
  ];
}
