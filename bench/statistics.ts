/** Figures of repeated measurements: medians, spread, percentiles, ratios. Pure. */

/** The middle of the values (of two middles, their mean); undefined for none. */
export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) return undefined;
  return (upper + lower) / 2;
}

/** (largest - smallest) / median: how far repetitions lie apart. 0 for fewer than two values. */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  if (middle === undefined || middle === 0 || values.length < 2) return 0;
  return (Math.max(...values) - Math.min(...values)) / middle;
}

/**
 * The smallest value that at least `fraction` (0 to 1) of the values do not exceed (nearest rank);
 * `sorted` is in ascending order. Undefined for none.
 */
export function percentile(sorted: ArrayLike<number>, fraction: number): number | undefined {
  if (sorted.length === 0) return undefined;
  const rank = Math.ceil(fraction * sorted.length);
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1];
}

/** a / b, or undefined when either is missing or b is 0. */
export function ratio(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined || b === 0) return undefined;
  return a / b;
}

/** The largest of the values that are there; undefined for none. */
export function largest(values: readonly (number | undefined)[]): number | undefined {
  const there = values.filter((value) => value !== undefined);
  return there.length === 0 ? undefined : Math.max(...there);
}

/** Latencies of one run of a job, in microseconds. */
export interface Latency {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

/** Latency figures of single measurements in microseconds, in any order. Sorts a copy. */
export function latencyOf(samplesUs: ArrayLike<number>): Latency {
  const sorted = Float64Array.from(samplesUs).sort();
  const at = (fraction: number): number => percentile(sorted, fraction) ?? 0;
  return { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999), maxUs: at(1) };
}
