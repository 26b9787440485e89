/**
 * Memory that all connections of a server hold together: requests in flight, payloads that are
 * still coming, replies that clients have not taken (I9). When it is used up no connection that
 * holds any of it takes another request until some is given back. One that holds nothing takes a
 * request at a time, or clients whose requests are held for ever could keep it from being served.
 */
export class TrafficBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;
  #waiting: (() => void)[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get full(): boolean {
    return this.#usedBytes >= this.#limitBytes;
  }

  change(deltaBytes: number): void {
    this.#usedBytes += deltaBytes;
    if (this.#waiting.length === 0 || this.full) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  whenRoom(resume: () => void): void {
    this.#waiting.push(resume);
  }
}
