/**
 * What operators have done to volumes in a run: which there have to be at its end, at both sites,
 * and which may be there or not, because it is not known what became of creating or removing them.
 */

/** `unsure`: it is being created or removed, or that ended with an error. */
export type VolumeState = 'there' | 'unsure' | 'gone';

export class VolumeBook {
  readonly #states = new Map<string, VolumeState>();
  /** How many changes of each there were, and are under way. */
  readonly #changes = new Map<string, number>();
  readonly #changing = new Map<string, number>();
  /** Some volume was to be removed: its clients may get errors. */
  removals = 0;

  constructor(names: readonly string[]) {
    for (const name of names) this.#states.set(name, 'there');
  }

  get names(): readonly string[] {
    return [...this.#states.keys()];
  }

  state(name: string): VolumeState {
    return this.#states.get(name) ?? 'gone';
  }

  /**
   * Something is being done to the volume; what is given tells how it ended, and gives what is
   * known then: nothing, if something else was done to it meanwhile.
   */
  change(name: string): (ended: VolumeState | 'as-before') => VolumeState {
    const before = this.state(name);
    const isAlone = (this.#changing.get(name) ?? 0) === 0;
    const number = (this.#changes.get(name) ?? 0) + 1;
    this.#changes.set(name, number);
    this.#changing.set(name, (this.#changing.get(name) ?? 0) + 1);
    this.#states.set(name, 'unsure');
    return (ended) => {
      this.#changing.set(name, (this.#changing.get(name) ?? 1) - 1);
      const isOnly = isAlone && this.#changes.get(name) === number;
      if (isOnly) this.#states.set(name, ended === 'as-before' ? before : ended);
      return this.state(name);
    };
  }

  /** An operator has chosen between two histories: what he had done before may be in neither. */
  doubtAll(names: readonly string[]): void {
    for (const name of names) {
      this.#states.set(name, 'unsure');
      this.#changes.set(name, (this.#changes.get(name) ?? 0) + 1);
    }
  }
}
