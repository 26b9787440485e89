/** Each job's targets next to each other: a bar for each, and all its figures below. Pure. */
import { boundNames, roundTripName } from '../bound.ts';
import { casemateName, casemateTcpName } from '../casemate-names.ts';
import { jobs } from '../jobs.ts';
import type { Results, SampleField } from '../results.ts';
import { ratio } from '../statistics.ts';
import { formatNumber } from '../table.ts';
import { durabilities } from '../target.ts';
import { barChart } from './bar-chart.ts';
import { section, table } from './markup.ts';

/** From this block size on throughput tells more than operations. */
const largeBytes = 64 * 1024;

export const kinds = {
  own: 'Casemate',
  bound: 'bound of the machine',
  same: 'synced on every copy before the answer',
  weaker: 'answered from the page cache',
} as const;

/** How a target is shown. */
export function kindOf(results: Results, target: string): keyof typeof kinds {
  if (target === casemateName || target === casemateTcpName) return 'own';
  if (boundNames.some((name) => name === target)) return 'bound';
  return results.target(target)?.durability === durabilities.pageCache ? 'weaker' : 'same';
}

export function sideBySide(results: Results): string {
  const parts = jobs
    .filter(({ onlyForSweep }) => onlyForSweep !== true)
    .map(({ name, title, workload }) => oneJob(results, name, title, workload.blockBytes));
  if (parts.every((part) => part === '')) return '';
  const legend = Object.entries(kinds)
    .map(([kind, text]) => `<span class="key ${kind}">${text}</span>`)
    .join(' ');
  const intro = `<p>Medians of the repetitions; the whisker spans them. Longer is faster. The percentage is Casemate’s rate in parts of that target’s.</p><p class="legend">${legend}</p>`;
  return section('side-by-side', 'Side by side', intro + parts.join('\n'));
}

function oneJob(results: Results, job: string, title: string, blockBytes: number): string {
  const targets = results.targetsOf(job);
  if (targets.length === 0) return '';
  const large = blockBytes >= largeBytes;
  const field: SampleField = large ? 'throughput' : 'rate';
  const own = results.median(job, casemateName, field);
  // A round trip alone is so much faster that next to it the others could not be told apart.
  const bars = targets
    .filter((target) => target !== roundTripName)
    .map((target) => {
      const value = results.median(job, target, field) ?? 0;
      const repeated = results.repetitions(job, target, field);
      const copies = results.target(target)?.copies;
      const part = target === casemateName ? undefined : ratio(own, value);
      return {
        label: copies === 1 ? `${target} (1 copy)` : target,
        value,
        range:
          repeated.length > 1
            ? ([Math.min(...repeated), Math.max(...repeated)] as const)
            : undefined,
        kind: kindOf(results, target),
        note: part === undefined ? '' : `${Math.round(part * 100)} %`,
      };
    })
    .sort((a, b) => b.value - a.value);
  return `${barChart(title, large ? 'MiB/s' : 'IOPS', bars)}
<details><summary>All figures of ${job}</summary>${figures(results, job, targets)}</details>`;
}

function figures(results: Results, job: string, targets: readonly string[]): string {
  const columns = [
    'IOPS',
    'spread',
    'MiB/s',
    'p50 µs',
    'p99 µs',
    'p99.9 µs',
    'max µs',
    'CPU µs/op',
  ];
  const rows = targets.map((target) => {
    const figure = (field: SampleField): string => formatNumber(results.median(job, target, field));
    const spread = `${Math.round(results.spread(job, target, 'rate') * 100)} %`;
    return [
      target,
      figure('rate'),
      results.repetitions(job, target, 'rate').length > 1 ? spread : '–',
      figure('throughput'),
      figure('p50'),
      figure('p99'),
      figure('p999'),
      figure('max'),
      figure('cpu'),
    ];
  });
  return table(
    [{ title: 'target' }, ...columns.map((title) => ({ title, numeric: true }))],
    rows,
    (row) => (targets[row] === casemateName ? 'own' : ''),
  );
}
