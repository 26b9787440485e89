/**
 * The end of a primary's log that its disk has lost (R30). A log whose last frame is gone looks
 * like one whose last write was torn; reigning again without that frame, the site would have the
 * peer cut off what clients were answered. So a primary that comes back asks first what the peer
 * has after the end of its log, and takes it over. What was never answered comes along, as any
 * tail does (R15).
 *
 * It asks over the link of the sites, not in a session of the group: a peer that is about to take
 * over wants none, and has those records as well.
 */
import type { FrameSummary } from './config.ts';
import { closeLink } from './link-state.ts';
import type { CoreState } from './state.ts';
import { appendFrame } from './steady.ts';

/**
 * Asks, once in this life. True while this site should wait for the answer: not for longer than it
 * would wait for the peer in any case.
 */
export function awaitsRest(state: CoreState): boolean {
  const { link } = state;
  // An operator has said that this log is the history, whatever the other site has (R35).
  if (state.config?.forced !== undefined) return false;
  if (state.rest === 'unasked') {
    if (state.durable !== state.end.sequence) return false;
    state.rest = 'asked';
    state.effects.push({ kind: 'fetchRest', after: state.end });
  }
  if (state.rest !== 'asked') return false;
  return link.kind !== 'open' || state.nowMs - link.sinceMs <= state.times.ackTimeoutMs;
}

/** The peer's frames of this site's reigns after the end of its log; none if it has no more. */
export function onRestFetched(state: CoreState, frames: readonly FrameSummary[]): void {
  if (state.rest !== 'asked') return;
  state.rest = 'answered';
  if (state.role.kind !== 'following' || state.swap !== undefined || state.preparing) return;
  if (state.config?.primary !== state.me || state.config.forced !== undefined) return;
  if (!continueHistory(state, frames)) return;
  const { sequence } = state.end;
  state.effects.push({ kind: 'acceptRest' });
  for (const frame of frames) appendFrame(state, frame);
  // A hello of this session has named the old end; the peer gets its time anew to connect.
  closeLink(state, 'the end of the log came from the peer');
  state.lastAcknowledgedAtMs = state.nowMs;
  const text = `records ${sequence + 1} to ${state.end.sequence} were not in this log: the peer had them`;
  state.event('warn', 'log-end-fetched', text);
}

/** Each follows the one before it, from the end of the own log on, in epochs of this site. */
function continueHistory(state: CoreState, frames: readonly FrameSummary[]): boolean {
  let { sequence, digest } = state.end;
  let last = state.epochHistory.at(-1);
  for (const frame of frames) {
    const { epochStart } = frame;
    if (frame.firstSequence !== sequence + 1 || frame.digestBefore !== digest) return false;
    if (epochStart !== undefined) {
      const isNext = epochStart.epoch > (last?.epoch ?? 0) && epochStart.epoch === frame.epoch;
      if (!isNext || epochStart.primary !== state.me) return false;
      last = { ...epochStart, firstSequence: frame.firstSequence };
    }
    if (last?.epochId !== frame.epochId) return false;
    sequence = frame.lastSequence;
    digest = frame.digestAfter;
  }
  return frames.length > 0;
}
