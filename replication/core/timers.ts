/**
 * Decisions that no message asks for: the register is read, heartbeats leave, a lost peer is
 * dropped, a lost primary is taken over from, a restarted primary reigns again (R9, R12, R14, R21).
 */
import type { GroupConfig } from './config.ts';
import { awaitsRest } from './history-rest.ts';
import { welcomePeer } from './join.ts';
import { considerAdd, expireWait, noteEnd } from './joining-peer.ts';
import { closeLink, sendHelloWhenQuiet } from './link-state.ts';
import type { HelloMessage } from './messages.ts';
import type { CoreState, ReigningRole } from './state.ts';
import { isInSync, isWhole, otherMember, quorumWithoutPeer } from './state.ts';
import { advanceCommit, considerRelease } from './steady.ts';
import { propose } from './swaps.ts';
import { considerVoters } from './voters.ts';
import { backOff } from './wait.ts';

export function onTick(state: CoreState): void {
  if (state.role.kind === 'stopped') return;
  sendHelloWhenQuiet(state);
  pollRegister(state);
  decide(state);
  noteEnd(state);
}

/** What can be decided now; also called when a session was lost or a hello came. */
export function decide(state: CoreState): void {
  // The swap of a promotion by force is under way: one at a time (R11), and no session meanwhile.
  if (state.forcing) return;
  switch (state.role.kind) {
    case 'reigning':
      if (state.link.kind === 'open') welcomePeer(state);
      heartbeat(state, state.role);
      considerDrop(state, state.role);
      if (state.swap === undefined) expireWait(state);
      advanceCommit(state);
      considerRelease(state);
      considerAdd(state);
      considerVoters(state);
      break;
    case 'released':
      if (state.nowMs - state.role.sinceMs > state.times.ackTimeoutMs) considerRestart(state);
      break;
    case 'following':
      considerRestart(state);
      considerTakeover(state);
      break;
    case 'stopped':
      break;
    default:
      state.role satisfies never;
  }
}

/** R9: at start, every `registerPollMs`, and much more often while no primary is connected. */
function pollRegister(state: CoreState): void {
  if (state.nowMs < state.nextRegisterReadMs) return;
  state.effects.push({ kind: 'readRegister' });
  const alone =
    state.role.kind !== 'reigning' && (state.link.kind !== 'joined' || state.config === undefined);
  const periodMs = alone
    ? Math.min(state.times.heartbeatMs * 2, state.times.registerPollMs)
    : state.times.registerPollMs;
  state.nextRegisterReadMs = state.nowMs + periodMs * (0.75 + state.options.random() / 2);
}

function heartbeat(state: CoreState, role: ReigningRole): void {
  const { link } = state;
  if (link.kind !== 'sending') return;
  if (state.nowMs - link.lastSentAtMs < state.times.heartbeatMs) return;
  const { epoch } = role.config;
  state.effects.push({ kind: 'sendHeartbeat', session: link.session, epoch, commit: state.commit });
  link.lastSentAtMs = state.nowMs;
}

/** R12 `drop`: answering and reading stop with the proposal, for they look at the pending swap. */
function considerDrop(state: CoreState, role: ReigningRole): void {
  if (state.swap !== undefined) return;
  const member = otherMember(role.config, state.me);
  if (member === undefined) {
    closeStalledSession(state);
    return;
  }
  const reason = dropReason(state, role, member);
  if (reason === undefined) return;
  if (reason.slow || state.nowMs - state.inSyncSinceMs < state.times.rejoinBackoffMsMax) {
    backOff(state);
  }
  propose(state, 'drop', [state.me], reason.text);
}

interface DropReason {
  readonly text: string;
  readonly slow: boolean;
}

function dropReason(state: CoreState, role: ReigningRole, member: string): DropReason | undefined {
  const { link, nowMs } = state;
  const { ackTimeoutMs, connectMs } = state.times;
  switch (link.kind) {
    case 'closed':
      if (link.lost) return { text: 'the connection to the peer was lost', slow: false };
      return nowMs - Math.max(link.sinceMs, role.sinceMs) > connectMs
        ? { text: `the peer did not connect within ${connectMs} ms`, slow: false }
        : undefined;
    case 'refused':
      return { text: link.text, slow: false };
    case 'open':
      if (link.peerHello !== undefined && link.peerHello.storeId !== member) {
        return { text: 'the connected store is not the one that was in sync', slow: false };
      }
      return nowMs - Math.max(link.sinceMs, role.sinceMs) > ackTimeoutMs
        ? { text: 'the peer is connected but says no hello', slow: true }
        : undefined;
    case 'joined':
      return undefined;
    case 'sending':
      return ackOverdue(state, ackTimeoutMs)
        ? { text: `no acknowledgement for ${ackTimeoutMs} ms`, slow: true }
        : undefined;
    default:
      link satisfies never;
      return undefined;
  }
}

