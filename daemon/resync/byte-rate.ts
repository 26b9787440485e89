/** How fast something goes at the moment, for people: the mean of the last few seconds. */
const windowMs = 3000;

export class ByteRate {
  readonly #nowMs: () => number;
  #fromMs = 0;
  #bytes = 0;
  #last = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  count(bytes: number): void {
    const elapsedMs = this.#nowMs() - this.#fromMs;
    if (elapsedMs > windowMs) {
      this.#last = elapsedMs > 2 * windowMs ? 0 : (this.#bytes * 1000) / elapsedMs;
      this.#fromMs = this.#nowMs();
      this.#bytes = 0;
    }
    this.#bytes += bytes;
  }

  get bytesPerSecond(): number {
    const elapsedMs = this.#nowMs() - this.#fromMs;
    if (this.#last > 0 && elapsedMs < windowMs) return this.#last;
    return elapsedMs > 2 * windowMs ? 0 : (this.#bytes * 1000) / Math.max(500, elapsedMs);
  }
}
