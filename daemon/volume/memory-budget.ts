/**
 * How much the requests of all clients of this site may hold in memory (I9). Past the limit the
 * sockets are not read; when there is room again, whoever waits is called.
 */
export class MemoryBudget {
  readonly limitBytes: number;
  #usedBytes = 0;
  #waiting: (() => void)[] = [];

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get full(): boolean {
    return this.#usedBytes >= this.limitBytes;
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
    if (this.#waiting.length > 0) this.wake();
  }

  whenRoom(resume: () => void): void {
    this.#waiting.push(resume);
  }

  /** Calls those who wait if there is room; also called when another limit has eased. */
  wake(): void {
    if (this.full || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}
