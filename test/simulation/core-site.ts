/**
 * One site of the simulated pair: the production core, a simulated log, and a driver that carries
 * out the effects. Everything that survives a crash is in `store`; the rest is made anew.
 */
import assert from 'node:assert/strict';
import type { GroupConfig, GroupFlags } from '../../replication/core/config.ts';
import type { CoreEffect, CoreEvent, CoreTimes } from '../../replication/core/events.ts';
import { GroupCore } from '../../replication/core/group-core.ts';
import type { PairMessage } from '../../replication/core/messages.ts';
import { emptyHistoryDigest, type HistoryPoint } from '../../wal/frame.ts';
import { nextDigest, type SimulatedFrame, SimulatedLog, type SimulatedRecord } from './core-log.ts';

export const simulatedTimes: CoreTimes = {
  heartbeatMs: 2000,
  ackTimeoutMs: 6000,
  connectMs: 4000,
  registerPollMs: 20_000,
  rejoinBackoffMs: 1000,
  rejoinBackoffMsMax: 8000,
  leaseMs: 10_000,
  graceMs: 13_000,
};

export type Packet =
  | { readonly kind: 'message'; readonly message: PairMessage }
  | { readonly kind: 'frame'; readonly number: number; readonly frame: SimulatedFrame }
  | { readonly kind: 'closed' };

export interface SwapRequest {
  readonly name: string;
  readonly expected: GroupConfig;
  readonly next: GroupConfig;
  sentAtMs: number;
}

export interface HeldRequest {
  readonly operation: number;
  readonly block: number;
  /** Undefined: a read. */
  readonly value: number | undefined;
}

/** What a site asks of the world around it. */
export interface SiteHost {
  readonly times: CoreTimes;
  random(): number;
  newId(): string;
  send(site: SimulatedSite, session: number, packet: Packet): void;
  closed(site: SimulatedSite, session: number): void;
  readRegister(site: SimulatedSite): void;
  /** The other site: a resync copies its log, and a primary that comes back asks it (R30). */
  peerOf(site: SimulatedSite): SimulatedSite;
  acceptorsOf(me: string, peer: string): readonly string[];
  recoveredCommit(site: SimulatedSite, commit: number): number;
  /** How much earlier than now the core believes to have started (0 but for a mutation). */
  startShiftMs(): number;
  appended(site: SimulatedSite, frame: SimulatedFrame): void;
  committed(site: SimulatedSite, sequence: number): void;
  cut(site: SimulatedSite, to: HistoryPoint): void;
  swapSent(site: SimulatedSite, request: SwapRequest): void;
  told(site: SimulatedSite, text: string): void;
  /** The clock that the core is given with this event. */
  clockMs(site: SimulatedSite): number;
}

const wholeFlags: GroupFlags = {
  inconsistent: false,
  split: false,
  damaged: false,
  resolving: false,
};

/** What is left of a site after a crash. */
export interface SiteStore {
  storeId: string;
  log: SimulatedLog;
  checkpoint: HistoryPoint;
  /** Highest record ever written to the data files. */
  applied: number;
  base: HistoryPoint | undefined;
  flags: GroupFlags;
  /** Oldest record that the log can send. */
  logStart: number;
  /** A resync has begun here and is not complete. */
  stagedFrom: number | undefined;
}

export function blankStore(storeId: string): SiteStore {
  return {
    storeId,
    log: new SimulatedLog(),
    checkpoint: { sequence: 0, digest: emptyHistoryDigest },
    applied: 0,
    base: undefined,
    flags: wholeFlags,
    logStart: 1,
    stagedFrom: undefined,
  };
}

export class SimulatedSite {
  readonly name: 'A' | 'B';
  readonly #host: SiteHost;
  store: SiteStore;
  up = false;
  paused = false;
  resumeAtMs = 0;
  life = 0;
  rate = 1;
  #core: GroupCore | undefined;

  session: number | undefined;
  sender: { readonly session: number; from: HistoryPoint } | undefined;
  swap: SwapRequest | undefined;
  inbox: HeldRequest[] = [];
  records: SimulatedRecord[] = [];
  /** Writes in the log that are not answered, by sequence. */
  unanswered = new Map<number, number>();
  /** A sync that doesn't come is one that waits for room. */
  logWaitsForRoom = false;
  #epochStart: GroupConfig | undefined;
  #received: SimulatedFrame | undefined;
  #rest: readonly SimulatedFrame[] = [];
  #heldFrom: HistoryPoint | undefined;
  #events: CoreEvent[] = [];
  #dispatching = false;

