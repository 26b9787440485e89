/**
 * The state of one group on one site (R3) and the words in which the rules ask about it. Every
 * other file of this folder is functions over `CoreState`; nobody else writes to it. State that
 * excludes other state is a discriminated union: the role, the link to the peer, the swap that is
 * pending, the wait for a joining peer.
 */
import assert from 'node:assert/strict';
import type { Digest, GroupId, HistoryPoint, StoreId } from '../../wal/frame.ts';
import { emptyHistoryDigest } from '../../wal/frame.ts';
import type { EpochEntry, GroupConfig, GroupFlags, RecoveredGroup } from './config.ts';
import type { CoreEffect, CoreTimes, SwapName } from './events.ts';
import { FrameTail } from './frame-tail.ts';
import type { HelloMessage, RefuseMessage, ReleaseMessage } from './messages.ts';
import type { SendTimes } from './send-times.ts';

export interface CoreOptions {
  readonly storeId: StoreId;
  readonly groupId: GroupId;
  readonly recovered: RecoveredGroup;
  readonly times: CoreTimes;
  readonly nowMs: number;
  /** Oldest sequence that the local log can send. */
  readonly logStart: () => number;
  /** Nothing more becomes durable in the local log before some of it is freed (I9). */
  readonly logWaitsForRoom: () => boolean;
  readonly volumes: () => HelloMessage['volumes'];
  /** The digest at `sequence` if that is a frame boundary in the local log, else undefined. */
  readonly digestAt: (sequence: number) => Digest | undefined;
  /** A number in [0, 1): jitter only. */
  readonly random: () => number;
  /** Reads need a confirmation of the peer besides the lease (R20). */
  readonly confirmReads?: boolean;
  /**
   * The group's mode as the list of acceptors (R6), for these two stores: what `current`, those
   * that count now, should become.
   */
  readonly defaultAcceptors: (
    me: StoreId,
    peer: StoreId,
    current: readonly StoreId[],
  ) => readonly StoreId[];
}

/** No session: since when, and whether it was lost in use rather than closed for a reason. */
export interface ClosedLink {
  readonly kind: 'closed';
  readonly sinceMs: number;
  readonly lost: boolean;
}
/** A session, hellos under way (R22). */
export interface OpenLink {
  readonly kind: 'open';
  readonly session: number;
  readonly sinceMs: number;
  /** A hello leaves when the local log is quiet, so that no sync of a tail that is cut is late. */
  helloSent: boolean;
  peerHello: HelloMessage | undefined;
  /** The peer offered a resync on this session, which is being prepared. */
  preparing?: true;
}
/** This site reigns and sends the peer its frames. */
export interface SendingLink {
  readonly kind: 'sending';
  readonly session: number;
  readonly sinceMs: number;
  readonly peerStore: StoreId;
  readonly sendTimes: SendTimes;
  sentThrough: number;
  peerDurable: number;
  peerCheckpoint: number;
  lastAckAtMs: number;
  lastSentAtMs: number;
  /** The peer is being resynced: what it acknowledges counts for nothing (H22). */
  staged: boolean;
  /** Frames are held until the peer has prepared its stage; they follow from here. */
  heldFrom: HistoryPoint | undefined;
}
/** This site follows the primary at the other end. */
export interface JoinedLink {
  readonly kind: 'joined';
  readonly session: number;
  readonly primary: StoreId;
  newestNumber: number;
  announcedCommit: number;
  primaryCheckpoint: number;
  /** A release that waits for the local log to reach its sequence. */
  release: ReleaseMessage | undefined;
}
/** The two sites do not work together; the session stays open to show why. */
export interface RefusedLink {
  readonly kind: 'refused';
  readonly session: number;
  readonly peerHello: HelloMessage | undefined;
  readonly code: RefuseMessage['code'];
  readonly text: string;
}
export type Link = ClosedLink | OpenLink | SendingLink | JoinedLink | RefusedLink;

/** This life won `config` and reigns by it (R10, R15). */
export interface ReigningRole {
  readonly kind: 'reigning';
  readonly config: GroupConfig;
  readonly sinceMs: number;
  /** Won by `add`: commits went on all the time; otherwise none before the epoch start's. */
  readonly continues: boolean;
  phase: 'appending-start' | 'committing-start' | 'open' | 'draining';
  /** Sequence of the reign's epoch-start record; known from `committing-start` on. */
  epochStart: number;
}
export type Role =
  | { readonly kind: 'following' }
  | ReigningRole
  /** Released to the peer for a switchover; not serving, waiting for the newer epoch (R21). */
  | { readonly kind: 'released'; readonly sinceMs: number }
  | { readonly kind: 'stopped'; readonly reason: 'log-failed' | 'removed' };

export interface PendingSwap {
  readonly name: SwapName;
  readonly expected: GroupConfig;
  readonly sinceMs: number;
}

