/**
 * Ballots (R4): (round, site, life), compared in that order. The random id of the life keeps a
 * restarted proposer from using a ballot twice (H36).
 */
import type { StoreId } from '../../wal/frame.ts';

export interface Ballot {
  readonly round: number;
  readonly storeId: StoreId;
  readonly bootId: string;
}

/** Negative, zero or positive as `a` is below, equal to or above `b`; nothing is below all. */
export function compareBallots(a: Ballot | undefined, b: Ballot | undefined): number {
  if (a === undefined || b === undefined) {
    return (a === undefined ? 0 : 1) - (b === undefined ? 0 : 1);
  }
  if (a.round !== b.round) return a.round - b.round;
  if (a.storeId !== b.storeId) return a.storeId < b.storeId ? -1 : 1;
  if (a.bootId === b.bootId) return 0;
  return a.bootId < b.bootId ? -1 : 1;
}
