/**
 * R17: the primary takes a joined peer back into the in-sync set. The order is what matters (H16,
 * H17): wait for its acknowledgements, then see it reach the commit point, then send the swap; and
 * after that only the swap's outcome ends the wait.
 */
import type { CoreState } from './state.ts';
import { propose } from './swaps.ts';
import { abandonWait } from './wait.ts';

/** A joining peer that lags by no more than about twice this is near enough to be waited for. */
const joinLagMs = 100;

/** Remembers where the log ended at least `joinLagMs` ago. */
export function noteEnd(state: CoreState): void {
  const { endBefore, nowMs } = state;
  if (nowMs - endBefore.atMs < joinLagMs) return;
  state.endBefore = {
    atMs: nowMs,
    earlier: endBefore.sequence,
    sequence: state.end.sequence,
  };
}

/** Called at every acknowledgement and tick: takes the next step if it is due. */
export function considerAdd(state: CoreState): void {
  const { role, link } = state;
  if (role.kind !== 'reigning' || role.phase !== 'open' || state.swap !== undefined) return;
  if (role.config.inSync.length > 1 || link.kind !== 'sending') return;
  if (link.staged) return;
  if (state.wait.kind === 'none') {
    const { earlier } = state.endBefore;
    if (state.nowMs < state.rejoinNotBeforeMs || link.peerDurable < earlier) return;
    state.wait = { kind: 'waiting', peerStore: link.peerStore, sinceMs: state.nowMs };
    state.event('info', 'group-join', 'the peer has nearly everything: waiting for its answers');
  }
  if (link.peerDurable < state.commit || link.peerDurable < role.epochStart) return;
  propose(state, 'add', [state.me, link.peerStore], 'the peer has everything that was answered');
}

/** A joining peer that is silent for `ackTimeoutMs` is not waited for any longer. */
export function expireWait(state: CoreState): void {
  const { wait, link } = state;
  if (wait.kind !== 'waiting') return;
  const { ackTimeoutMs } = state.times;
  const silentSinceMs = link.kind === 'sending' ? link.lastAckAtMs : wait.sinceMs;
  const slow = state.nowMs - wait.sinceMs > ackTimeoutMs;
  if (slow || state.nowMs - silentSinceMs > ackTimeoutMs) {
    abandonWait(state, `it did not catch up within ${ackTimeoutMs} ms`);
  }
}
