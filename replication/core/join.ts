/**
 * Joining (R22-R25, R35): hellos, the fork point, the primary's welcome, the joiner's cut, and the
 * refusals. Where the log does not prove and reach the common point a resync begins (`resync.ts`).
 */
import assert from 'node:assert/strict';
import type { HistoryPoint } from '../../wal/frame.ts';
import type { GroupConfig } from './config.ts';
import { cut } from './cut.ts';
import { findFork } from './fork.ts';
import { closeLink, refuse } from './link-state.ts';
import type { HelloMessage, WelcomeMessage } from './messages.ts';
import { mayAnswerInResolve, mayFollowInResolve } from './resolve.ts';
import { offerResync, prepareResync } from './resync.ts';
import { SendTimes } from './send-times.ts';
import type { CoreState, OpenLink } from './state.ts';
import { changeFlags, committedFloor, otherMember, soloFloor } from './state.ts';
import { sendAck } from './steady.ts';
import { learn } from './swaps.ts';

export function onHello(state: CoreState, hello: HelloMessage): void {
  const { link } = state;
  assert(hello.groupId === state.options.groupId, 'a hello is about this group');
  if (link.kind !== 'open' || link.peerHello !== undefined) {
    closeLink(state, 'a second hello on one session');
    return;
  }
  if (hello.storeId === state.me) {
    refuse(state, 'split', 'both sites have the same store id: one store is a copy of the other');
    return;
  }
  link.peerHello = hello;
  state.lastPeerStore = hello.storeId;
  state.peerCheckpoint = hello.checkpoint.sequence;
  if (state.flags.resolving || hello.flags.resolving) {
    if (mayAnswerInResolve(state, link, hello)) welcomePeer(state);
    return;
  }
  if (forcedAgainstMe(state, hello)) {
    refuseForced(state, hello);
    return;
  }
  if (forcedHereAgainst(state, hello)) {
    refuse(
      state,
      'split',
      `this site was promoted by force at sequence ${state.config?.forced?.sequence}, and the ` +
        'other site has gone on in an epoch of its own',
    );
    return;
  }
  if (hello.config !== undefined) {
    if (namesOtherEpoch(state.config, hello.config)) {
      refuse(state, 'split', `the two sites know epoch ${hello.config.epoch} by different ids`);
      return;
    }
    if (learn(state, hello.config) && state.link !== link) return;
  }
  if (state.role.kind === 'reigning') welcomePeer(state);
}

function namesOtherEpoch(mine: GroupConfig | undefined, theirs: GroupConfig): boolean {
  return mine !== undefined && mine.epoch === theirs.epoch && mine.epochId !== theirs.epochId;
}

function forkWith(state: CoreState, hello: HelloMessage): number {
  return findFork(
    { epochHistory: state.epochHistory, endSequence: state.end.sequence },
    { epochHistory: hello.epochHistory, endSequence: hello.end.sequence },
  );
}

/**
 * R35: the peer was forced beyond the fork, and this site may have answered more than the fork. A
 * configuration that has this site as primary was not forced against it: a peer that is blank, or
 * behind, may know that one long before it has caught up with it.
 */
function forcedAgainstMe(state: CoreState, hello: HelloMessage): boolean {
  const theirs = hello.config;
  if (theirs === undefined || theirs.primary === state.me) return false;
  return isSplitAt(state, forkWith(state, hello), theirs);
}

/**
 * R35: this site was forced, and the peer, which does not have that, names a newer epoch. One that
 * has the peer as primary was forced there: this site learnt of it, and the peer's next epochs are
 * not against it.
 */
function forcedHereAgainst(state: CoreState, hello: HelloMessage): boolean {
  const { config } = state;
  if (config?.forced === undefined || config.primary !== state.me) return false;
  if (hello.config === undefined || hello.config.primary === state.me) return false;
  return hello.config.epoch > config.epoch && forkWith(state, hello) <= config.forced.sequence;
}

function isSplitAt(state: CoreState, fork: number, theirs: GroupConfig): boolean {
  if (theirs.forced === undefined || fork > theirs.forced.sequence) return false;
  return soloFloor(state) > fork;
}

