/** How far the other site is with its resync from here, by what its questions say of it. */
import type { BulkCallParameters } from './bulk-calls.ts';
import { ByteRate } from './byte-rate.ts';

/** What the peer said is shown this long. */
const shownMsMax = 5000;

export type PeerProgress = BulkCallParameters<'resyncExtents'>['progress'];

export class SeenProgress {
  readonly #nowMs: () => number;
  readonly #rate: ByteRate;
  #last: { readonly progress: PeerProgress; readonly atMs: number } | undefined;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#rate = new ByteRate(nowMs);
  }

  asks(progress: PeerProgress): void {
    const beforeBytes = this.#last?.progress.doneBytes ?? progress.doneBytes;
    this.#rate.count(Math.max(0, progress.doneBytes - beforeBytes));
    this.#last = { progress, atMs: this.#nowMs() };
  }

  /** Undefined: it has not asked for a while. */
  get shown(): (PeerProgress & { readonly rateBytes: number }) | undefined {
    if (this.#last === undefined || this.#nowMs() - this.#last.atMs > shownMsMax) return undefined;
    return { ...this.#last.progress, rateBytes: this.#rate.bytesPerSecond };
  }
}
