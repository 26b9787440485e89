/** Who waits for a condition that only certain moments can change: each of them looks at it. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /**
   * Resolves when `condition` holds, looked at now and at every `look`; never once `givenUp` is
   * aborted, and nothing is kept of it then.
   */
  until(condition: () => boolean, givenUp?: AbortSignal): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      if (givenUp?.aborted === true) return;
      this.#waiting.add(look);
      givenUp?.addEventListener('abort', () => this.#waiting.delete(look), { once: true });
    });
  }

  look(): void {
    if (this.#waiting.size > 0) for (const look of [...this.#waiting]) look();
  }
}
