/**
 * Where two histories of one group part (R23), by their epoch histories alone: Raft's log matching
 * with (epoch, id) in the place of terms. The digest at the fork is compared by whoever uses it.
 */
import type { EpochEntry } from './config.ts';

export interface EpochedHistory {
  readonly epochHistory: readonly EpochEntry[];
  readonly endSequence: number;
}

/**
 * The last sequence that two histories have in common: of the newest (epoch, id) that is in both,
 * the smaller of where it ends in each; 0 if there is none. (Ongaro, "Consensus: Bridging Theory
 * and Practice", 2014, section 3.5, the same argument for terms.)
 */
export function findFork(mine: EpochedHistory, theirs: EpochedHistory): number {
  const positions = new Map<string, number>();
  theirs.epochHistory.forEach((entry, index) => {
    positions.set(`${entry.epoch}/${entry.epochId}`, index);
  });
  for (let index = mine.epochHistory.length - 1; index >= 0; index -= 1) {
    const entry = mine.epochHistory[index];
    if (entry === undefined) continue;
    const other = positions.get(`${entry.epoch}/${entry.epochId}`);
    if (other !== undefined) {
      return Math.min(lastSequenceOf(mine, index), lastSequenceOf(theirs, other));
    }
  }
  return 0;
}

function lastSequenceOf(history: EpochedHistory, index: number): number {
  const next = history.epochHistory[index + 1];
  return next === undefined ? history.endSequence : next.firstSequence - 1;
}
