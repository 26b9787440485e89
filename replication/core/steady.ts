/**
 * The steady state: frames, acknowledgements, commit, heartbeats, the lease (R16, R18, R19, R21,
 * R32, R33). Stepped once per frame and once per acknowledgement: nothing here scans a history.
 */
import assert from 'node:assert/strict';
import type { HistoryPoint } from '../../wal/frame.ts';
import type { FrameSummary, GroupConfig } from './config.ts';
import { considerAdd } from './joining-peer.ts';
import { closeLink, refuse, sendHelloWhenQuiet } from './link-state.ts';
import type { AckMessage, HeartbeatMessage, ReleaseMessage } from './messages.ts';
import { noteAnswer } from './read-confirmation.ts';
import type { CoreState } from './state.ts';
import {
  changeRole,
  countedPeerDurable,
  isInSync,
  isWhole,
  needsPeer,
  noteDamage,
  otherMember,
} from './state.ts';
import { learn, propose } from './swaps.ts';

/** Configurations of epoch-start records that are remembered, newest last. */
const startConfigsMax = 64;

/** Primary: a frame was formed at the log's end. */
export function onFrameFormed(state: CoreState, frame: FrameSummary): void {
  const { role } = state;
  assert(role.kind === 'reigning', 'only a site that reigns forms frames (I2)');
  assert(frame.epochId === role.config.epochId, 'a frame is of the reign that forms it (I2)');
  if (role.phase === 'appending-start') {
    assert(
      frame.epochStart?.epochId === role.config.epochId,
      'the first record of a reign is its epoch start (R15)',
    );
    role.phase = 'committing-start';
    role.epochStart = frame.lastSequence;
  } else {
    assert(frame.epochStart === undefined, 'a reign has one epoch start');
  }
  appendFrame(state, frame);
}

/** The frame is the newest of the own history, on its way to the log. */
export function appendFrame(state: CoreState, frame: FrameSummary): void {
  assert(frame.firstSequence === state.end.sequence + 1, 'sequences have no gaps (I2)');
  assert(frame.digestBefore === state.end.digest, 'a frame continues the digest (I11)');
  assert(frame.lastSequence >= frame.firstSequence, 'a frame holds a record');
  if (frame.epochStart !== undefined) noteEpochStart(state, frame, frame.epochStart);
  assert(
    state.epochHistory.at(-1)?.epochId === frame.epochId,
    'every epoch begins with its epoch start (R15)',
  );
  state.end = { sequence: frame.lastSequence, digest: frame.digestAfter };
  state.tail.push(state.end, state.nowMs);
}

function noteEpochStart(state: CoreState, frame: FrameSummary, config: GroupConfig): void {
  const last = state.epochHistory.at(-1);
  assert(last === undefined || last.epoch < config.epoch, 'epochs rise along a history (I2)');
  const { epoch, epochId } = config;
  state.epochHistory.push({ epoch, epochId, firstSequence: frame.firstSequence });
  state.startConfigs.push(config);
  if (state.startConfigs.length > startConfigsMax) state.startConfigs.shift();
}

/** Secondary: a checked frame came; it is appended if it continues this log on this session. */
export function onFrameReceived(state: CoreState, number: number, frame: FrameSummary): void {
  const { link } = state;
  if (link.kind !== 'joined') return;
  const problem = frameProblem(state, frame);
  if (problem !== undefined) {
    closeLink(state, problem);
    return;
  }
  if (frame.digestBefore !== state.end.digest) {
    diverged(state, { sequence: frame.firstSequence - 1, digest: frame.digestBefore });
    return;
  }
  if (frame.epochStart !== undefined) learn(state, frame.epochStart);
  if (state.link !== link) return;
  link.newestNumber = number;
  state.effects.push({ kind: 'acceptFrame' });
  appendFrame(state, frame);
  noteAnnouncedCommit(state, frame.commit);
}

function frameProblem(state: CoreState, frame: FrameSummary): string | undefined {
  if (frame.firstSequence !== state.end.sequence + 1) {
    return `frame ${frame.firstSequence} does not follow ${state.end.sequence}`;
  }
  if (state.swap !== undefined) return 'an own change of the configuration is pending';
  const { epochStart } = frame;
  if (epochStart === undefined) {
    return state.epochHistory.at(-1)?.epochId === frame.epochId
      ? undefined
      : `the epoch of frame ${frame.firstSequence} has not begun`;
  }
  if (epochStart.epoch !== frame.epoch || epochStart.epochId !== frame.epochId) {
    return 'the frame of an epoch start names another epoch';
  }
  if (epochStart.epoch <= (state.epochHistory.at(-1)?.epoch ?? 0)) {
    return `epoch ${epochStart.epoch} begins after a newer one`;
  }
  return undefined;
}

/** R18: a secondary learns the commit point, and applies no more than it has synced. */
function noteAnnouncedCommit(state: CoreState, commit: number): void {
  if (state.link.kind !== 'joined') return;
  if (commit > state.link.announcedCommit) state.link.announcedCommit = commit;
  const target = Math.min(state.link.announcedCommit, state.durable);
  if (target > state.commit) commitThrough(state, target);
}