  constructor(name: 'A' | 'B', host: SiteHost) {
    this.name = name;
    this.#host = host;
    this.store = blankStore(`${name}0`);
  }

  get core(): GroupCore {
    assert(this.#core !== undefined, 'a site that is up has a core');
    return this.#core;
  }

  get log(): SimulatedLog {
    return this.store.log;
  }

  start(nowMs: number): void {
    const { store } = this;
    this.life += 1;
    this.up = true;
    this.paused = false;
    this.session = undefined;
    this.sender = undefined;
    this.swap = undefined;
    this.inbox = [];
    this.records = [];
    this.unanswered = new Map();
    this.#epochStart = undefined;
    this.#events = [];
    this.#dispatching = false;
    const { log } = store;
    const known = Math.max(store.checkpoint.sequence, log.frames.at(-1)?.commit ?? 0);
    this.#core = new GroupCore({
      storeId: store.storeId,
      groupId: 'group',
      recovered: {
        end: log.end,
        checkpoint: store.checkpoint,
        commit: this.#host.recoveredCommit(this, known),
        config: log.lastEpochStart,
        epochHistory: log.epochHistory,
        acknowledgedMark: store.checkpoint.sequence,
        base: store.base,
        flags: store.flags,
        ...(store.stagedFrom === undefined ? {} : { stagedFrom: store.stagedFrom }),
      },
      times: this.#host.times,
      nowMs: nowMs - this.#host.startShiftMs(),
      logStart: () => store.logStart,
      logWaitsForRoom: () => this.logWaitsForRoom,
      volumes: () => [],
      digestAt: (sequence) => log.digestAt(sequence),
      random: () => this.#host.random(),
      confirmReads: true,
      defaultAcceptors: (me, peer) => this.#host.acceptorsOf(me, peer),
    });
  }

  /** The power goes; `kept` unsynced entries of the log are there afterwards. */
  crash(kept: number): void {
    this.up = false;
    this.paused = false;
    this.session = undefined;
    this.log.crash(kept);
  }

  step(event: CoreEvent): void {
    this.#events.push(event);
    if (this.#dispatching) return;
    this.#dispatching = true;
    const { life } = this;
    while (this.up && this.life === life) {
      const next = this.#events.shift();
      if (next === undefined) break;
      for (const effect of this.core.step(next, this.#host.clockMs(this))) {
        if (!this.up || this.life !== life) return;
        this.#carryOut(effect);
      }
    }
    this.#dispatching = false;
  }

  #carryOut(effect: CoreEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#host.send(this, effect.session, { kind: 'message', message: effect.message });
        return;
      case 'sendHeartbeat':
        this.#sendHeartbeat(effect);
        return;
      case 'closeSession':
        if (this.session === effect.session) this.session = undefined;
        this.sender = undefined;
        this.#host.closed(this, effect.session);
        return;
      case 'swap': {
        const next = { ...effect.next, epochId: this.#host.newId() };
        this.swap = { name: effect.name, expected: effect.expected, next, sentAtMs: -1e9 };
        this.#host.swapSent(this, this.swap);
        return;
      }
      case 'readRegister':
        this.#host.readRegister(this);
        return;
      case 'cut':
        this.#cut(effect.to);
        return;
      case 'restartHistory':
        return;
      case 'prepareResync':
        this.#prepareResync(effect);
        return;
      case 'acceptFrame':
        assert(this.#received !== undefined, 'a frame is accepted while it is looked at');
        this.log.append(this.#received);
        this.#host.appended(this, this.#received);
        return;
      case 'fetchRest':
        this.#fetchRest(effect);
        return;
      case 'acceptRest':
        for (const frame of this.#rest) {
          this.log.append(frame);
          this.#host.appended(this, frame);
        }
        this.#rest = [];
        return;
      case 'appendEpochStart':
        this.#epochStart = effect.config;
        this.formFrame();
        return;
      case 'commit':
        this.#host.committed(this, effect.sequence);
        return;
      case 'holdSending':
        this.sender = undefined;
        this.#heldFrom = effect.from;
        return;
      case 'startSending':
        this.sender = { session: effect.session, from: effect.from };
        return;
      case 'stopSending':
        this.sender = undefined;
        return;
      case 'viewChanged':
        return;
      case 'persistFlags':
        this.store.flags = effect.flags;
        return;
      case 'persistBase':
        this.store.base = effect.base;
        return;
      case 'event':
        this.#host.told(this, effect.text);
        return;
      default:
        effect satisfies never;
    }
  }

  #sendHeartbeat(effect: Extract<CoreEffect, { kind: 'sendHeartbeat' }>): void {
    const { session, epoch, commit } = effect;
    const number = this.core.nextNumber();
    const sent = this.sender?.from ?? this.#heldFrom ?? this.log.end;
    const checkpoint = this.store.checkpoint.sequence;
    const message: PairMessage = { kind: 'heartbeat', epoch, number, commit, sent, checkpoint };
    this.#host.send(this, session, { kind: 'message', message });
    this.step({ kind: 'sent', session, number, sent });
  }

  #fetchRest({ after }: Extract<CoreEffect, { kind: 'fetchRest' }>): void {
    const peer = this.#host.peerOf(this);
    this.#rest = peer.up ? peer.log.framesOf(this.store.storeId, after.sequence) : [];
    this.step({ kind: 'restFetched', frames: this.#rest });
  }

  /** Everything is copied at once: how it is copied is not what is simulated here. */
  #prepareResync(effect: Extract<CoreEffect, { kind: 'prepareResync' }>): void {
    const { from, session, epochHistory, config } = effect;
    const { store } = this;
    store.log = SimulatedLog.copyOf(this.#host.peerOf(this).log, from.sequence);
    assert(store.log.end.digest === from.digest, 'a resync begins at a commit point');
    store.logStart = from.sequence + 1;
    store.stagedFrom = from.sequence;
    store.checkpoint = from;
    store.applied = from.sequence;
    this.unanswered.clear();
    this.step({ kind: 'resyncBegun', session, from, epochHistory, config });
  }

  #completeResync(): void {
    const { store } = this;
    if (store.stagedFrom === undefined || !store.log.quiet) return;
    if (this.core.view().joinedSession === undefined) return;
    store.stagedFrom = undefined;
    store.base = undefined;
    this.step({ kind: 'resynced' });
  }

  #cut(to: HistoryPoint): void {
    this.#host.cut(this, to);
    this.log.cut(to);
    for (const sequence of this.unanswered.keys()) {
      if (sequence > to.sequence) this.unanswered.delete(sequence);
    }
  }

  /** Forms a frame of the epoch start that waits, or of the records that have arrived. */
  formFrame(): void {
    const { config, takesWrites, reigning } = this.core.view();
    const epochStart = this.#epochStart;
    if (!reigning || config === undefined) return;
    if (epochStart === undefined && (!takesWrites || this.records.length === 0)) return;
    const records = epochStart === undefined ? this.records : [];
    if (epochStart === undefined) this.records = [];
    this.#epochStart = undefined;
    const { sequence, digest } = this.log.end;
    const { epoch, epochId } = config;
    const count = Math.max(1, records.length);
    const content = `${epoch}/${epochId}/${JSON.stringify(records)}/${epochStart?.epochId}`;
    const frame: SimulatedFrame = {
      epoch,
      epochId,
      firstSequence: sequence + 1,
      lastSequence: sequence + count,
      commit: this.core.view().commit,
      digestBefore: digest,
      digestAfter: nextDigest(digest, content),
      records,
      ...(epochStart === undefined ? {} : { epochStart }),
    };
    records.forEach(({ operation }, index) => {
      this.unanswered.set(sequence + 1 + index, operation);
    });
    this.log.append(frame);
    this.#host.appended(this, frame);
    this.step({ kind: 'frameFormed', frame, sizeBytes: count });
  }

  /** Sends the joined peer the next frames that it lacks. */
  sendFrames(countMax: number): void {
    for (let count = 0; count < countMax; count += 1) {
      const { sender } = this;
      if (sender === undefined) return;
      const frame = this.log.frames.find(
        ({ firstSequence }) => firstSequence === sender.from.sequence + 1,
      );
      if (frame === undefined) return;
      const number = this.core.nextNumber();
      sender.from = { sequence: frame.lastSequence, digest: frame.digestAfter };
      this.#host.send(this, sender.session, { kind: 'frame', number, frame });
      this.step({ kind: 'sent', session: sender.session, number, sent: sender.from });
    }
  }

  /** A packet came out of the session's socket. */
  receive(session: number, packet: Packet): void {
    switch (packet.kind) {
      case 'closed':
        if (this.session === session) this.session = undefined;
        this.step({ kind: 'sessionClosed', session });
        return;
      case 'message':
        this.step({ kind: 'message', session, message: packet.message });
        return;
      case 'frame':
        this.#received = packet.frame;
        this.step({ kind: 'frameReceived', session, number: packet.number, frame: packet.frame });
        this.#received = undefined;
        return;
      default:
        packet satisfies never;
    }
  }

  sync(count: number): void {
    const durable = this.log.sync(count);
    if (durable !== undefined) this.step({ kind: 'durable', sequence: durable });
    if (this.up) this.#completeResync();
  }
}