/** I10: the oldest frame the peer has not acknowledged, or its silence, is too old. */
function ackOverdue(state: CoreState, ackTimeoutMs: number): boolean {
  const { link, nowMs } = state;
  if (link.kind !== 'sending') return false;
  if (nowMs - link.lastAckAtMs > ackTimeoutMs) return true;
  const formedAtMs = state.tail.oldestAboveMs(link.peerDurable);
  if (formedAtMs === undefined || link.peerDurable >= state.end.sequence) return false;
  return nowMs - Math.max(formedAtMs, link.sinceMs) > ackTimeoutMs;
}

/** A peer that joins but says nothing at all is half-open: begin anew. */
function closeStalledSession(state: CoreState): void {
  const { link } = state;
  if (link.kind === 'refused' && link.code !== 'split') {
    closeLink(state, 'the peer knows why it was refused and may join anew');
    return;
  }
  if (link.kind !== 'sending') return;
  if (state.nowMs - link.lastAckAtMs > state.times.ackTimeoutMs * 2) {
    closeLink(state, 'the joining peer has been silent');
  }
}

/** R12 `restart`: primary by the register, but not by a swap of this life. */
function considerRestart(state: CoreState): void {
  const { config } = state;
  if (config?.primary !== state.me || !mayPropose(state)) return;
  if (!hasOwnEpochStart(state, config) && !graceIsOver(state, config)) return;
  const peer = connectedPeer(state);
  const awaited = awaitsRest(state);
  if (peer === undefined) {
    const sinceMs = Math.max(state.startedAtMs, state.lastAcknowledgedAtMs);
    if (state.nowMs - sinceMs <= state.times.connectMs) return;
    // In `suspend` mode nothing can be decided before the peer is back: then with it, not alone.
    if (!quorumWithoutPeer(state) && config.inSync.length > 1) return;
    propose(state, 'restart', [state.me], 'primary before, the peer is not connected');
    return;
  }
  if (awaited) return;
  const keeps = peer.healthy && config.inSync.includes(peer.storeId);
  propose(state, 'restart', keeps ? config.inSync : [state.me], 'primary before, peer connected');
}

/** R14: then this site has acknowledged nothing since that epoch began. */
function hasOwnEpochStart(state: CoreState, config: GroupConfig): boolean {
  return state.epochHistory.at(-1)?.epochId === config.epochId;
}

function graceIsOver(state: CoreState, config: GroupConfig): boolean {
  return state.nowMs - state.lastAcknowledgedAtMs > config.graceMs;
}

/** The store at the other end, once it has said hello, and whether it can follow as it is. */
function connectedPeer(state: CoreState): { storeId: string; healthy: boolean } | undefined {
  const { link } = state;
  if (link.kind === 'sending') return { storeId: link.peerStore, healthy: true };
  const hello = peerHello(state);
  if (hello === undefined) return undefined;
  const { damaged, inconsistent, split, resolving } = hello.flags;
  const healthy = !(damaged || inconsistent || split || resolving) && link.kind !== 'refused';
  return { storeId: hello.storeId, healthy };
}

function peerHello(state: CoreState): HelloMessage | undefined {
  const { link } = state;
  return link.kind === 'open' || link.kind === 'refused' ? link.peerHello : undefined;
}

function mayPropose(state: CoreState): boolean {
  return (
    state.swap === undefined &&
    state.nowMs >= state.proposeNotBeforeMs &&
    isInSync(state) &&
    isWhole(state)
  );
}

/** R12 `takeover`. Proposed only where it can be decided without the peer's acceptor. */
function considerTakeover(state: CoreState): void {
  const { config } = state;
  if (config === undefined || config.primary === state.me || !mayPropose(state)) return;
  if (!graceIsOver(state, config)) return;
  if (!quorumWithoutPeer(state) && !peerCannotReign(state)) return;
  if (peerMayRestart(state, config)) return;
  propose(state, 'takeover', [state.me], `the primary has been silent for ${config.graceMs} ms`);
}

/** A primary that is back and about to reign again goes first; it waits for its grace as well. */
function peerMayRestart(state: CoreState, config: GroupConfig): boolean {
  if (state.link.kind !== 'open' || state.link.peerHello?.storeId !== config.primary) return false;
  const longestMs = config.graceMs + state.times.ackTimeoutMs;
  return !peerCannotReign(state) && state.nowMs - state.lastAcknowledgedAtMs <= longestMs;
}

/** The primary is connected, so its acceptor answers, but its copy can't serve any more. */
function peerCannotReign(state: CoreState): boolean {
  const hello = peerHello(state);
  if (hello === undefined || hello.storeId !== state.config?.primary) return false;
  return hello.flags.damaged || hello.flags.inconsistent || hello.flags.resolving;
}
