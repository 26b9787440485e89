/**
 * What becomes of requests that are refused for who sends them: each is counted, and told as an
 * event, but strangers who go on trying must not push what operators did out of the list of events.
 * So only a few are told at once, then one from time to time, with how many were not.
 */

/** Why: no token, one that is not known, or one whose role is too small. */
export type RefusalReason = 'no-token' | 'wrong-token' | 'role';

const toldAtOnce = 10;
const tellAgainMs = 600_000;

export class RefusalCount {
  /** Since the start, by reason. */
  readonly counts: Record<RefusalReason, number> = { 'no-token': 0, 'wrong-token': 0, role: 0 };
  readonly #budgets: Readonly<Record<RefusalReason, Budget>>;

  constructor(nowMs: () => number) {
    const budget = (): Budget => new Budget(nowMs);
    // Strangers can't use up what tells of a token that is misused.
    this.#budgets = { 'no-token': budget(), 'wrong-token': budget(), role: budget() };
  }

  count(reason: RefusalReason): void {
    this.counts[reason] += 1;
  }

  /** The text to tell of one; undefined if it is one too many to be told. */
  tell(reason: RefusalReason, text: string): string | undefined {
    return this.#budgets[reason].spend(text);
  }
}

class Budget {
  readonly #nowMs: () => number;
  #left = toldAtOnce;
  #refilledAtMs: number;
  #untold = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#refilledAtMs = nowMs();
  }

  spend(text: string): string | undefined {
    const more = Math.floor((this.#nowMs() - this.#refilledAtMs) / tellAgainMs);
    this.#refilledAtMs += more * tellAgainMs;
    this.#left = Math.min(toldAtOnce, this.#left + more);
    if (this.#left === 0) {
      this.#untold += 1;
      return undefined;
    }
    this.#left -= 1;
    const others = this.#untold === 0 ? '' : `; ${this.#untold} more since the last one told`;
    this.#untold = 0;
    return text + others;
  }
}
