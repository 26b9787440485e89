/**
 * How much the requests of all clients of this site may hold in memory (I9). Past the limit the
 * sockets are not read; when there is room again, whoever waits is called.
 *
 * A group that can neither do its requests nor pass them on keeps what it holds for as long as that
 * takes, which may be days. The groups that serve share the memory with it and must not wait as
 * long: so one group that is held takes no more once it has a quarter of the memory, or all such
 * groups together half of it; and a group that serves and holds nothing may take a request whatever
 * the others hold, for they may have filled the memory before they had to hold it.
 */

/** Share of the memory from which on a group that does not serve takes nothing more. */
const heldGroupShare = 1 / 4;
/** Share of the memory from which on no group that does not serve takes anything more. */
const heldTotalShare = 1 / 2;

interface Waiting {
  /** Undefined: waits for the memory of the site alone. */
  readonly account: MemoryAccount | undefined;
  readonly resume: () => void;
}

export class MemoryBudget {
  readonly limitBytes: number;
  #usedBytes = 0;
  #heldBytes = 0;
  #waiting: Waiting[] = [];

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Of those, what groups hold that do not serve. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get full(): boolean {
    return this.#usedBytes >= this.limitBytes;
  }

  /** Of its accounts only: what a group uses, and how much of that is held. */
  change(usedBytes: number, heldBytes: number): void {
    this.#usedBytes += usedBytes;
    this.#heldBytes += heldBytes;
  }

  whenRoom(resume: () => void, account?: MemoryAccount): void {
    this.#waiting.push({ account, resume });
  }

  /** Calls those for whom there is room; also called when another limit has eased. */
  wake(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) {
      if ((each.account ?? this).full) this.#waiting.push(each);
      else each.resume();
    }
  }
}

/** What one group uses of it. */
export class MemoryAccount {
  readonly #budget: MemoryBudget;
  #usedBytes = 0;
  #held = false;

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The group's clients may not send more for now. */
  get full(): boolean {
    const budget = this.#budget;
    if (!this.#held) return budget.full && this.#usedBytes > 0;
    return (
      budget.full ||
      this.#usedBytes >= budget.limitBytes * heldGroupShare ||
      budget.heldBytes >= budget.limitBytes * heldTotalShare
    );
  }

  /** Whether the group holds its requests: it can neither do them nor pass them on. */
  setHeld(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    this.#budget.change(0, held ? this.#usedBytes : -this.#usedBytes);
    this.#budget.wake();
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
    this.#budget.change(bytes, this.#held ? bytes : 0);
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#budget.change(-bytes, this.#held ? -bytes : 0);
    // While the memory is used up, nobody but a group with nothing in it gains by this.
    if (!this.#budget.full || this.#usedBytes === 0) this.#budget.wake();
  }

  whenRoom(resume: () => void): void {
    this.#budget.whenRoom(resume, this);
  }
}
