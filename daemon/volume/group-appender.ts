/**
 * A group's place in the log: the entries that wait for the next group commit, those that are being
 * written, and, on the primary, the forming of a frame from all that has arrived. The log asks
 * (`takeEntries`) when it is about to write and tells (`entriesDurable`) when it has.
 */
import assert from 'node:assert/strict';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreView } from '../../replication/core/events.ts';
import {
  type Frame,
  type GroupId,
  type HistoryPoint,
  type LogRecord,
  recordKind,
} from '../../wal/frame.ts';
import { encodeFrame, frameRecordsMax } from '../../wal/frame-format.ts';
import type { Log } from '../../wal/log.ts';
import type { Appender, LogEntry } from '../../wal/log-types.ts';
import { CasemateError } from '../errors.ts';
import type { FramesInFlight } from './frames-in-flight.ts';
import { Queue } from './queue.ts';
import { documentRecord } from './record-payloads.ts';
import type { RequestDesk } from './request-desk.ts';
import type { WritePart } from './write-part.ts';

/** Most of a frame that is formed here; what is more makes another frame. */
const frameBytesMax = 4 * 1024 * 1024;

export interface GroupAppenderHost {
  readonly groupId: GroupId;
  readonly log: Pick<Log, 'schedule'>;
  readonly inFlight: FramesInFlight;
  readonly inFlightBytesMax: number;
  desk(): RequestDesk;
  view(): CoreView;
  /** The data files lag: no more is taken in, from clients or the primary, until they catch up. */
  backlogFull(): boolean;
  nowMs(): number;
  wallMs(): number;
  /** A frame was formed, put in flight, and is on its way to the log. */
  formed(frame: Frame, epochStart: GroupConfig | undefined): void;
  /** Everything up to this sequence is in the local log. */
  durable(sequence: number): void;
}

interface OwnRecord {
  readonly record: LogRecord;
  readonly done: () => void;
  readonly refuse: () => void;
}

export class GroupAppender implements Appender {
  readonly groupId: GroupId;
  readonly #host: GroupAppenderHost;
  /** Frames of the peer, and cuts. */
  readonly #ready = new Queue<LogEntry>();
  /** Records that are no client's: changes of the volume table. */
  readonly #ownRecords = new Set<OwnRecord>();
  /** Entries given to the log, oldest first; `live` is false once a cut has voided them. */
  readonly #appending = new Queue<{ readonly entry: LogEntry; live: boolean }>();
  readonly #commitCallbacks = new Map<number, (() => void)[]>();
  #epochStart: GroupConfig | undefined;
  #end: HistoryPoint;
  #closed = false;

  constructor(host: GroupAppenderHost, end: HistoryPoint) {
    this.groupId = host.groupId;
    this.#host = host;
    this.#end = end;
  }

  /** The newest record that this site has taken into its history, durable or not. */
  get end(): HistoryPoint {
    return this.#end;
  }

  close(): void {
    this.#closed = true;
  }

  /** A reign that begins here, or a cut: the group goes on only after it. */
  get urgent(): boolean {
    if (this.#closed) return false;
    return this.#epochStart !== undefined || [...this.#ready].some(({ kind }) => kind === 'cut');
  }

  /** Goes on with what waits: there is room again, or something new. */
  wake(): void {
    if (this.#ready.length > 0 || this.#host.desk().hasQueued || this.#ownRecords.size > 0) {
      this.#host.log.schedule(this);
    }
  }

  /** The first record of the reign that has just been won (R15). */
  startEpoch(config: GroupConfig): void {
    this.#epochStart = config;
    this.#host.log.schedule(this);
  }

  /**
   * Appends a record of the volume table in the reign that there is; resolves when it is committed
   * and in effect.
   * @throws {CasemateError} ERR_NOT_SERVING if the reign has ended before it was appended
   */
  appendRecord(record: LogRecord, givenUp: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (givenUp.aborted) return;
      if (!this.#host.view().reigning) {
        reject(notServing());
        return;
      }
      const own = { record, done: resolve, refuse: () => reject(notServing()) };
      this.#ownRecords.add(own);
      // Appended later, it would do what its operator has been told was not done.
      givenUp.addEventListener('abort', () => this.#ownRecords.delete(own), { once: true });
      this.#host.log.schedule(this);
    });
  }

  /** Records of the volume table wait for the log, to be committed, or to take effect. */
  get hasOwnRecords(): boolean {
    return this.#ownRecords.size > 0 || this.#commitCallbacks.size > 0;
  }

