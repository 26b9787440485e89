/**
 * One consistency group on this site: the driver around the pure core. It turns what happens (a
 * frame is durable, a message came, the register answered) into the core's events, and carries out
 * the core's effects in their order. It owns the group's place in the log (it is an `Appender`),
 * its frames in flight, its requests and its volumes.
 *
 * The path of a write: `Volume.submit` -> `RequestDesk` -> `takeEntries` (here: the frame is formed,
 * sent to the peer and given to the log in one go) -> durable here and there -> `#commit` (clients
 * are answered, the volumes' stores apply). No promise and no timer is on it.
 */
import assert from 'node:assert/strict';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreEffect, CoreEvent, CoreView } from '../../replication/core/events.ts';
import type { GroupCore } from '../../replication/core/group-core.ts';
import type { PairMessage } from '../../replication/core/messages.ts';
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';
import type { CasRegister } from '../../replication/register/cas-register.ts';
import type { Digest, Frame, GroupId, HistoryPoint, LogRecord } from '../../wal/frame.ts';
import { recordKind } from '../../wal/frame.ts';
import { encodeFrame, frameRecordsMax } from '../../wal/frame-format.ts';
import type { Appender, LogEntry } from '../../wal/log.ts';
import { type BlockRequest, blockError } from '../nbd/block-device.ts';
import { ForwardedRequests } from './forwarded-requests.ts';
import { type FrameInFlight, FramesInFlight } from './frames-in-flight.ts';
import type { GroupContext } from './group-context.ts';
import { GroupCounters } from './group-counters.ts';
import { GroupHistory } from './group-history.ts';
import type { GroupVolumes } from './group-volumes.ts';
import { PeerSender } from './peer-sender.ts';
import { Queue } from './queue.ts';
import { documentRecord, epochStartOf } from './record-payloads.ts';
import { RequestDesk } from './request-desk.ts';
import type { Volume, VolumeHost } from './volume.ts';
import type { WritePart } from './write-part.ts';

/** Most of a frame that a group forms; larger batches make several frames. */
const frameBytesMax = 4 * 1024 * 1024;

export interface GroupIdentity {
  readonly groupId: GroupId;
  readonly name: string;
}

export class Group implements Appender, VolumeHost {
  readonly groupId: GroupId;
  readonly groupName: string;
  readonly desk: RequestDesk;
  readonly volumes: GroupVolumes;
  readonly counters = new GroupCounters();
  readonly history = new GroupHistory();
  readonly #context: GroupContext;
  readonly #core: GroupCore;
  readonly #register: CasRegister;
  readonly #inFlight: FramesInFlight;
  readonly #sender: PeerSender;
  readonly #forwarded: ForwardedRequests;
  /** Entries that wait for the log: frames of the peer, cuts, frames with records of our own. */
  readonly #ready = new Queue<LogEntry>();
  /** Records that are no client's: epoch starts and changes of the volume table. */
  readonly #ownRecords = new Queue<{ record: LogRecord; done: () => void }>();
  /** Entries given to the log, oldest first; `live` is false once a cut has voided them. */
  readonly #appending = new Queue<{ entry: LogEntry; live: boolean }>();
  readonly #events = new Queue<CoreEvent>();
  readonly #viewWaiters = new Set<() => void>();
  #dispatching = false;
  #pendingEpochStart: GroupConfig | undefined;
  #received: { frame: Frame } | undefined;
  #end: HistoryPoint;
  #closed = false;
  /** The point that this site's log has to reach before unresolved writes are done anew (R37). */
  #resolveAt: number | undefined;
  #view: CoreView;