/** Everything up to `sequence` is committed. */
export function commitThrough(state: CoreState, sequence: number): void {
  assert(sequence > state.commit, 'the commit point never falls (R16)');
  assert(sequence <= state.durable, 'only what is durable here is committed here (I1, R18)');
  state.commit = sequence;
  state.tail.discardBelow(sequence);
  state.effects.push({ kind: 'commit', sequence });
}

/** Everything up to `sequence` is durable in the local log. */
export function onDurable(state: CoreState, sequence: number): void {
  assert(sequence <= state.end.sequence, 'nothing is durable beyond the end of the log');
  if (sequence <= state.durable) return;
  state.durable = sequence;
  const { link } = state;
  if (state.role.kind === 'stopped') return;
  if (state.role.kind === 'reigning') {
    advanceCommit(state);
  } else if (link.kind === 'joined') {
    noteAnnouncedCommit(state, link.announcedCommit);
    sendAck(state, undefined);
    considerHandover(state);
  } else {
    sendHelloWhenQuiet(state);
  }
}

/**
 * R16. R19: `nowMs` was read after the message was received whose number is echoed, so the
 * primary's lease, counted from when it sent that, ends before this site's grace does. No ack
 * leaves while a swap is pending (R11).
 */
export function sendAck(state: CoreState, digest: string | undefined): void {
  const { link, config } = state;
  if (link.kind !== 'joined' || state.swap !== undefined || config === undefined) return;
  assert(state.role.kind === 'following', 'only a site that follows acknowledges');
  state.lastAcknowledgedAtMs = state.nowMs;
  state.effects.push({
    kind: 'send',
    session: link.session,
    message: {
      kind: 'ack',
      epoch: config.epoch,
      durable: state.durable,
      number: link.newestNumber,
      checkpoint: state.checkpoint.sequence,
      ...(digest === undefined ? {} : { digest }),
      ...(state.stagedFrom === undefined ? {} : { staged: true }),
    },
  });
}

/** Joiner: the stage is still being prepared, which can take a while; nothing is acknowledged. */
function sendSign(state: CoreState, session: number, number: number): void {
  state.effects.push({
    kind: 'send',
    session,
    message: {
      kind: 'ack',
      epoch: state.config?.epoch ?? 0,
      durable: 0,
      number,
      checkpoint: 0,
      staged: true,
    },
  });
}

/** Primary: the peer's cumulative acknowledgement (R16, R19). */
export function onAck(state: CoreState, ack: AckMessage): void {
  const { link, role } = state;
  if (link.kind !== 'sending' || role.kind !== 'reigning' || ack.epoch > role.config.epoch) return;
  if (ack.durable > link.sentThrough) {
    closeLink(state, `the peer acknowledged ${ack.durable}, sent was ${link.sentThrough}`);
    return;
  }
  link.lastAckAtMs = state.nowMs;
  if (link.heldFrom !== undefined) {
    if (ack.durable < link.heldFrom.sequence) return;
    state.effects.push({ kind: 'startSending', session: link.session, from: link.heldFrom });
    link.heldFrom = undefined;
  }
  link.staged = ack.staged === true;
  link.peerCheckpoint = ack.checkpoint;
  state.peerCheckpoint = ack.checkpoint;
  if (ack.digest !== undefined && digestDiffers(state, ack.durable, ack.digest)) {
    diverged(state, { sequence: ack.durable, digest: ack.digest });
    return;
  }
  if (ack.durable > link.peerDurable) link.peerDurable = ack.durable;
  const sentAtMs = link.sendTimes.sentAtMs(ack.number);
  if (sentAtMs !== undefined) {
    state.leaseUntilMs = Math.max(state.leaseUntilMs, sentAtMs + role.config.leaseMs);
  }
  noteAnswer(state, ack.number);
  advanceCommit(state);
  considerAdd(state);
}

function digestDiffers(state: CoreState, sequence: number, digest: string): boolean {
  const mine = state.pointAt(sequence);
  return mine !== undefined && mine.digest !== digest;
}

/**
 * R16: own durable if alone in sync and waiting for nobody, else also the peer's. R15: in a new
 * reign nothing before its epoch start.
 */
export function advanceCommit(state: CoreState): void {
  const { role } = state;
  if (role.kind !== 'reigning') return;
  const target = needsPeer(state, role)
    ? Math.min(state.durable, countedPeerDurable(state, role))
    : state.durable;
  if (!role.continues && target < role.epochStart) return;
  if (target > state.commit) commitThrough(state, target);
  if (role.phase === 'committing-start' && state.commit >= role.epochStart) role.phase = 'open';
}

/** Primary: a frame or heartbeat was handed to the session. */
export function onSent(state: CoreState, sent: HistoryPoint): void {
  if (state.link.kind !== 'sending') return;
  assert(sent.sequence <= state.end.sequence, 'nothing is sent that is not in the log');
  state.link.lastSentAtMs = state.nowMs;
  if (sent.sequence > state.link.sentThrough) state.link.sentThrough = sent.sequence;
}

