/**
 * Two runs next to each other: for each job and figure the ratio of the medians, and whether the
 * difference is larger than the noise. Pure.
 *
 * A difference counts only if the repetitions of both runs lie apart without overlapping, and if it
 * is larger than what the other targets of the same job have moved meanwhile: they are the same
 * programs in both runs, so what moves them is the machine.
 */
import { casemateName } from './casemate-names.ts';
import type { Results, SampleField } from './results.ts';
import { median, ratio } from './statistics.ts';

export const findings = {
  better: 'better',
  worse: 'worse',
  noise: 'within the noise',
  machine: 'no more than the others moved',
  unknown: 'too few repetitions to tell',
} as const;
export type Finding = keyof typeof findings;

export interface Difference {
  readonly job: string;
  readonly target: string;
  readonly field: SampleField;
  readonly before: number;
  readonly after: number;
  /** after / before. */
  readonly ratio: number;
  /** Least and largest ratio of any two repetitions. */
  readonly range: readonly [number, number];
  /** Median ratio of the other targets of the job; undefined if there are none. */
  readonly others: number | undefined;
  readonly finding: Finding;
}

const comparedFields: readonly SampleField[] = ['rate', 'throughput', 'p50', 'p99', 'p999', 'cpu'];
const largerIsBetter: ReadonlySet<SampleField> = new Set(['rate', 'throughput']);
/** MiB/s says nothing that IOPS does not, unless operations are large. */
const throughputFrom = 100;

/** Differences of Casemate in every job that both runs have. */
export function compareRuns(before: Results, after: Results): Difference[] {
  return after.jobNames.flatMap((job) =>
    comparedFields.flatMap((field) => difference(before, after, job, field)),
  );
}

function difference(
  before: Results,
  after: Results,
  job: string,
  field: SampleField,
): Difference[] {
  const target = casemateName;
  const left = before.repetitions(job, target, field);
  const right = after.repetitions(job, target, field);
  const [beforeMedian, afterMedian] = [median(left), median(right)];
  const quotient = ratio(afterMedian, beforeMedian);
  if (beforeMedian === undefined || afterMedian === undefined || quotient === undefined) return [];
  if (field === 'throughput' && afterMedian < throughputFrom) return [];
  const range = [
    Math.min(...right) / Math.max(...left),
    Math.max(...right) / Math.min(...left),
  ] as const;
  const others = movedOthers(before, after, job, field);
  const enough = left.length > 1 && right.length > 1;
  const finding = enough ? find({ field, quotient, range, others }) : 'unknown';
  const figures = { before: beforeMedian, after: afterMedian, ratio: quotient };
  return [{ job, target, field, ...figures, range, others, finding }];
}

function find(of: {
  field: SampleField;
  quotient: number;
  range: readonly [number, number];
  others: number | undefined;
}): Finding {
  const [low, high] = of.range;
  if (low <= 1 && high >= 1) return 'noise';
  const moved = (value: number): number => Math.abs(Math.log(value));
  const sameWay = of.others !== undefined && of.others > 1 === of.quotient > 1;
  if (sameWay && of.others !== undefined && moved(of.others) >= moved(of.quotient)) {
    return 'machine';
  }
  return of.quotient > 1 === largerIsBetter.has(of.field) ? 'better' : 'worse';
}

/** How far the job's other targets have moved, as the median of their ratios. */
function movedOthers(
  before: Results,
  after: Results,
  job: string,
  field: SampleField,
): number | undefined {
  const ratios = after
    .targetsOf(job)
    .filter((target) => !target.startsWith(casemateName))
    .map((target) => ratio(after.median(job, target, field), before.median(job, target, field)))
    .filter((value) => value !== undefined);
  return median(ratios);
}

/** A figure that is no job's, in both runs. One value each, so nothing is known of its noise. */
export interface ValueDifference {
  readonly title: string;
  readonly unit: string;
  readonly before: number;
  readonly after: number;
}

export function compareValues(before: Results, after: Results): ValueDifference[] {
  return Object.entries(after.toJSON().values).flatMap(([name, { title, unit, value }]) => {
    const earlier = before.value(name);
    return earlier === undefined ? [] : [{ title, unit, before: earlier, after: value }];
  });
}