  constructor(
    context: GroupContext,
    identity: GroupIdentity,
    parts: {
      readonly core: GroupCore;
      readonly register: CasRegister;
      readonly makeVolumes: (host: Group) => GroupVolumes;
      readonly tail: readonly Frame[];
      readonly end: HistoryPoint;
    },
  ) {
    this.#context = context;
    this.groupId = identity.groupId;
    this.groupName = identity.name;
    this.#core = parts.core;
    this.#register = parts.register;
    this.#end = parts.end;
    this.#inFlight = new FramesInFlight();
    for (const frame of parts.tail) this.#inFlight.push(frame, [], context.nowMs());
    this.desk = new RequestDesk({
      boot: context.boot,
      memory: context.memory,
      holdMsMax: context.limits.holdMsMax,
      nowMs: () => context.nowMs(),
      takesWrites: () => this.#view.takesWrites,
      mayRead: () => this.mayRead(),
      standbySession: () => (this.#view.reigning ? undefined : this.#view.joinedSession),
      forward: (session, request) => context.link.sendForward(session, request),
      wakeLog: () => context.log.schedule(this),
      readFailed: (volume, error) => this.readFailed(volume, error),
    });
    this.#forwarded = new ForwardedRequests({
      nowMs: () => context.nowMs(),
      takesWrites: () => this.#view.takesWrites,
      mayRead: () => this.mayRead(),
      volume: (number) => this.volumes.byNumber(number),
      submitPart: (part) => this.desk.submitPart(part),
      reply: (session, reply) => context.link.sendForwardReply(session, reply),
      readFailed: (volume, error) => this.readFailed(volume, error),
    });
    this.#sender = new PeerSender(
      {
        groupId: this.groupId,
        nextNumber: () => this.#core.nextNumber(),
        sendFrame: (session, number, frame) => context.link.sendFrame(session, number, frame),
        sent: (session, number, sent) => this.#dispatch({ kind: 'sent', session, number, sent }),
        readFrames: (after, budgetBytes) =>
          context.log.readFrames(this.groupId, after, budgetBytes),
        logGone: (session, error) => {
          context.event('warn', 'catch-up-interrupted', this.groupName, error.message);
          context.link.closeSession(session, error.message);
          this.sessionClosed(session);
        },
      },
      context.limits.inFlightBytesMax,
    );
    this.volumes = parts.makeVolumes(this);
    this.#view = this.#core.view();
  }

  /** Recovery has applied a committed frame of the log. */
  replayed(frame: Frame): void {
    this.counters.reached(frame);
    this.history.committed(frame);
  }

  /** The first look at the register and the link; the volumes are loaded. */
  start(): void {
    this.#dispatch({ kind: 'tick' });
    this.#viewChanged();
  }

  get view(): CoreView {
    return this.#view;
  }

  get inFlightBytes(): number {
    return this.#inFlight.bytes;
  }

  /** Where the last committed frame ends that is wholly in the data files. */
  get appliedPoint(): HistoryPoint | undefined {
    return this.counters.appliedPoint(this.volumes.appliedThrough);
  }

  get register(): CasRegister {
    return this.#register;
  }

  // --- requests of clients (VolumeHost)

  mayRead(): boolean {
    return this.#view.takesReads && this.#core.mayRead(this.#context.nowMs());
  }

  submit(volume: Volume, request: BlockRequest): void {
    this.desk.submit(volume, request);
  }

  get congested(): boolean {
    return (
      this.#context.memory.full ||
      this.volumes.backlogBytes >= this.#context.limits.applyBacklogBytesMax
    );
  }

  whenRoom(resume: () => void): void {
    this.#context.memory.whenRoom(resume);
  }

  nowMs(): number {
    return this.#context.nowMs();
  }

  readFailed(volume: Volume, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#context.event('error', 'read-failed', this.groupName, `volume ${volume.name}: ${text}`);
  }

  /** Applied moved, or memory was freed: the log may go on, clients may send again. */
  progressed(): void {
    this.#context.memory.wake();
    if (this.#ready.length > 0 || this.desk.hasQueued) this.#context.log.schedule(this);
  }

  // --- the log (Appender)

  takeEntries(budgetBytes: number): readonly LogEntry[] {
    if (this.#closed) return [];
    const entries: LogEntry[] = [];
    let bytes = 0;
    // A site whose data files lag stops taking frames in: the primary's window then slows it (I9).
    while (bytes < budgetBytes && this.#ready.length > 0) {
      const entry = this.#ready.peek();
      if (entry === undefined) break;
      if (entry.kind === 'frame' && this.#backlogFull() && !this.#view.reigning) break;
      this.#ready.shift();
      bytes += entry.kind === 'frame' ? entry.frame.sizeBytes : 0;
      entries.push(entry);
      this.#appending.push({ entry, live: true });
    }
    while (bytes < budgetBytes) {
      const frame = this.#formFrame(Math.min(frameBytesMax, budgetBytes - bytes));
      if (frame === undefined) break;
      bytes += frame.sizeBytes;
      const entry: LogEntry = { kind: 'frame', frame };
      entries.push(entry);
      this.#appending.push({ entry, live: true });
    }
    return entries;
  }

  entriesDurable(entries: readonly LogEntry[]): void {
    let durable: number | undefined;
    for (const entry of entries) {
      const appended = this.#appending.shift();
      assert(appended !== undefined && appended.entry === entry, 'durable in the order taken');
      if (!appended.live) continue;
      durable = entry.kind === 'frame' ? entry.frame.lastSequence : entry.to.sequence;
    }
    if (durable === undefined) return;
    this.#inFlight.noteDurable(durable, this.#context.nowMs());
    this.#dispatch({ kind: 'durable', sequence: durable });
    this.#sender.wake();
    if (this.#ready.length > 0 || this.desk.hasQueued) this.#context.log.schedule(this);
  }

  #backlogFull(): boolean {
    return this.volumes.backlogBytes >= this.#context.limits.applyBacklogBytesMax;
  }

  /** Primary: forms the next frame of what has arrived, tells the core and sends it (I2). */
  #formFrame(budgetBytes: number): Frame | undefined {
    const reign = this.#core.view().config;
    if (!this.#view.reigning || reign === undefined) return undefined;
    const nowMs = this.#context.nowMs();
    let records: readonly LogRecord[] = [];
    let parts: readonly WritePart[] = [];
    const dones: (() => void)[] = [];
    if (this.#pendingEpochStart !== undefined) {
      assert.equal(this.#pendingEpochStart.epochId, reign.epochId, 'the newest reign starts (R15)');
      records = [documentRecord(recordKind.epochStart, 0, this.#pendingEpochStart)];
    } else {
      if (!this.#view.takesWrites) return undefined;
      if (this.#inFlight.bytes >= this.#context.limits.inFlightBytesMax) return undefined;
      const own = this.#ownRecords.drain();
      if (own.length > 0) {
        records = own.map(({ record }) => record);
        dones.push(...own.map(({ done }) => done));
      } else {
        parts = this.desk.takeParts(budgetBytes, frameRecordsMax);
        records = parts;
      }
    }
    if (records.length === 0) return undefined;
    const frame = encodeFrame({
      groupId: this.groupId,
      epoch: reign.epoch,
      epochId: reign.epochId,
      firstSequence: this.#end.sequence + 1,
      commit: this.#view.commit,
      timeMs: this.#context.wallMs(),
      digestBefore: this.#end.digest,
      records,
    });
    const epochStart = this.#pendingEpochStart;
    this.#pendingEpochStart = undefined;
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    const entry = this.#inFlight.push(frame, parts, nowMs);
    this.#waitForCommit(entry, dones);
    this.counters.framesFormed += 1;
    this.counters.recordsFormed += records.length;
    this.#dispatch({
      kind: 'frameFormed',
      frame: summarise(frame, epochStart),
      sizeBytes: frame.sizeBytes,
    });
    this.#sender.formed(frame);
    return frame;
  }

  #commitCallbacks = new Map<number, (() => void)[]>();

  #waitForCommit(entry: FrameInFlight, dones: (() => void)[]): void {
    if (dones.length > 0) this.#commitCallbacks.set(entry.frame.lastSequence, dones);
  }

  /** Appends a record of the volume table; resolves when it is committed and in effect. */
  appendRecord(record: LogRecord): Promise<void> {
    return new Promise((resolve) => {
      this.#ownRecords.push({ record, done: resolve });
      this.#context.log.schedule(this);
    });
  }

  // --- the link

  sessionOpened(session: number): void {
    this.#forwarded.sessionOpened(session);
    this.#dispatch({ kind: 'sessionOpened', session });
  }

  sessionClosed(session: number): void {
    this.#forwarded.sessionClosed(session);
    this.#resolveAt = undefined;
    this.#dispatch({ kind: 'sessionClosed', session });
    this.desk.sessionClosed(session);
    this.desk.advance();
  }

  message(session: number, message: PairMessage): void {
    if (message.kind === 'ack') {
      this.#inFlight.notePeerDurable(message.durable, this.#context.nowMs());
    }
    if (message.kind === 'welcome') this.#resolveAt = message.end.sequence;
    this.#dispatch({ kind: 'message', session, message });
    if (message.kind === 'ack') {
      this.#sender.acknowledged(message.durable);
      if (this.desk.hasQueued) this.#context.log.schedule(this);
    }
    this.#resolveIfReached();
    this.desk.advance();
  }

  frame(session: number, number: number, frame: Frame): void {
    this.#received = { frame };
    this.#dispatch({
      kind: 'frameReceived',
      session,
      number,
      frame: summarise(frame, epochStartOf(frame.records)),
    });
    this.#received = undefined;
    this.#resolveIfReached();
  }

  forward(session: number, request: ForwardRequest): void {
    this.#forwarded.take(session, request);
  }

  forwardReply(session: number, reply: ForwardReply): void {
    this.desk.reply(session, reply);
  }

  #resolveIfReached(): void {
    if (this.#resolveAt === undefined || this.#end.sequence < this.#resolveAt) return;
    if (this.#view.reigning || this.#view.joinedSession === undefined) return;
    this.#resolveAt = undefined;
    this.desk.resolve();
    this.desk.advance();
  }

  // --- time, checkpoints, operators

  tick(): void {
    this.#dispatch({ kind: 'tick' });
    this.desk.expire();
    this.desk.advance();
  }

  checkpointed(checkpoint: HistoryPoint): void {
    this.#dispatch({ kind: 'checkpointed', checkpoint });
    this.volumes.checkpointed(checkpoint.sequence).catch((error: unknown) => {
      this.#context.bug(error);
    });
    this.retain(checkpoint);
  }

  /** Tells the log what has to be kept (R31). */
  retain(checkpoint: HistoryPoint): void {
    const peer = Math.min(this.#view.peerCheckpoint, checkpoint.sequence);
    this.#context.log.retain(this.groupId, { own: checkpoint.sequence, peer });
  }

  logFailed(): void {
    this.#dispatch({ kind: 'logFailed' });
  }

  /** This life's swap from absent has won: the group begins here (R39). */
  created(config: GroupConfig): void {
    this.#dispatch({ kind: 'created', config });
  }

  switchover(): void {
    this.#dispatch({ kind: 'switchover' });
  }

  forced(config: GroupConfig): void {
    this.#dispatch({ kind: 'forced', config });
  }

  /** Resolves when `condition` holds, looked at after every change of the view or commit. */
  waitFor(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#viewWaiters.delete(look);
        resolve();
      };
      this.#viewWaiters.add(look);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#register.cancel();
    this.#context.link.setWilling(this.groupId, false);
    this.#sender.stop();
    this.desk.close(blockError.shutdown);
    await this.volumes.close();
  }

  // --- events and effects

  /**
   * Gives the core one event and carries out what follows. Effects can bring new events (what was
   * sent, what was formed); those wait their turn, so that the core never sees one inside another.
   */
  #dispatch(event: CoreEvent): void {
    if (this.#closed) return;
    this.#events.push(event);
    if (this.#dispatching) return;
    this.#dispatching = true;
    try {
      for (;;) {
        const next = this.#events.shift();
        if (next === undefined) break;
        const effects = this.#core.step(next, this.#context.nowMs());
        this.#view = this.#core.view();
        for (const effect of effects) this.#carryOut(effect);
      }
    } catch (error) {
      // A state machine that has met a contradiction must not go on: a dead site is safe.
      this.#context.bug(error);
    } finally {
      this.#dispatching = false;
    }
    if (this.#viewWaiters.size > 0) for (const look of [...this.#viewWaiters]) look();
  }

  #carryOut(effect: CoreEffect): void {
    const { link, store } = this.#context;
    switch (effect.kind) {
      case 'send':
        link.send(effect.session, effect.message);
        return;
      case 'sendHeartbeat':
        this.#sendHeartbeat(effect.session, effect.commit);
        return;
      case 'closeSession':
        link.closeSession(effect.session, effect.reason);
        this.#sender.stop();
        this.#forwarded.sessionClosed(effect.session);
        this.desk.sessionClosed(effect.session);
        return;
      case 'swap':
        this.#swap(effect.expected, { ...effect.next, epochId: this.#context.randomId() });
        return;
      case 'readRegister':
        this.readRegister();
        return;
      case 'cut':
        this.#cut(effect.to);
        return;
      case 'acceptFrame':
        this.#acceptFrame();
        return;
      case 'appendEpochStart':
        this.#pendingEpochStart = effect.config;
        this.#context.log.schedule(this);
        return;
      case 'commit':
        this.#commit(effect.sequence);
        return;
      case 'startSending':
        this.#sender.start(effect.session, effect.from, this.#end.sequence, this.#framesInMemory());
        return;
      case 'stopSending':
        this.#sender.stop();
        return;
      case 'viewChanged':
        this.#viewChanged();
        return;
      case 'persistFlags':
        store.setFlags(this.groupId, effect.flags);
        return;
      case 'persistBase':
        store.setBase(this.groupId, effect.base);
        return;
      case 'event':
        this.#context.event(effect.level, effect.code, this.groupName, effect.text);
        return;
      default: {
        const never: never = effect;
        throw new Error(`no such effect ${JSON.stringify(never)}`);
      }
    }
  }

  #sendHeartbeat(session: number, commit: number): void {
    const number = this.#core.nextNumber();
    const sent = this.#sender.cursor;
    const { config } = this.#core.view();
    assert(config !== undefined, 'a site that sends heartbeats has a configuration');
    this.#context.link.send(session, {
      kind: 'heartbeat',
      epoch: config.epoch,
      number,
      commit,
      sent,
      checkpoint: this.counters.checkpoint.sequence,
    });
    this.#dispatch({ kind: 'sent', session, number, sent });
  }

  *#framesInMemory(): IterableIterator<Frame> {
    for (const { frame } of this.#inFlight) yield frame;
  }

  #swap(expected: GroupConfig, next: GroupConfig): void {
    this.#register.swap(expected, next).then(
      (result) => {
        if (result.outcome === 'won') this.#dispatch({ kind: 'swapWon', config: next });
        else this.#dispatch({ kind: 'swapLost', current: result.current });
      },
      (error: unknown) => {
        if (!this.#closed) this.#context.bug(error);
      },
    );
  }

  #reading = false;

  /** Looks at the register: a newer configuration may have been won (R9). */
  readRegister(): void {
    if (this.#reading || this.#closed) return;
    this.#reading = true;
    this.#register.read().then(
      (current) => {
        this.#reading = false;
        if (current !== undefined) this.#dispatch({ kind: 'registerRead', current });
      },
      () => {
        // No quorum of acceptors answered: the core asks again when it has to.
        this.#reading = false;
      },
    );
  }

  #acceptFrame(): void {
    const received = this.#received;
    assert(received !== undefined, 'a frame is accepted while it is being looked at');
    const { frame } = received;
    assert.equal(frame.firstSequence, this.#end.sequence + 1, 'a frame follows the log end (I2)');
    assert.equal(frame.digestBefore, this.#end.digest, 'a frame continues our history (I11)');
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    this.#inFlight.push(frame, this.desk.find(frame), this.#context.nowMs());
    this.#ready.push({ kind: 'frame', frame });
    this.#context.log.schedule(this);
  }

  #cut(to: HistoryPoint): void {
    assert(to.sequence <= this.#end.sequence, 'a cut is at or below the end');
    this.#end = to;
    for (const { frame, parts } of this.#inFlight.cutAfter(to.sequence)) {
      this.desk.cut(parts);
      this.#commitCallbacks.delete(frame.lastSequence);
    }
    const ready = this.#ready.drain();
    for (const entry of ready) {
      if (entry.kind === 'cut' || entry.frame.lastSequence <= to.sequence) this.#ready.push(entry);
    }
    for (const appending of this.#appending) {
      if (appending.entry.kind === 'frame' && appending.entry.frame.lastSequence > to.sequence) {
        appending.live = false;
      }
    }
    this.#pendingEpochStart = undefined;
    this.#ready.push({ kind: 'cut', groupId: this.groupId, to });
    this.#context.log.schedule(this);
  }

  #commit(sequence: number): void {
    for (;;) {
      const entry = this.#inFlight.shiftThrough(sequence);
      if (entry === undefined) return;
      const { frame, parts } = entry;
      this.counters.committed(entry, this.#view.inSyncWithPeer, this.#context.nowMs());
      this.history.committed(frame);
      const callbacks = this.#commitCallbacks.get(frame.lastSequence);
      if (callbacks !== undefined) this.#commitCallbacks.delete(frame.lastSequence);
      this.volumes.commit(frame, () => {
        for (const part of parts) this.desk.settle(part, blockError.none);
        if (callbacks !== undefined) for (const done of callbacks) done();
      });
    }
  }

  #viewChanged(): void {
    this.#view = this.#core.view();
    this.counters.noteServing(this.#view.takesWrites, this.#context.nowMs());
    this.#context.link.setWilling(this.groupId, this.#view.wantsSession);
    if (this.#view.reigning) this.desk.resolve();
    this.desk.advance();
  }
}

function summarise(
  frame: Frame,
  epochStart: GroupConfig | undefined,
): {
  epoch: number;
  epochId: string;
  firstSequence: number;
  lastSequence: number;
  commit: number;
  digestBefore: Digest;
  digestAfter: Digest;
  epochStart?: GroupConfig;
} {
  const { epoch, epochId, firstSequence, lastSequence, commit, digestBefore, digestAfter } = frame;
  return {
    epoch,
    epochId,
    firstSequence,
    lastSequence,
    commit,
    digestBefore,
    digestAfter,
    ...(epochStart === undefined ? {} : { epochStart }),
  };
}