/** `waitsForPeer` of R17, and when the next attempt may begin. */
export type JoinWait =
  | { readonly kind: 'none' }
  | { readonly kind: 'waiting'; readonly peerStore: StoreId; readonly sinceMs: number };

/** R20, of one session. Times are this site's clock, and only their order counts. */
export interface ReadConfirmation {
  /** The next number that is given is the question. */
  readonly asking: boolean;
  /** The question that is under way, and when it left at the earliest. */
  readonly question: { readonly number: number; readonly sentAtMs: number } | undefined;
  /** Reads that came before this are confirmed. */
  readonly confirmedMs: number;
}

export const noConfirmation: ReadConfirmation = {
  asking: false,
  question: undefined,
  confirmedMs: Number.NEGATIVE_INFINITY,
};

export class CoreState {
  readonly options: CoreOptions;
  readonly me: StoreId;
  readonly times: CoreTimes;
  effects: CoreEffect[] = [];
  nowMs: number;

  config: GroupConfig | undefined;
  role: Role = { kind: 'following' };
  swap: PendingSwap | undefined;
  link: Link;
  wait: JoinWait = { kind: 'none' };
  flags: GroupFlags;

  end: HistoryPoint;
  durable: number;
  commit: number;
  checkpoint: HistoryPoint;
  base: HistoryPoint | undefined;
  epochHistory: EpochEntry[];
  /** Configurations of the newest epoch-start records of the own log, as far as known. */
  startConfigs: GroupConfig[] = [];
  readonly tail = new FrameTail();

  readonly startedAtMs: number;
  /** R14: process start and learning a newer epoch count as acknowledging. */
  lastAcknowledgedAtMs: number;
  leaseUntilMs = Number.NEGATIVE_INFINITY;
  lastNumber = 0;
  confirmation: ReadConfirmation = noConfirmation;
  /** Ends of the log some time ago (`joinLagMs`), to tell whether a joining peer keeps up. */
  endBefore: { readonly atMs: number; readonly earlier: number; readonly sequence: number };

  nextRegisterReadMs: number;
  proposeNotBeforeMs = Number.NEGATIVE_INFINITY;
  rejoinBackoffMs: number;
  rejoinNotBeforeMs = Number.NEGATIVE_INFINITY;
  inSyncSinceMs = Number.NEGATIVE_INFINITY;
  /** The peer's store, from its last hello. */
  lastPeerStore: StoreId | undefined;
  peerCheckpoint = 0;

  /** The own log follows a stage that began here; the copy is not whole before it is complete. */
  stagedFrom: number | undefined;
  /** A resync was offered and is being prepared: no hello leaves meanwhile. */
  preparing = false;
  /** A promotion by force is being decided at the point where this log ends. */
  forcing = false;
  /** R36: this side's own changes are kept aside, it may join the other side. */
  keptAside = false;
  /** R30: whether the peer was asked for what follows the end of the own log. */
  rest: 'unasked' | 'asked' | 'answered' = 'unasked';
  /** Following by log was found impossible: the next hello asks for a resync. */
  needsResync = false;

  constructor(options: CoreOptions) {
    const { recovered, nowMs } = options;
    assert(recovered.checkpoint.sequence >= 0, 'a checkpoint is a sequence');
    this.options = options;
    this.me = options.storeId;
    this.times = options.times;
    this.nowMs = nowMs;
    this.config = recovered.config;
    this.link = { kind: 'closed', sinceMs: nowMs, lost: false };
    this.flags = recovered.flags;
    this.end = recovered.end;
    this.durable = recovered.end.sequence;
    this.commit = Math.min(recovered.commit, recovered.end.sequence);
    this.checkpoint = recovered.checkpoint;
    this.base = recovered.base;
    this.stagedFrom = recovered.stagedFrom;
    this.epochHistory = [...recovered.epochHistory];
    if (recovered.config !== undefined) this.startConfigs.push(recovered.config);
    this.tail.reset(recovered.end, nowMs);
    this.startedAtMs = nowMs;
    this.lastAcknowledgedAtMs = nowMs;
    const { sequence } = recovered.end;
    this.endBefore = { atMs: nowMs, earlier: sequence, sequence };
    this.nextRegisterReadMs = nowMs;
    this.rejoinBackoffMs = options.times.rejoinBackoffMs;
  }

  /** The digest at a frame boundary, wherever it is still known. */
  pointAt(sequence: number): HistoryPoint | undefined {
    if (sequence === this.end.sequence) return this.end;
    if (sequence === 0) return { sequence, digest: emptyHistoryDigest };
    if (sequence === this.checkpoint.sequence) return this.checkpoint;
    const digest = this.tail.digestAt(sequence) ?? this.options.digestAt(sequence);
    return digest === undefined ? undefined : { sequence, digest };
  }

