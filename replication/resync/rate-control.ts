/**
 * How fast a resync may go: as fast as clients do not feel it (I10 is not at stake, their latency
 * is). The time that commits take is measured over short intervals; while it stays near what it is
 * without a resync, the rate grows, else it shrinks, by factors, between two limits and never to
 * nothing. What commits take without a resync is learnt from the best intervals, and slowly
 * forgotten, for the load of the clients changes too. Pure: time and measurements are given.
 */

/** Intervals shorter than this tell too little. */
const intervalMs = 250;
const growth = 1.25;
/** When there are no clients to feel it; the first that come see it shrink at once. */
const idleGrowth = 2;
const shrinkage = 0.6;
/** So much longer than at rest may commits take. */
const tolerance = 1.5;
const toleranceMs = 0.5;
/** By so much the memory of the best intervals fades in each. */
const fading = 1.01;
/** Fewer commits than this in an interval are no load that could suffer. */
const commitsMin = 3;

export interface CommitFigures {
  readonly count: number;
  readonly sumMs: number;
}

export class RateControl {
  readonly #min: number;
  readonly #max: number;
  #rate: number;
  #restMs: number | undefined;
  #last: (CommitFigures & { readonly atMs: number }) | undefined;

  /** Both limits in bytes per second. */
  constructor(limits: { readonly rateBytesMin: number; readonly rateBytesMax: number }) {
    this.#min = limits.rateBytesMin;
    this.#max = limits.rateBytesMax;
    this.#rate = limits.rateBytesMin;
  }

  /** Bytes per second that all resyncs of the site together may take. */
  get rateBytes(): number {
    return this.#rate;
  }

  /** Looks at all commits of the site so far; to be called while a resync goes on, often. */
  observe(figures: CommitFigures, nowMs: number): void {
    const last = this.#last;
    if (last === undefined || nowMs - last.atMs > 8 * intervalMs) {
      // The first look, or the first in a while: begin gently.
      this.#rate = this.#min;
      this.#last = { ...figures, atMs: nowMs };
      return;
    }
    if (nowMs - last.atMs < intervalMs) return;
    this.#last = { ...figures, atMs: nowMs };
    const count = figures.count - last.count;
    if (count < commitsMin) {
      this.#change(idleGrowth);
      return;
    }
    const meanMs = (figures.sumMs - last.sumMs) / count;
    const restMs = Math.min(meanMs, (this.#restMs ?? meanMs) * fading);
    this.#restMs = restMs;
    this.#change(meanMs <= restMs * tolerance + toleranceMs ? growth : shrinkage);
  }

  #change(factor: number): void {
    this.#rate = Math.min(this.#max, Math.max(this.#min, this.#rate * factor));
  }
}
