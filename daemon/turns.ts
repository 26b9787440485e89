/** Who changes the same thing takes turns: each begins when the one before it has ended. */
export class Turns<Key> {
  /** The last turn of each. */
  readonly #last = new Map<Key, Promise<void>>();

  /** Runs `change` after all that came before it for `key`, whether these succeeded or not. */
  async take(key: Key, change: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(change);
    const ended = turn.catch(() => undefined);
    this.#last.set(key, ended);
    try {
      await turn;
    } finally {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    }
  }
}