/** Sites that serve when they meet keep what they do; one that only starts does not serve. */
function refuseForced(state: CoreState, hello: HelloMessage): void {
  const fork = forkWith(state, hello);
  const text =
    `the other site was promoted by force at sequence ${hello.config?.forced?.sequence}; this ` +
    `site may have answered writes above ${fork}, the last common record`;
  if (state.role.kind !== 'reigning') markSplit(state, text);
  refuse(state, 'split', text);
}

function markSplit(state: CoreState, text: string): void {
  changeFlags(state, { split: true }, `split: ${text}`);
}

/**
 * Primary: answers the peer's hello, once (H15), with the fork point and how it gets the rest.
 * Does nothing while there is no hello to answer.
 */
export function welcomePeer(state: CoreState): void {
  const { link, role } = state;
  if (link.kind !== 'open' || link.peerHello === undefined || role.kind !== 'reigning') return;
  const hello = link.peerHello;
  const member = otherMember(role.config, state.me);
  // The connected store is not the in-sync one: it is dropped first, then this one joins (R12).
  if (member !== undefined && member !== hello.storeId) return;
  const answer = answerTo(state, hello, member !== undefined);
  switch (answer.kind) {
    case 'refuse':
      refuse(state, answer.code, answer.text);
      return;
    case 'log':
      startSending(state, link, hello, answer.fork, role.config);
      return;
    case 'resync':
      // What the joiner gets has to be committed, the epoch start too; `decide` comes back here.
      if (role.phase !== 'open') return;
      offerResync(state, { link, hello, role }, answer.common);
      return;
    default:
      answer satisfies never;
  }
}

type JoinAnswer =
  | {
      readonly kind: 'refuse';
      readonly code: 'split' | 'damaged' | 'resync-needed';
      readonly text: string;
    }
  | { readonly kind: 'log'; readonly fork: HistoryPoint }
  | { readonly kind: 'resync'; readonly common: number };

/** How the peer can follow this site (R23, R24, R25). */
function answerTo(state: CoreState, hello: HelloMessage, isMember: boolean): JoinAnswer {
  const { damaged, inconsistent, split, resolving } = hello.flags;
  const { staged } = hello;
  if (split) {
    const text = 'the other site is marked split; `casemate resolve` ends that';
    return { kind: 'refuse', code: 'split', text };
  }
  if (isMember && resolving) {
    const text = 'the other side of the split is given up: it is dropped, then it joins';
    return { kind: 'refuse', code: 'resync-needed', text };
  }
  const lost = damaged || inconsistent || staged !== undefined;
  if (isMember && (lost || hello.end.sequence < state.commit)) {
    return {
      kind: 'refuse',
      code: 'damaged',
      text: `the other site was in sync but has lost records: its log ends at ${hello.end.sequence}, ${state.commit} are committed`,
    };
  }
  const fork = forkWith(state, hello);
  const point = reachableFork(state, fork);
  if (staged !== undefined) {
    const resumes = fork >= staged.from && fork >= hello.committedFloor && !hello.needsResync;
    return resumes && point !== undefined
      ? { kind: 'log', fork: point }
      : { kind: 'resync', common: 0 };
  }
  if (damaged || inconsistent || resolving) return { kind: 'resync', common: 0 };
  if (fork < hello.committedFloor) {
    return {
      kind: 'refuse',
      code: 'split',
      text: `the last common record is ${fork}, but the other site has committed up to ${hello.committedFloor}`,
    };
  }
  if (point !== undefined && !hello.needsResync) return { kind: 'log', fork: point };
  if (!isMember) return { kind: 'resync', common: fork };
  // Dropped first, for it can't be waited for; then it joins anew.
  const text = `the log does not reach back to record ${fork + 1}: a resync is needed`;
  return { kind: 'refuse', code: 'resync-needed', text };
}

/** The fork, if this site's log has it and what follows it. */
function reachableFork(state: CoreState, fork: number): HistoryPoint | undefined {
  const reaches = fork === state.end.sequence || state.options.logStart() <= fork + 1;
  return reaches ? state.pointAt(fork) : undefined;
}

