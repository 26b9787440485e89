/**
 * Resync as the core sees it (R22, R25, R26): a joiner that cannot follow by log prepares a stage,
 * then follows the primary's frames from where the stage begins (s0) with acknowledgements that
 * count for nothing (H22), until the stage is complete and becomes its history. What is copied, and
 * how, is the driver's business; here is only when, and what it means for the protocol.
 *
 *   joiner                                   primary
 *   welcome {resync, fork: s0}  <----------  sending, staged, frames held
 *   prepareResync ... resyncBegun
 *   ack {staged, durable: s0}   ---------->  frames from s0 on
 *   ... extents, frames ...
 *   resynced
 *   ack {durable}               ---------->  not staged any more: R17 begins
 */
import assert from 'node:assert/strict';
import type { HistoryPoint } from '../../wal/frame.ts';
import type { EpochEntry, GroupConfig } from './config.ts';
import { cut } from './cut.ts';
import { closeLink, sendHelloWhenQuiet } from './link-state.ts';
import type { HelloMessage, ResyncOffer, WelcomeMessage } from './messages.ts';
import { sharesBase } from './resolve.ts';
import { SendTimes } from './send-times.ts';
import type { CoreState, OpenLink, ReigningRole } from './state.ts';
import { changeFlags } from './state.ts';
import { commitThrough, sendAck } from './steady.ts';

/** Primary: offers a resync; frames are held until the joiner has prepared its stage. */
export function offerResync(
  state: CoreState,
  offer: { readonly link: OpenLink; readonly hello: HelloMessage; readonly role: ReigningRole },
  common: number,
): void {
  const { link, hello, role } = offer;
  const { session } = link;
  const from = state.pointAt(state.commit);
  assert(from !== undefined, 'the commit point is a boundary whose digest is known');
  const epochHistory = state.epochHistory.filter(
    ({ firstSequence }) => firstSequence <= from.sequence,
  );
  const resync: ResyncOffer = { common, base: state.base, epochHistory };
  state.effects.push({
    kind: 'send',
    session,
    message: {
      kind: 'welcome',
      config: role.config,
      mode: 'resync',
      fork: from,
      end: state.end,
      resync,
    },
  });
  state.effects.push({ kind: 'holdSending', from });
  state.link = {
    kind: 'sending',
    session,
    sinceMs: state.nowMs,
    peerStore: hello.storeId,
    sendTimes: new SendTimes(),
    sentThrough: from.sequence,
    peerDurable: 0,
    peerCheckpoint: from.sequence,
    lastAckAtMs: state.nowMs,
    lastSentAtMs: state.nowMs,
    staged: true,
    heldFrom: from,
  };
  // The joiner's old checkpoint keeps nothing any more: what it needs begins with the stage.
  state.peerCheckpoint = from.sequence;
  state.event('info', 'resync-offered', `the peer is resynced from record ${from.sequence} on`);
}

/** Joiner: the welcome says that the log does not reach back (R25). */
export function prepareResync(state: CoreState, link: OpenLink, welcome: WelcomeMessage): void {
  const { resync, fork } = welcome;
  if (resync === undefined || resync.epochHistory.at(-1)?.epochId !== welcome.config.epochId) {
    closeLink(state, 'a welcome to a resync without its history');
    return;
  }
  const changed = state.stagedFrom === undefined && knowsChanges(state, resync);
  state.preparing = true;
  link.preparing = true;
  state.effects.push({
    kind: 'prepareResync',
    session: link.session,
    changed,
    from: fork,
    base: resync.base,
    epochHistory: resync.epochHistory,
    config: welcome.config,
  });
  const what = changed ? 'what has changed since both were in sync' : 'everything';
  state.event('info', 'resync-begins', `resync from record ${fork.sequence} on: ${what}`);
}

/**
 * Only what has changed since the base differs. On a side that was given up (R36) nothing is cut:
 * what it has changed itself is wanted as well.
 */
function knowsChanges(state: CoreState, offer: ResyncOffer): boolean {
  return state.flags.resolving ? sharesBase(state, offer.base) : goBack(state, offer);
}