  /** What waits to be appended was asked of that reign. */
  reignEnded(): void {
    const left = [...this.#ownRecords];
    this.#ownRecords.clear();
    for (const { refuse } of left) refuse();
  }

  /** A frame of the primary follows the end of this site's history; one may begin an epoch. */
  appendReceived(frame: Frame): void {
    assert.equal(frame.firstSequence, this.#end.sequence + 1, 'a frame follows the log end (I2)');
    assert.equal(frame.digestBefore, this.#end.digest, 'a frame continues our history (I11)');
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    this.#ready.push({ kind: 'frame', frame });
    this.#host.log.schedule(this);
  }

  /** Voids everything after `to`, on its way to the log or in it (R29). */
  cut(to: HistoryPoint): void {
    assert(to.sequence <= this.#end.sequence, 'a cut is at or below the end');
    this.#end = to;
    for (const entry of this.#ready.drain()) {
      if (entry.kind === 'cut' || entry.frame.lastSequence <= to.sequence) this.#ready.push(entry);
    }
    for (const appending of this.#appending) {
      const { entry } = appending;
      if (entry.kind === 'frame' && entry.frame.lastSequence > to.sequence) appending.live = false;
    }
    for (const sequence of this.#commitCallbacks.keys()) {
      if (sequence > to.sequence) this.#commitCallbacks.delete(sequence);
    }
    this.#epochStart = undefined;
    this.#ready.push({ kind: 'cut', groupId: this.groupId, to });
    this.#host.log.schedule(this);
  }

  /**
   * The history begins anew after `to`: whatever of this group is in the log or on its way there is
   * void (R26, R29). Only while nobody sends frames.
   */
  restart(to: HistoryPoint): void {
    this.#end = to;
    this.#ready.drain();
    for (const appending of this.#appending) appending.live = false;
    this.#commitCallbacks.clear();
    this.#ready.push({ kind: 'cut', groupId: this.groupId, to });
    this.#host.log.schedule(this);
  }

  /** Whoever waits for the own records of the frame that ends here; to be called in effect. */
  takeCommitCallbacks(lastSequence: number): readonly (() => void)[] {
    if (this.#commitCallbacks.size === 0) return [];
    const callbacks = this.#commitCallbacks.get(lastSequence) ?? [];
    this.#commitCallbacks.delete(lastSequence);
    return callbacks;
  }

  takeEntries(budgetBytes: number): readonly LogEntry[] {
    if (this.#closed) return [];
    const entries: LogEntry[] = [];
    let bytes = 0;
    const take = (entry: LogEntry): void => {
      bytes += entry.kind === 'frame' ? entry.frame.sizeBytes : 0;
      entries.push(entry);
      this.#appending.push({ entry, live: true });
    };
    const { reigning } = this.#host.view();
    while (bytes < budgetBytes) {
      const entry = this.#ready.peek();
      if (entry === undefined) break;
      if (entry.kind === 'frame' && !reigning && this.#host.backlogFull()) break;
      this.#ready.shift();
      take(entry);
    }
    while (bytes < budgetBytes && this.#ready.length === 0) {
      const urgent = this.#epochStart !== undefined;
      const frame = this.#formFrame(Math.min(frameBytesMax, budgetBytes - bytes));
      if (frame === undefined) break;
      take({ kind: 'frame', frame, urgent });
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
    if (durable !== undefined) this.#host.durable(durable);
    this.wake();
  }

  /** Primary: one frame of what has arrived, with the next sequences (I2). */
  #formFrame(budgetBytes: number): Frame | undefined {
    const host = this.#host;
    const view = host.view();
    const { config } = view;
    if (!view.reigning || config === undefined) return undefined;
    const epochStart = this.#epochStart;
    const content =
      epochStart === undefined
        ? this.#recordsToAppend(view, budgetBytes)
        : { records: [documentRecord(recordKind.epochStart, 0, epochStart)], parts: [], dones: [] };
    if (content === undefined || content.records.length === 0) return undefined;
    assert(
      epochStart === undefined || epochStart.epochId === config.epochId,
      'the newest reign is the one that starts (R15)',
    );
    this.#epochStart = undefined;
    const frame = encodeFrame({
      groupId: this.groupId,
      epoch: config.epoch,
      epochId: config.epochId,
      firstSequence: this.#end.sequence + 1,
      commit: view.commit,
      timeMs: host.wallMs(),
      digestBefore: this.#end.digest,
      records: content.records,
    });
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    host.inFlight.push(frame, content.parts, host.nowMs());
    if (content.dones.length > 0) this.#commitCallbacks.set(frame.lastSequence, content.dones);
    host.formed(frame, epochStart);
    return frame;
  }

  #recordsToAppend(
    view: CoreView,
    budgetBytes: number,
  ):
    | {
        readonly records: readonly LogRecord[];
        readonly parts: readonly WritePart[];
        readonly dones: (() => void)[];
      }
    | undefined {
    if (!view.takesWrites) return undefined;
    if (this.#host.inFlight.bytes >= this.#host.inFlightBytesMax) return undefined;
    if (this.#ownRecords.size > 0) {
      const own = [...this.#ownRecords];
      this.#ownRecords.clear();
      return {
        records: own.map(({ record }) => record),
        parts: [],
        dones: own.map(({ done }) => done),
      };
    }
    if (this.#host.backlogFull()) return undefined;
    const parts = this.#host.desk().takeParts(budgetBytes, frameRecordsMax);
    return { records: parts, parts, dones: [] };
  }
}

function notServing(): CasemateError {
  return new CasemateError('ERR_NOT_SERVING', 'this site is no longer primary of the group', {
    hint: 'Try again; `casemate status` shows which site is.',
    status: 409,
  });
}
