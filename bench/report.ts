/** The figures of a run as text: machine, jobs by target, single values, marks. */
import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { casemateName } from './casemate.ts';
import { jobs } from './jobs.ts';
import type { Results } from './results.ts';
import { ratio } from './statistics.ts';
import { formatNumber, formatTable } from './table.ts';
import { judge, marks } from './targets.ts';

const left = (title: string) => ({ title, align: 'left' }) as const;
const right = (title: string) => ({ title, align: 'right' }) as const;

/** What the figures were taken on. */
export function machine(): Record<string, string> {
  const processors = cpus();
  return {
    processor: `${processors.length} x ${processors[0]?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: `${release()} ${arch()}`,
    node: process.version,
    load: readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' '),
  };
}

/** Every table of a run, ready to be printed; marks of the named jobs only. */
export function formatReport(results: Results, names: readonly string[]): string {
  const sections = [
    Object.entries(machine())
      .map(([name, value]) => `${name}: ${value}`)
      .join('\n'),
    ...[...jobs.map(({ name, title }) => ({ name, title })), ...extraJobs].flatMap((job) =>
      formatJob(results, job),
    ),
  ];
  if (results.values.length > 0) sections.push(formatValues(results));
  sections.push(formatMarks(results, names));
  if (results.absent.length > 0) {
    const lines = results.absent.map(({ name, reason }) => `${name}: ${reason}`);
    sections.push(['Absent on this machine:', ...lines].join('\n'));
  }
  const verified = 'All copies were compared at rest and are equal.';
  sections.push(
    results.problems.length === 0 ? verified : ['PROBLEMS:', ...results.problems].join('\n'),
  );
  return `${sections.join('\n\n')}\n`;
}

const extraJobs = [
  { name: 'volumes-64', title: '64 volumes, 4 KiB random write QD1 each' },
  { name: 'volume-qd64', title: '1 volume, 4 KiB random write QD64' },
  { name: 'resync', title: '4 KiB random write QD8 while the peer catches up' },
];

function formatJob(results: Results, job: { name: string; title: string }): string[] {
  const names = results.targetsOf(job.name);
  if (names.length === 0) return [];
  const reference = results.median(job.name, casemateName, 'rate');
  const rows = names.map((target) => {
    const rate = results.median(job.name, target, 'rate');
    const figure = (field: 'throughput' | 'p50' | 'p99' | 'p999' | 'max' | 'cpu'): string =>
      formatNumber(results.median(job.name, target, field));
    const width = Math.round(results.spread(job.name, target, 'rate') * 100);
    return [
      target,
      formatNumber(rate),
      `${width} %`,
      figure('throughput'),
      figure('p50'),
      figure('p99'),
      figure('p999'),
      figure('max'),
      figure('cpu'),
      formatNumber(ratio(reference, rate)),
    ];
  });
  const columns = [
    left('target'),
    right('IOPS'),
    right('spread'),
    right('MiB/s'),
    right('p50 µs'),
    right('p99 µs'),
    right('p99.9 µs'),
    right('max µs'),
    right('CPU µs/op'),
    right('Casemate / it'),
  ];
  return [`${job.title} (${job.name})\n${formatTable(columns, rows)}`];
}

function formatValues(results: Results): string {
  const rows = results.values.map(({ title, value, unit, note }) => [
    title,
    formatNumber(value),
    unit,
    note,
  ]);
  const columns = [left('figure'), right('value'), left('unit'), left('how')];
  return formatTable(columns, rows);
}

function formatMarks(results: Results, names: readonly string[]): string {
  const asked = marks.filter(({ job }) => names.includes(job));
  const rows = judge(results, asked).map(({ mark, measured, verdict }) => [
    mark.job,
    mark.level,
    formatNumber(measured),
    `${mark.comparison === 'at least' ? '>=' : '<='} ${mark.asked}`,
    verdict,
    mark.formula,
  ]);
  const columns = [
    left('job'),
    left('level'),
    right('measured'),
    left('asked'),
    left('verdict'),
    left('formula'),
  ];
  return formatTable(columns, rows);
}
