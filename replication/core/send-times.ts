/**
 * When was the message sent whose number an acknowledgement echoes (R19)? Only a coarse answer is
 * kept: one entry for every 1/64 of the lease, and an acknowledgement counts from the newest entry
 * at or before the echoed number. That is never later than the truth, so the lease is never too
 * long, and a session with thousands of frames a second keeps a hundred numbers.
 */

const slots = 128;
const entriesPerLease = 64;

export class SendTimes {
  readonly #numbers: Float64Array = new Float64Array(slots);
  readonly #times: Float64Array = new Float64Array(slots);
  #count = 0;

  /** Message `number` is about to be sent, `nowMs` or later. Numbers rise. */
  record(number: number, nowMs: number, leaseMs: number): void {
    if (this.#count > 0) {
      const newest = this.#times[(this.#count - 1) % slots] ?? 0;
      if (nowMs - newest < leaseMs / entriesPerLease) return;
    }
    const slot = this.#count % slots;
    this.#numbers[slot] = number;
    this.#times[slot] = nowMs;
    this.#count += 1;
  }

  /** A time at or before which nothing from `number` on was sent; undefined when too old. */
  sentAtMs(number: number): number | undefined {
    const oldest = Math.max(0, this.#count - slots);
    for (let index = this.#count - 1; index >= oldest; index -= 1) {
      if ((this.#numbers[index % slots] ?? 0) <= number) return this.#times[index % slots];
    }
    return undefined;
  }
}
