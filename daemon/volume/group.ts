/**
 * One consistency group on this site: the driver around the pure core. It turns what happens (a
 * frame is durable, a message came, the register answered) into the core's events, and carries out
 * the core's effects in their order.
 *
 * The path of a write: `Volume.submit` -> `RequestDesk` -> `GroupAppender` (a frame is formed,
 * given to the log and sent to the peer in one go) -> durable here and there -> `#commit` (the
 * volumes' stores take it, clients are answered). No promise and no timer is on it.
 */
import assert from 'node:assert/strict';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreEffect, CoreEvent, CoreView } from '../../replication/core/events.ts';
import type { GroupCore } from '../../replication/core/group-core.ts';
import type { PairMessage } from '../../replication/core/messages.ts';
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';
import type { Register } from '../../replication/register/register.ts';
import type { Frame, GroupId, HistoryPoint } from '../../wal/frame.ts';
import { type BlockRequest, blockError } from '../nbd/block-device.ts';
import type { GroupResync } from '../resync/group-resync.ts';
import type { ForwardedRequests } from './forwarded-requests.ts';
import { summarise } from './frame-summary.ts';
import { FramesInFlight } from './frames-in-flight.ts';
import { letGo } from './given-back.ts';
import { GroupAppender } from './group-appender.ts';
import type { GroupChanges } from './group-changes.ts';
import type { GroupContext } from './group-context.ts';
import { GroupCounters } from './group-counters.ts';
import { GroupHistory } from './group-history.ts';
import type { GroupParts } from './group-parts.ts';
import { GroupRequests } from './group-requests.ts';
import type { GroupVolumes } from './group-volumes.ts';
import { HistoryRest } from './history-rest.ts';
import { PeerSender } from './peer-sender.ts';
import { Queue } from './queue.ts';
import { epochStartOf } from './record-payloads.ts';
import { RegisterTalk } from './register-talk.ts';
import type { RequestDesk } from './request-desk.ts';
import type { Volume, VolumeHost } from './volume.ts';
import { Waiters } from './waiters.ts';
import type { WritePart } from './write-part.ts';

export class Group implements VolumeHost {
  readonly groupId: GroupId;
  readonly groupName: string;
  readonly desk: RequestDesk;
  readonly appender: GroupAppender;
  readonly volumes: GroupVolumes;
  readonly register: Register;
  readonly counters = new GroupCounters();
  readonly history = new GroupHistory();
  readonly changes: GroupChanges;
  readonly resync: GroupResync;
  readonly #context: GroupContext;
  readonly #core: GroupCore;
  readonly #inFlight = new FramesInFlight();
  readonly #requests: GroupRequests;
  readonly #sender: PeerSender;
  readonly #forwarded: ForwardedRequests;
  readonly #registerTalk: RegisterTalk;
  readonly #rest: HistoryRest;
  readonly #events = new Queue<CoreEvent>();
  readonly #waiters = new Waiters();
  #dispatching = false;
  #closed = false;
  #received: Frame | undefined;
  /** The point that this site's log has to reach before unresolved writes are done anew (R37). */
  #resolveAt: number | undefined;
  #view: CoreView;