function startSending(
  state: CoreState,
  link: OpenLink,
  hello: HelloMessage,
  fork: HistoryPoint,
  config: GroupConfig,
): void {
  const { session } = link;
  state.effects.push({
    kind: 'send',
    session,
    message: { kind: 'welcome', config, mode: 'log', fork, end: state.end, resync: undefined },
  });
  state.effects.push({ kind: 'startSending', session, from: fork });
  state.link = {
    kind: 'sending',
    session,
    sinceMs: state.nowMs,
    peerStore: hello.storeId,
    sendTimes: new SendTimes(),
    sentThrough: fork.sequence,
    peerDurable: 0,
    peerCheckpoint: hello.checkpoint.sequence,
    lastAckAtMs: state.nowMs,
    lastSentAtMs: state.nowMs,
    staged: hello.staged !== undefined,
    heldFrom: undefined,
  };
  state.event('info', 'group-join', `the peer follows from record ${fork.sequence} on`);
}

/** Joiner: checks epoch, digest and floor, cuts its tail, follows (R22, R23). */
export function onWelcome(state: CoreState, welcome: WelcomeMessage): void {
  const { link } = state;
  if (link.kind !== 'open' || !link.helloSent || link.peerHello === undefined) {
    closeLink(state, 'a welcome that was not asked for');
    return;
  }
  const primary = link.peerHello.storeId;
  const known = state.config;
  if (state.flags.resolving && !mayFollowInResolve(state, welcome)) {
    closeLink(state, 'the side that was given up waits for a newer epoch of the other one (R8)');
    return;
  }
  if (known !== undefined && welcome.config.epoch < known.epoch) {
    closeLink(state, `the peer reigns by epoch ${welcome.config.epoch}, which is over (R8)`);
    return;
  }
  if (namesOtherEpoch(known, welcome.config)) {
    refuse(state, 'split', `the two sites know epoch ${welcome.config.epoch} by different ids`);
    return;
  }
  learn(state, welcome.config);
  // Fenced just now: the hello was given as primary, a fresh session needs a fresh one.
  if (state.link !== link) return;
  if (state.role.kind !== 'following' || state.swap !== undefined) {
    closeLink(state, 'not ready to follow: an own change of the configuration is pending');
    return;
  }
  if (welcome.config.primary !== primary) {
    closeLink(state, 'a welcome by a site that is not the primary');
    return;
  }
  if (welcome.mode === 'resync') prepareResync(state, link, welcome);
  else if (isJoinable(state, welcome)) join(state, link, primary, welcome);
}

function isJoinable(state: CoreState, welcome: WelcomeMessage): boolean {
  const { fork } = welcome;
  const mine = fork.sequence > state.end.sequence ? undefined : state.pointAt(fork.sequence);
  const staged = state.stagedFrom !== undefined;
  if (mine === undefined || (mine.digest !== fork.digest && (state.flags.damaged || staged))) {
    // Not by log, then: the next hello asks for a resync.
    state.needsResync = true;
    closeLink(state, `this site cannot prove record ${fork.sequence} by its log`);
    return false;
  }
  if (mine.digest !== fork.digest) {
    const text = `the histories differ at or below record ${fork.sequence}`;
    markSplit(state, text);
    refuse(state, 'diverged', text);
    return false;
  }
  const floor = committedFloor(state);
  if (fork.sequence < floor || isSplitAt(state, fork.sequence, welcome.config)) {
    const text = `following would cut this site's log to ${fork.sequence}, below what it answered`;
    markSplit(state, text);
    refuse(state, 'split', text);
    return false;
  }
  return true;
}

function join(state: CoreState, link: OpenLink, primary: string, welcome: WelcomeMessage): void {
  const { fork } = welcome;
  assert(state.durable === state.end.sequence, 'a hello is sent from a quiet log only (H20)');
  if (fork.sequence < state.end.sequence) cut(state, fork);
  state.link = {
    kind: 'joined',
    session: link.session,
    primary,
    newestNumber: 0,
    announcedCommit: 0,
    primaryCheckpoint: link.peerHello?.checkpoint.sequence ?? 0,
    release: undefined,
  };
  state.event('info', 'group-join', `follows the primary from record ${fork.sequence} on`);
  sendAck(state, undefined);
}
