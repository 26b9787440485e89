/**
 * What operators have done to volumes in a run: which there have to be at its end, at both sites,
 * and which may be there or not, because it is not known what became of creating or removing them.
 */

/** `unsure`: it is being created or removed, or that ended with an error. */
export type VolumeState = 'there' | 'unsure' | 'gone';

export class VolumeBook {
  readonly #states = new Map<string, VolumeState>();
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

  /** Something is being done to the volume; what is given tells how it ended. */
  change(name: string): (ended: VolumeState | 'as-before') => void {
    const before = this.state(name);
    const others = this.#changing.get(name) ?? 0;
    this.#changing.set(name, others + 1);
    this.#states.set(name, 'unsure');
    return (ended) => {
      const left = (this.#changing.get(name) ?? 1) - 1;
      this.#changing.set(name, left);
      if (ended !== 'as-before') this.#states.set(name, ended);
      else if (others === 0 && left === 0) this.#states.set(name, before);
    };
  }

  /** An operator has chosen between two histories: what he had done before may be in neither. */
  doubtAll(names: readonly string[]): void {
    for (const name of names) this.#states.set(name, 'unsure');
  }
}
