/** R29: the tail of the own log is voided, back to what both sites have. */
import assert from 'node:assert/strict';
import type { HistoryPoint } from '../../wal/frame.ts';
import type { CoreState } from './state.ts';
import { committedFloor } from './state.ts';

/** Voids the tail above `to`, which nobody was answered for. */
export function cut(state: CoreState, to: HistoryPoint): void {
  assert(to.sequence >= committedFloor(state), 'never cut below the committed floor (I3, R23)');
  state.effects.push({ kind: 'cut', to });
  state.event('info', 'group-cut', `tail cut from ${state.end.sequence} to ${to.sequence}`);
  state.end = to;
  state.durable = to.sequence;
  state.tail.discardAbove(to.sequence);
  if (state.tail.digestAt(to.sequence) === undefined) state.tail.reset(to, state.nowMs);
  while ((state.epochHistory.at(-1)?.firstSequence ?? 0) > to.sequence) {
    const gone = state.epochHistory.pop();
    if (state.startConfigs.at(-1)?.epochId === gone?.epochId) state.startConfigs.pop();
  }
}