  event(level: 'info' | 'warn' | 'error', code: string, text: string): void {
    this.effects.push({ kind: 'event', code, text, level });
  }
}

/** Is this store a member of the in-sync set of the newest configuration known? */
export function isInSync(state: CoreState): boolean {
  return state.config?.inSync.includes(state.me) === true;
}

/** The other member of an in-sync set, if there is one. */
export function otherMember(config: GroupConfig, me: StoreId): StoreId | undefined {
  return config.inSync.find((store) => store !== me);
}

/** R24: nothing is known to be missing or wrong in this site's copy. */
export function isWhole(state: CoreState): boolean {
  const { inconsistent, split, damaged, resolving } = state.flags;
  const marked = inconsistent || split || damaged || resolving;
  return !marked && state.stagedFrom === undefined && !state.preparing;
}

/** Configuration of the last epoch-start record in the own log, if it is known. */
export function lastStartConfig(state: CoreState): GroupConfig | undefined {
  const newest = state.epochHistory.at(-1);
  const config = state.startConfigs.at(-1);
  return newest !== undefined && config?.epochId === newest.epochId ? config : undefined;
}

/**
 * What can never be cut (R23): what is applied or known to be committed. What this site may have
 * answered alone is in `soloFloor`, which binds only against a forced history: without force a
 * newer primary has everything that was answered, and a tail that was written while this site
 * already waited for the peer (R17) may be cut although its last epoch start says {me}.
 */
export function committedFloor(state: CoreState): number {
  return Math.max(state.checkpoint.sequence, state.commit);
}

/** All of the own log, if its last epoch-start record says that this site was alone in sync. */
export function soloFloor(state: CoreState): number {
  const start = lastStartConfig(state);
  const alone = start?.inSync.length === 1 && start.inSync[0] === state.me;
  return alone ? Math.max(committedFloor(state), state.end.sequence) : committedFloor(state);
}

/** The peer's acknowledgement is needed for a commit (R16, R17). */
export function needsPeer(state: CoreState, role: ReigningRole): boolean {
  return role.config.inSync.length > 1 || state.wait.kind === 'waiting';
}

/** Up to where the peer that counts is durable; acks of another store do not count (H18). */
export function countedPeerDurable(state: CoreState, role: ReigningRole): number {
  if (state.link.kind !== 'sending' || state.link.staged) return 0;
  const store = state.link.peerStore;
  const counts =
    role.config.inSync.includes(store) ||
    (state.wait.kind === 'waiting' && state.wait.peerStore === store);
  return counts ? state.link.peerDurable : 0;
}

/**
 * R13: while a drop or takeover is pending no session is opened. R33: nor after a log error. R36:
 * nor before the changes of a side that was given up are kept aside.
 */
export function wantsSession(state: CoreState): boolean {
  if (state.role.kind === 'stopped' || state.forcing) return false;
  if (state.flags.resolving && !state.keptAside) return false;
  return state.swap?.name !== 'drop' && state.swap?.name !== 'takeover';
}

/**
 * Could the acceptors other than the peer's decide a swap? In `suspend` mode, {A, B}, they cannot:
 * a takeover there would only keep the two sites apart until both are back.
 */
export function quorumWithoutPeer(state: CoreState): boolean {
  const { config } = state;
  if (config === undefined) return false;
  const gone = new Set(config.inSync.filter((store) => store !== state.me));
  if (config.primary !== state.me) gone.add(config.primary);
  if (state.lastPeerStore !== undefined) gone.add(state.lastPeerStore);
  const left = config.acceptors.filter((store) => !gone.has(store));
  return left.length * 2 > config.acceptors.length;
}

/** Changes the role and says so. */
export function changeRole(state: CoreState, role: Role, reason: string): void {
  const from = state.role.kind;
  state.role = role;
  state.event('info', 'group-role', `role ${from} -> ${role.kind}: ${reason}`);
}

/**
 * This copy is not what the primary has (R24, R32): it comes back by a resync. A copy that is being
 * resynced begins anew; it counts for nothing anyway.
 */
export function noteDamage(state: CoreState, text: string): void {
  if (state.stagedFrom === undefined) changeFlags(state, { damaged: true }, `damaged: ${text}`);
  else state.needsResync = true;
}

export function changeFlags(state: CoreState, flags: Partial<GroupFlags>, reason: string): void {
  const next = { ...state.flags, ...flags };
  const { split, damaged, inconsistent, resolving } = next;
  if (
    split === state.flags.split &&
    damaged === state.flags.damaged &&
    inconsistent === state.flags.inconsistent &&
    resolving === state.flags.resolving
  ) {
    return;
  }
  state.flags = next;
  state.effects.push({
    kind: 'persistFlags',
    flags: { split, damaged, inconsistent, resolving },
  });
  const level = split || damaged || inconsistent ? 'error' : resolving ? 'warn' : 'info';
  state.event(level, 'group-flags', reason);
}
