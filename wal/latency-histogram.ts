/**
 * Counts of durations in buckets, for the path of a write: observing one allocates nothing. The
 * bounds rise by about a factor of 1.6, from 25 µs to 40 s, so that a percentile read from it is
 * never off by more than that.
 */

/** What a histogram holds at one moment. */
export interface LatencySnapshot {
  /** Observations in each bucket (not cumulative); the last one is for those above all bounds. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumMs: number;
}

const boundsMs = [
  0.025, 0.04, 0.063, 0.1, 0.16, 0.25, 0.4, 0.63, 1, 1.6, 2.5, 4, 6.3, 10, 16, 25, 40, 63, 100, 160,
  250, 400, 630, 1000, 1600, 2500, 4000, 6300, 10_000, 16_000, 25_000, 40_000,
] as const;

/** The bounds once more, as the search wants them: a typed array has no holes to check for. */
const searchedMs = Float64Array.from(boundsMs);

/** Index of the first bound that is not below `ms`; the number of bounds if all are. */
function bucketOf(ms: number): number {
  let low = 0;
  let high = searchedMs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((searchedMs[middle] ?? 0) < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class LatencyHistogram {
  /** Upper bounds of the buckets (a duration equal to a bound counts below it). */
  static readonly boundsMs: readonly number[] = boundsMs;
  /** Float64, so that a count never wraps. */
  readonly #counts = new Float64Array(boundsMs.length + 1);
  #sumMs = 0;

  /** Counts one duration; one below zero (a clock that was set) counts as zero. */
  observe(ms: number): void {
    const duration = Math.max(ms, 0);
    const bucket = bucketOf(duration);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sumMs += duration;
  }

  snapshot(): LatencySnapshot {
    const counts = Array.from(this.#counts);
    const count = counts.reduce((sum, each) => sum + each, 0);
    return { counts, count, sumMs: this.#sumMs };
  }
}
