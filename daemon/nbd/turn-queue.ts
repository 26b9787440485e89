/**
 * Gathers the work of one turn of the event loop: whatever has been added while callbacks ran is
 * done once, right after them. A group commit that answers thirty requests of a connection makes
 * one write of its socket that way.
 */
export interface TurnTaker {
  /** The taker is in the queue already. Kept by the queue. */
  turnDue: boolean;
  takeTurn(): void;
}

export class TurnQueue {
  #due: TurnTaker[] = [];
  readonly #run = (): void => {
    const due = this.#due;
    this.#due = [];
    for (const taker of due) {
      taker.turnDue = false;
      taker.takeTurn();
    }
  };

  add(taker: TurnTaker): void {
    if (taker.turnDue) return;
    taker.turnDue = true;
    this.#due.push(taker);
    if (this.#due.length === 1) setImmediate(this.#run);
  }
}
