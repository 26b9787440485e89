/** A promise that was broken, or a run that came to nothing: what a failing seed is about. */
export class Violation extends Error {
  /** What kind: the invariant's number, or a word; a shorter trace has to show the same kind. */
  readonly kind: string;

  constructor(kind: string, text: string) {
    super(`${kind}: ${text}`);
    this.name = 'Violation';
    this.kind = kind;
  }
}