  constructor(context: GroupContext, parts: GroupParts) {
    this.#context = context;
    this.groupId = parts.groupId;
    this.groupName = parts.name;
    this.#core = parts.core;
    this.register = parts.register;
    this.volumes = parts.volumes;
    this.changes = parts.changes;
    this.resync = parts.resync;
    this.#view = this.#core.view();
    for (const frame of parts.tail) this.#inFlight.push(frame, [], context.nowMs());
    this.appender = new GroupAppender(this.#appenderHost(), parts.end);
    if (parts.logIsVoid) this.appender.restart(parts.end);
    this.#requests = new GroupRequests(context, {
      view: () => this.#view,
      mayRead: (receivedAtMs) => this.mayRead(receivedAtMs),
      mayReadForPeer: () =>
        this.volumes.shows(this.#view.commit) && this.#core.mayRead(context.nowMs()),
      volume: (number) => this.volumes.byNumber(number),
      readFailed: (volume, error) => this.readFailed(volume, error),
      wakeLog: () => context.log.schedule(this.appender),
      confirmReads: () => this.#dispatch({ kind: 'confirmReads' }),
    });
    this.desk = this.#requests.desk;
    this.#forwarded = this.#requests.forwarded;
    this.#registerTalk = new RegisterTalk(parts.register, {
      tell: (event) => this.#dispatch(event),
      bug: (error) => context.bug(error),
    });
    this.#rest = new HistoryRest(context, this, (event) => this.#dispatch(event));
    this.#sender = new PeerSender(
      {
        nextNumber: () => this.#core.nextNumber(),
        sendFrame: (session, number, frame) => context.link.sendFrame(session, number, frame),
        sendHeartbeat: (session, heartbeat) => context.link.send(session, heartbeat),
        sent: (session, number, sent) => this.#dispatch({ kind: 'sent', session, number, sent }),
        readFrames: (after, budgetBytes) =>
          context.log.readFrames(this.groupId, after, budgetBytes),
        logGone: (session, error) => this.#logGone(session, error),
      },
      context.limits.inFlightBytesMax,
    );
  }

  /** The first look at the register and the link; the volumes are loaded. */
  start(): void {
    this.#dispatch({ kind: 'tick' });
    this.#viewChanged();
    this.resync.start(this);
  }

  /** Recovery has applied a committed frame of the log. */
  replayed(frame: Frame): void {
    this.counters.reached(frame);
    this.history.committed(frame);
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

  // --- requests of clients (VolumeHost)

  /** Without a time: a read that comes just now. */
  mayRead(receivedAtMs = Number.POSITIVE_INFINITY): boolean {
    if (!this.#view.takesReads || !this.volumes.shows(this.#view.commit)) return false;
    return this.#core.mayAnswer(this.#context.nowMs(), receivedAtMs);
  }

  submit(volume: Volume, request: BlockRequest): void {
    this.desk.submit(volume, request);
  }

  get congested(): boolean {
    return this.#requests.memory.full || this.#backlogFull();
  }

  whenRoom(resume: () => void): void {
    this.#requests.memory.whenRoom(resume);
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
    this.appender.wake();
  }

  // --- the log

  #appenderHost(): ConstructorParameters<typeof GroupAppender>[0] {
    const context = this.#context;
    return {
      groupId: this.groupId,
      log: context.log,
      inFlight: this.#inFlight,
      inFlightBytesMax: context.limits.inFlightBytesMax,
      desk: () => this.desk,
      view: () => this.#view,
      backlogFull: () => this.#backlogFull(),
      nowMs: () => context.nowMs(),
      wallMs: () => context.wallMs(),
      formed: (frame, epochStart) => {
        this.counters.framesFormed += 1;
        this.counters.recordsFormed += frame.records.length;
        this.#dispatch({
          kind: 'frameFormed',
          frame: summarise(frame, epochStart),
          sizeBytes: frame.sizeBytes,
        });
        this.#sender.formed(frame);
      },
      durable: (sequence) => {
        this.#inFlight.noteDurable(sequence, context.nowMs());
        this.#dispatch({ kind: 'durable', sequence });
        this.#sender.wake();
      },
    };
  }

  #backlogFull(): boolean {
    return this.volumes.backlogBytes >= this.#context.limits.applyBacklogBytesMax;
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
      this.appender.wake();
    }
    this.#resolveIfReached();
    this.desk.advance();
  }

  frame(session: number, number: number, frame: Frame): void {
    this.#received = frame;
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

  #logGone(session: number, error: Error): void {
    this.#context.event('warn', 'catch-up-interrupted', this.groupName, error.message);
    this.#context.link.closeSession(session, error.message);
    this.sessionClosed(session);
  }

  #resolveIfReached(): void {
    if (this.#resolveAt === undefined || this.appender.end.sequence < this.#resolveAt) return;
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
      const text = `files of a removed volume are left: ${String(error)}`;
      this.#context.event('warn', 'files-left', this.groupName, text);
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
    this.register.cancel();
  }

  /** Gives the core what an operator or a resync has brought about. */
  tell(event: CoreEvent): void {
    this.#dispatch(event);
  }

  /** Resolves when `condition` holds, looked at after every event until it is `givenUp`. */
  waitFor(condition: () => boolean, givenUp?: AbortSignal): Promise<void> {
    return this.#waiters.until(condition, givenUp);
  }

  /** It was closed, with the site or because it was removed. */
  get closed(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.appender.close();
    this.register.cancel();
    this.#context.link.setWilling(this.groupId, false);
    this.#sender.stop();
    this.desk.close(blockError.shutdown);
    await this.volumes.close();
    this.#waiters.look();
  }

  /**
   * This site's acceptor took a value: if it is a newer configuration, it may have been won (R9).
   * Most often it is the one that stands, for reading the register is a round as well.
   */
  acceptorTook(value: GroupConfig): void {
    if (value.epoch > (this.#view.config?.epoch ?? 0)) this.#registerTalk.read();
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
        const { reigning } = this.#view;
        const effects = this.#core.step(next, this.#context.nowMs());
        this.#view = this.#core.view();
        if (reigning && !this.#view.reigning) this.appender.reignEnded();
        for (const effect of effects) this.#carryOut(effect);
      }
    } catch (error) {
      // After a contradiction, or what could not be kept, nothing follows: a dead site is safe.
      this.#events.drain();
      this.#dispatching = false;
      this.#context.bug(error);
    }
    this.#dispatching = false;
    this.#requests.viewed(this.#view);
    this.#waiters.look();
  }

  #carryOut(effect: CoreEffect): void {
    const { link, store } = this.#context;
    switch (effect.kind) {
      case 'send':
        link.send(effect.session, effect.message);
        return;
      case 'sendHeartbeat':
        this.#sender.heartbeat(effect, this.counters.checkpoint.sequence);
        return;
      case 'closeSession':
        link.closeSession(effect.session, effect.reason);
        this.#sender.stop();
        this.#forwarded.sessionClosed(effect.session);
        this.desk.sessionClosed(effect.session);
        return;
      case 'swap':
        this.#registerTalk.swap(effect.expected, {
          ...effect.next,
          epochId: this.#context.randomId(),
        });
        return;
      case 'readRegister':
        this.#registerTalk.read();
        return;
      case 'cut':
        for (const { parts } of this.#inFlight.cutAfter(effect.to.sequence)) this.desk.cut(parts);
        this.appender.cut(effect.to);
        return;
      case 'restartHistory':
        this.#restartHistory(effect.to);
        return;
      case 'prepareResync':
        this.resync.prepare(effect);
        return;
      case 'acceptFrame':
        this.#acceptFrame();
        return;
      case 'fetchRest':
        this.#rest.fetch(effect.after);
        return;
      case 'acceptRest':
        for (const frame of this.#rest.frames) this.#append(frame, [], false);
        return;
      case 'appendEpochStart':
        this.appender.startEpoch(effect.config);
        return;
      case 'commit':
        this.#commit(effect.sequence);
        return;
      case 'startSending': {
        const end = this.appender.end.sequence;
        this.#sender.start(effect.session, effect.from, end, this.#inFlight.forSending());
        return;
      }
      case 'holdSending':
        this.#sender.hold(effect.from);
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
        this.changes.setBase(effect.base);
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

  /** What was in flight here is in nobody's history; what became of it nobody can say (R37). */
  #restartHistory(to: HistoryPoint): void {
    for (const { parts } of this.#inFlight.cutAfter(0)) this.desk.cut(parts);
    this.appender.restart(to);
    this.#resolveAt = undefined;
    this.desk.failUnresolved();
  }

  #acceptFrame(): void {
    const frame = this.#received;
    assert(frame !== undefined, 'a frame is accepted while it is being looked at');
    this.#append(frame, this.desk.find(frame), true);
  }

  #append(frame: Frame, parts: readonly WritePart[], received: boolean): void {
    this.appender.appendReceived(frame);
    this.#inFlight.push(frame, parts, this.#context.nowMs(), received);
  }

  #commit(sequence: number): void {
    for (;;) {
      const entry = this.#inFlight.shiftThrough(sequence);
      if (entry === undefined) return;
      const { frame, parts } = entry;
      this.counters.committed(entry, this.#view.inSyncWithPeer, this.#context.nowMs());
      this.history.committed(frame);
      const inEffect = (): void => {
        for (const part of parts) this.desk.settle(part, blockError.none);
        for (const done of this.appender.takeCommitCallbacks(frame.lastSequence)) done();
      };
      const givenBack = letGo(entry, this.#context.giveBack);
      this.volumes.commit(frame, givenBack, inEffect, () => this.desk.cut(parts));
    }
  }

  #viewChanged(): void {
    this.#view = this.#core.view();
    this.counters.noteServing(this.#view.takesWrites, this.#context.nowMs());
    this.#context.link.setWilling(this.groupId, this.#view.wantsSession);
    if (this.#view.reigning) this.desk.resolve();
    this.desk.advance();
    this.appender.wake();
  }
}
