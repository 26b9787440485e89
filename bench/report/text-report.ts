/** The figures of a run as text: machine, jobs by target, single values, marks. */
import { casemateName } from '../casemate-names.ts';
import { jobs } from '../jobs.ts';
import type { Results } from '../results.ts';
import type { Run } from '../run-document.ts';
import { scenarioJobs } from '../scenario-jobs.ts';
import { ratio } from '../statistics.ts';
import { formatNumber, formatTable } from '../table.ts';
import { answers } from '../targets.ts';
import { costColumns, costRows } from './costs.ts';

const left = (title: string) => ({ title, align: 'left' }) as const;
const right = (title: string) => ({ title, align: 'right' }) as const;

/** Every table of a run, ready to be printed; marks of the named jobs only. */
export function formatReport({ head, results }: Run): string {
  const sections = [
    Object.entries(head.machine)
      .map(([name, value]) => `${name}: ${value}`)
      .join('\n'),
    ...[...jobs.map(({ name, title }) => ({ name, title })), ...scenarioJobs].flatMap((job) =>
      formatJob(results, job),
    ),
  ];
  if (results.values.length > 0) sections.push(formatValues(results));
  sections.push(formatCosts(results), formatAnswers(results, head.wanted));
  if (results.absent.length > 0) {
    const lines = results.absent.map(({ name, reason }) => `${name}: ${reason}`);
    sections.push(['Absent on this machine:', ...lines].join('\n'));
  }
  const verified = 'All copies were compared at rest and are equal.';
  sections.push(
    results.problems.length === 0 ? verified : ['PROBLEMS:', ...results.problems].join('\n'),
  );
  return `${sections.filter((each) => each !== '').join('\n\n')}\n`;
}

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

/** Outcomes in a word each. */
export const outcomes = {
  goal: 'goal met',
  first: 'first met',
  missed: 'missed',
  'not measured': 'not measured',
} as const;

function formatAnswers(results: Results, names: readonly string[]): string {
  const rows = answers(results, names).map(({ asked, measured, range, outcome }) => [
    asked.job,
    formatNumber(measured),
    range === undefined ? '' : `${formatNumber(range[0])} to ${formatNumber(range[1])}`,
    asked.first === undefined ? '-' : String(asked.first),
    asked.goal === undefined ? '-' : String(asked.goal),
    asked.comparison,
    outcomes[outcome],
    asked.formula,
  ]);
  if (rows.length === 0) return '';
  const columns = [
    left('job'),
    right('measured'),
    left('repetitions'),
    right('first'),
    right('goal'),
    left('asked'),
    left('verdict'),
    left('formula'),
  ];
  return formatTable(columns, rows);
}

/** What Casemate's runs cost, of those with samples. */
function formatCosts(results: Results): string {
  const rows = costRows(results).map(({ job, cells }) => [job, ...cells]);
  if (rows.length === 0) return '';
  const columns = [left('Casemate, costs'), ...costColumns.map((title) => right(title))];
  return formatTable(columns, rows);
}
