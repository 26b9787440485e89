/**
 * Reads that trust no clock (R20, H13): on a host whose clock can stop, such as a virtual machine
 * that is paused, a lease proves nothing. There a read is answered once the peer has acknowledged
 * something that was sent after the read had come: so at some moment between, the peer followed
 * this reign, and nobody else can have answered a newer write.
 *
 * One question is under way at a time; what comes meanwhile waits for the next one.
 */
import type { CoreState } from './state.ts';

/** Reads wait: asks the peer, unless an answer of it is awaited already. */
export function onConfirmReads(state: CoreState): void {
  const { link, confirmation } = state;
  if (state.options.confirmReads !== true || state.role.kind !== 'reigning') return;
  if (link.kind !== 'sending' || confirmation.asking || confirmation.question !== undefined) return;
  state.confirmation = { ...confirmation, asking: true };
  const { epoch } = state.role.config;
  state.effects.push({ kind: 'sendHeartbeat', session: link.session, epoch, commit: state.commit });
  link.lastSentAtMs = state.nowMs;
}

/** A frame or heartbeat gets this number, and leaves now or later. */
export function noteNumber(state: CoreState, number: number): void {
  const { asking, confirmedMs } = state.confirmation;
  if (!asking) return;
  state.confirmation = {
    asking: false,
    question: { number, sentAtMs: state.nowMs },
    confirmedMs,
  };
}

/** The peer, which counts, has received everything up to this number. */
export function noteAnswer(state: CoreState, number: number): void {
  const { question, asking } = state.confirmation;
  if (question === undefined || number < question.number) return;
  state.confirmation = { asking, question: undefined, confirmedMs: question.sentAtMs };
}

/** Is a read confirmed that had come in full at `receivedAtMs`? */
export function isConfirmed(state: CoreState, receivedAtMs: number): boolean {
  return state.options.confirmReads !== true || receivedAtMs < state.confirmation.confirmedMs;
}
