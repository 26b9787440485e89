/** Who waits for a condition that only certain moments can change: each of them looks at it. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves when `condition` holds, looked at now and at every `look`. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
    });
  }

  look(): void {
    if (this.#waiting.size > 0) for (const look of [...this.#waiting]) look();
  }
}
