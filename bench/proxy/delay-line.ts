/**
 * Bytes on their way over a simulated distance, in one direction of one connection: what enters
 * leaves in the same order, no earlier than the delay after it came. Pure: the caller has the
 * clock.
 *
 *     push(chunk, now) ──> [ due 5.2 | due 5.3 | due 5.9 ] ──> take(now)
 *
 * A delay that is shortened while bytes are under way lets no later ones overtake: nothing leaves
 * before what entered ahead of it. The line is bounded: past `bytesMax` it is full, and whoever
 * feeds it has to stop reading until something has left.
 */

export class DelayLine {
  readonly #bytesMax: number;
  #queue: { readonly chunk: Buffer; readonly dueMs: number }[] = [];
  #first = 0;
  #bytes = 0;

  /** `bytesMax` is above delay x rate of what passes, or the line limits that rate. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True when no more may be pushed for the moment. */
  get full(): boolean {
    return this.#bytes >= this.#bytesMax;
  }

  /** When the next bytes may leave; undefined while nothing is under way. */
  get nextDueMs(): number | undefined {
    return this.#queue[this.#first]?.dueMs;
  }

  push(chunk: Buffer, nowMs: number, delayMs: number): void {
    this.#queue.push({ chunk, dueMs: nowMs + delayMs });
    this.#bytes += chunk.length;
  }

  /** Everything that has arrived by now, in order. */
  take(nowMs: number): Buffer[] {
    const arrived: Buffer[] = [];
    for (;;) {
      const head = this.#queue[this.#first];
      if (head === undefined || head.dueMs > nowMs) break;
      arrived.push(head.chunk);
      this.#bytes -= head.chunk.length;
      this.#first += 1;
    }
    if (this.#first === this.#queue.length || this.#first > compactAt) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    return arrived;
  }
}

/** Places at the front of the queue that are empty before it is made anew. */
const compactAt = 1024;
