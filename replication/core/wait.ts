/**
 * `waitsForPeer` of R17: from where the primary's commits need a joining peer's acknowledgement,
 * to the `add` swap; and the pause, doubling, before a slow peer is waited for again.
 */
import type { CoreState } from './state.ts';

/** A wait ends without `add` only before the swap was sent; afterwards only its outcome does. */
export function abandonWait(state: CoreState, reason: string): void {
  if (state.wait.kind === 'none' || state.swap?.name === 'add') return;
  state.wait = { kind: 'none' };
  backOff(state);
  state.event('warn', 'group-join', `no longer waiting for the peer to join: ${reason}`);
}

/** The next attempt to wait for the peer comes no sooner than the backoff, which doubles. */
export function backOff(state: CoreState): void {
  const { rejoinBackoffMs, rejoinBackoffMsMax } = state.times;
  const steady = state.nowMs - state.inSyncSinceMs > rejoinBackoffMsMax;
  if (steady) state.rejoinBackoffMs = rejoinBackoffMs;
  state.rejoinNotBeforeMs = state.nowMs + state.rejoinBackoffMs * (1 + state.options.random() / 4);
  state.rejoinBackoffMs = Math.min(state.rejoinBackoffMs * 2, rejoinBackoffMsMax);
  state.inSyncSinceMs = Number.POSITIVE_INFINITY;
}
