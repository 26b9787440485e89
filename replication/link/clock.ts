/**
 * The clock port and the random port of the link. Nothing in `replication/` reads a clock, starts a
 * timer or draws a random number by itself, so that a simulation decides what time it is (the real
 * ones are in `daemon/system-clock.ts`).
 */

export interface Clock {
  /** Monotonic milliseconds (R19: never the event loop's cached time), not the wall clock. */
  nowMs(): number;
  /** Calls `fire` once, `delayMs` from now at the earliest; gives what cancels it. */
  setTimer(delayMs: number, fire: () => void): () => void;
}

export interface Random {
  /** Evenly spread over [0, 1): jitter of reconnects, so that two sites don't retry in step. */
  fraction(): number;
}