/** Secondary: a heartbeat; both logs must have the same end and digest here (R32, I11). */
export function onHeartbeat(state: CoreState, heartbeat: HeartbeatMessage): void {
  const { link, config } = state;
  if (link.kind === 'open' && link.preparing === true) {
    sendSign(state, link.session, heartbeat.number);
    return;
  }
  if (link.kind !== 'joined' || config === undefined || state.swap !== undefined) return;
  if (heartbeat.sent.sequence !== state.end.sequence) {
    closeLink(state, `the primary sent up to ${heartbeat.sent.sequence}, the log ends elsewhere`);
    return;
  }
  if (heartbeat.sent.digest !== state.end.digest) {
    diverged(state, heartbeat.sent);
    return;
  }
  link.newestNumber = heartbeat.number;
  link.primaryCheckpoint = heartbeat.checkpoint;
  state.peerCheckpoint = heartbeat.checkpoint;
  if (heartbeat.epoch > config.epoch) state.nextRegisterReadMs = state.nowMs;
  noteAnnouncedCommit(state, heartbeat.commit);
  sendAck(state, state.pointAt(state.durable)?.digest);
}

/**
 * R32: the same sequence with different digests. The secondary is the one that is wrong by
 * definition; both say so, nothing heals silently.
 */
function diverged(state: CoreState, theirs: HistoryPoint): void {
  const text = `the digests of the two sites differ at record ${theirs.sequence}`;
  if (state.role.kind !== 'reigning') noteDamage(state, text);
  refuse(state, 'diverged', text);
}

/** R21: the primary hands over; this site takes it once its log is durable to that sequence. */
export function onRelease(state: CoreState, release: ReleaseMessage): void {
  const { link, config } = state;
  if (link.kind !== 'joined' || release.epoch !== config?.epoch) return;
  link.release = release;
  considerHandover(state);
}

export function considerHandover(state: CoreState): void {
  const { link, config } = state;
  if (link.kind !== 'joined' || link.release === undefined || config === undefined) return;
  if (state.swap !== undefined || !isInSync(state) || !isWhole(state)) return;
  const { release } = link;
  if (state.durable < release.sequence || state.durable < state.end.sequence) return;
  if (digestDiffers(state, release.sequence, release.digest)) {
    diverged(state, release);
    return;
  }
  if (!release.alone && state.end.sequence !== release.sequence) return;
  const inSync = release.alone ? [state.me] : config.inSync;
  const reason = release.alone ? "the primary's log has failed" : 'the primary handed over';
  propose(state, 'handover', inSync, reason);
}

/** Primary: drained, so the lease and the reign end here, then the peer is told (R21, H43). */
export function considerRelease(state: CoreState): void {
  const { role, link } = state;
  if (role.kind !== 'reigning' || role.phase !== 'draining' || state.swap !== undefined) return;
  if (link.kind !== 'sending' || otherMember(role.config, state.me) !== link.peerStore) return;
  const { sequence, digest } = state.end;
  if (state.commit !== sequence || link.peerDurable !== sequence) return;
  state.leaseUntilMs = Number.NEGATIVE_INFINITY;
  changeRole(state, { kind: 'released', sinceMs: state.nowMs }, 'handed over to the peer');
  state.effects.push({
    kind: 'send',
    session: link.session,
    message: { kind: 'release', epoch: role.config.epoch, sequence, digest, alone: false },
  });
}

/** I8, R33: no more acks, answers or frames; the peer is told to go on alone. Final. */
export function onLogFailed(state: CoreState): void {
  const { role, link } = state;
  if (role.kind === 'stopped') return;
  state.leaseUntilMs = Number.NEGATIVE_INFINITY;
  changeRole(state, { kind: 'stopped', reason: 'log-failed' }, 'the local log has failed');
  const known = link.kind === 'sending' ? state.pointAt(link.peerDurable) : undefined;
  const mayGoOn =
    role.kind === 'reigning' &&
    link.kind === 'sending' &&
    otherMember(role.config, state.me) === link.peerStore;
  if (mayGoOn && known !== undefined) {
    state.effects.push({ kind: 'stopSending' });
    state.effects.push({
      kind: 'send',
      session: link.session,
      message: { kind: 'release', epoch: role.config.epoch, ...known, alone: true },
    });
    return;
  }
  closeLink(state, 'the local log has failed');
}

/** R32: the data files' durable state is a point of the history that the log has. */
export function onCheckpointed(state: CoreState, checkpoint: HistoryPoint): void {
  assert(checkpoint.sequence <= state.commit, 'a checkpoint holds committed records only (I3)');
  assert(checkpoint.sequence >= state.checkpoint.sequence, 'a checkpoint never goes back');
  const known = state.pointAt(checkpoint.sequence);
  assert(
    known === undefined || known.digest === checkpoint.digest,
    'the checkpoint has the digest of the log (I11)',
  );
  state.checkpoint = checkpoint;
}
