/**
 * What all resyncs of a site share: how many go on at once, and the rate that the source allows.
 * Bounded whatever the number of groups (I9).
 */
export interface ResyncPaceOptions {
  /** Groups that copy at once; the others wait their turn, batch by batch. */
  readonly concurrency: number;
  readonly nowMs: () => number;
  readonly delay: (ms: number) => Promise<void>;
}

export class ResyncPace {
  readonly #options: ResyncPaceOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #freeAtMs = 0;

  constructor(options: ResyncPaceOptions) {
    this.#options = options;
  }

  /** Runs a batch when it is its turn. */
  async run<Result>(batch: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#options.concurrency) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      return await batch();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  /** So many bytes were copied; resolves when more may be, at `rateBytes` per second. */
  async spend(bytes: number, rateBytes: number): Promise<void> {
    const { nowMs, delay } = this.#options;
    const now = nowMs();
    this.#freeAtMs = Math.max(now, this.#freeAtMs) + (bytes / Math.max(1, rateBytes)) * 1000;
    // Short waits are gathered: a timer is no better than a few milliseconds.
    if (this.#freeAtMs - now > 5) await delay(this.#freeAtMs - now);
  }
}