/**
 * R25: if this site's history goes through the primary's base, everything up to the common point is
 * committed, and only what has changed since the base differs. Then the old image is as new as can
 * be: the tail above the common point is cut off, the rest may be applied.
 */
function goBack(state: CoreState, { common, base }: ResyncOffer): boolean {
  const { damaged, inconsistent } = state.flags;
  if (damaged || inconsistent || base === undefined || base.sequence > common) return false;
  if (state.pointAt(base.sequence)?.digest !== base.digest) return false;
  const to = common > state.end.sequence ? undefined : state.pointAt(common);
  if (to === undefined || common < state.checkpoint.sequence || common < state.commit) return false;
  if (common < state.end.sequence) cut(state, to);
  if (common > state.commit) commitThrough(state, common);
  return true;
}

export interface ResyncBegun {
  readonly session: number;
  readonly from: HistoryPoint;
  readonly epochHistory: readonly EpochEntry[];
  readonly config: GroupConfig;
}

/** Joiner: the stage is durable; from now on the log has what follows it. */
export function onResyncBegun(state: CoreState, begun: ResyncBegun): void {
  assert(state.preparing, 'a resync that begins was prepared');
  state.preparing = false;
  state.needsResync = false;
  state.stagedFrom = begun.from.sequence;
  replaceHistory(state, begun.from, begun);
  const { link } = state;
  if (link.kind !== 'open') return;
  if (link.session !== begun.session || link.preparing !== true) {
    sendHelloWhenQuiet(state);
    return;
  }
  assert(link.peerHello !== undefined, 'a welcome comes after a hello');
  state.link = {
    kind: 'joined',
    session: link.session,
    primary: link.peerHello.storeId,
    newestNumber: 0,
    announcedCommit: 0,
    primaryCheckpoint: link.peerHello.checkpoint.sequence,
    release: undefined,
  };
  sendAck(state, undefined);
}

/** Joiner: the stage could not be made; it is tried again on another session. */
export function onResyncFailed(state: CoreState, text: string): void {
  assert(state.preparing, 'a resync that fails to begin was prepared');
  state.preparing = false;
  state.event('warn', 'resync-interrupted', text);
  if (state.link.kind === 'open' && state.link.preparing === true) closeLink(state, text);
  else sendHelloWhenQuiet(state);
}

/** Joiner: the stage is this site's history now, durably (R26 `complete`). */
export function onResynced(state: CoreState): void {
  assert(state.stagedFrom !== undefined, 'what is complete had begun');
  state.stagedFrom = undefined;
  state.base = undefined;
  state.keptAside = false;
  const none = { damaged: false, inconsistent: false, resolving: false };
  changeFlags(state, none, 'this copy is whole again');
  state.event('info', 'resync-complete', `complete at record ${state.checkpoint.sequence}`);
  if (state.link.kind === 'joined') sendAck(state, undefined);
}

/** Joiner: back to the old image, which nothing has touched. */
export function onStageDropped(
  state: CoreState,
  to: HistoryPoint,
  history: { readonly epochHistory: readonly EpochEntry[]; readonly config?: GroupConfig },
): void {
  assert(state.stagedFrom !== undefined, 'what is dropped was there');
  closeLink(state, 'the resync was given up');
  state.stagedFrom = undefined;
  replaceHistory(state, to, history);
}

function replaceHistory(
  state: CoreState,
  to: HistoryPoint,
  history: { readonly epochHistory: readonly EpochEntry[]; readonly config?: GroupConfig },
): void {
  assert(state.role.kind !== 'reigning', 'a site that reigns keeps its history');
  state.effects.push({ kind: 'restartHistory', to });
  state.end = to;
  state.durable = to.sequence;
  state.commit = to.sequence;
  state.checkpoint = to;
  state.epochHistory = [...history.epochHistory];
  state.startConfigs = history.config === undefined ? [] : [history.config];
  state.tail.reset(to, state.nowMs);
  const { sequence } = to;
  state.endBefore = { atMs: state.nowMs, earlier: sequence, sequence };
}
