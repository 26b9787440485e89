/**
 * The write-ahead log of one site, shared by its groups: the face of `wal/` for the rest of the
 * program. It wires the parts and decides nothing by itself:
 *
 *   entry-format, superblock   bytes              segments     slots, preallocated and recycled
 *   open-log, log-scan,        recovery           retention    what is still needed
 *   group-recovery, recovery                      log-writer   group commit
 *   log-groups, frame-index    where frames are   log-reader   reading them back
 *
 * Time and disk come as ports; there is no other source of anything that differs between runs.
 */
import { blockSizeBytes } from './checksum.ts';
import { segmentHeaderBytes, storeCrcSeed } from './entry-format.ts';
import { LogError } from './errors.ts';
import type { Digest, Frame, GroupId, StoreId } from './frame.ts';
import { frameSizeBytesMax } from './frame-format.ts';
import type { LogMarks, RecoveredLogGroup } from './group-recovery.ts';
import { LogCounters } from './log-counters.ts';
import { LogGroups } from './log-groups.ts';
import { LogReader } from './log-reader.ts';
import { type LogSurvey, surveyLog } from './log-survey.ts';
import type { Appender, LogRecovery, LogStats } from './log-types.ts';
import { LogWriter } from './log-writer.ts';
import {
  createLog,
  inspectDirectory,
  type OpenedLog,
  type OpenLogOptions,
  recoverLog,
} from './open-log.ts';
import { recoveryReport } from './recovery-report.ts';
import { type Needs, Retention } from './retention.ts';
import { Segments } from './segments.ts';

export type { LogMarks, RecoveredLogGroup } from './group-recovery.ts';
export type { Appender, LogEntry, LogRecovery, LogStats } from './log-types.ts';

export interface LogOptions extends OpenLogOptions {
  /** For a log that is made; one that is there keeps its own. A multiple of 4096. */
  readonly segmentSizeBytes: number;
  /** The segments together; room for at least three. */
  readonly sizeBytesMax: number;
  /** A group commit gathers about so much. */
  readonly commitBytesMax: number;
  readonly marks: ReadonlyMap<GroupId, LogMarks>;
  /** There is no log. Called before one is made, which can't be told from it in later lives. */
  readonly missing?: () => void;
  /** A clock that only goes forward, for latencies. */
  readonly nowMs: () => number;
  /** Runs it after what has arrived in this turn of the event loop; setImmediate if absent. */
  readonly later?: (run: () => void) => void;
}

/**
 * Segments of this size hold every frame that can be. Smaller ones are for tests, whose frames are
 * small: a frame that doesn't fit into a segment is a mistake of the caller.
 */
export const segmentSizeBytesMin =
  segmentHeaderBytes + Math.ceil((frameSizeBytesMax + 64) / blockSizeBytes) * blockSizeBytes;
const segmentsMin = 3;

export class Log {
  readonly #segments: Segments;
  readonly #segmentSizeBytes: number;
  readonly #sizeBytesMax: number;
  readonly #retention = new Retention();
  readonly #groups = new LogGroups();
  readonly #counters = new LogCounters();
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  #failed: LogError | undefined;
  #closed = false;
  /** Called once, when the log has failed for good (I8). */
  onFailure: ((error: LogError) => void) | undefined;

  /**
   * Opens the log in `directory`: makes it if there is none, else recovers it. Reads all of it.
   * Throws LogError: another store's log, an unknown version, unreadable, sizes that do not fit.
   * Damage is no error but told of each group.
   */
  static async open(options: LogOptions): Promise<{ log: Log; recovery: LogRecovery }> {
    const startedMs = options.nowMs();
    checkSizes(options);
    const existing = await inspectDirectory(options);
    if (existing.kind === 'new') options.missing?.();
    const segmentSizeBytes =
      existing.kind === 'existing' ? existing.segmentSizeBytes : options.segmentSizeBytes;
    let log: Log | undefined;
    const segments = new Segments({
      disk: options.disk,
      directory: options.directory,
      storeId: options.storeId,
      segmentSizeBytes,
      slotsMax: Math.max(segmentsMin, Math.floor(options.sizeBytesMax / segmentSizeBytes)),
      onChange: () => {
        if (log !== undefined) log.#roomChanged();
      },
      onFailure: (cause) => {
        if (log !== undefined) log.#fail(writeFailure(cause));
      },
    });
    const sized = { ...options, segmentSizeBytes };
    let opened: OpenedLog;
    try {
      opened =
        existing.kind === 'new'
          ? await createLog(sized, segments)
          : await recoverLog(sized, segments);
    } catch (error) {
      await segments.close();
      throw error;
    }
    log = new Log(sized, segments, opened);
    return { log, recovery: log.#recovery(opened, options.nowMs() - startedMs) };
  }

  private constructor(options: LogOptions, segments: Segments, opened: OpenedLog) {
    const { segmentSizeBytes, storeId, commitBytesMax, nowMs } = options;
    const later = options.later ?? setImmediate;
    const seed = storeCrcSeed(storeId);
    this.#segments = segments;
    this.#segmentSizeBytes = segmentSizeBytes;
    this.#sizeBytesMax = options.sizeBytesMax;
    this.#reader = new LogReader({ groups: this.#groups, segments, segmentSizeBytes, seed });
    this.#writer = new LogWriter({
      storeId,
      seed,
      segmentSizeBytes,
      commitBytesMax,
      segments,
      groups: this.#groups,
      counters: this.#counters,
      life: opened.life,
      endLsn: opened.endLsn,
      nowMs,
      later,
      makeRoom: () => this.#makeRoom(),
      onFailure: (error) => this.#fail(error),
    });
    for (const [groupId, { checkpoint }] of options.marks) {
      this.#retention.set(groupId, { own: checkpoint.sequence, peer: 0 });
    }
    segments.prepare();
  }

  /** Takes over what recovery found, and reports it. */
  #recovery(opened: OpenedLog, tookMs: number): LogRecovery {
    const groups = new Map<GroupId, RecoveredLogGroup>();
    for (const [groupId, found] of opened.groups) {
      const recovered = found.finish();
      groups.set(groupId, recovered);
      const { index } = found;
      this.#groups.add(groupId, index, recovered.damaged !== undefined);
      for (let ordinal = 0; ordinal < index.length; ordinal += 1) {
        const frame = index.at(ordinal);
        if (frame === undefined) continue;
        const segment = this.#segments.segmentOf(frame.lsn);
        segment?.lastSequences.set(groupId, frame.lastSequence);
      }
    }
    const { scan, endLsn } = opened;
    return { groups, report: recoveryReport({ scan, groups, endLsn, tookMs }) };
  }

  /** The appender has something to append. Idempotent and cheap. */
  schedule(appender: Appender): void {
    this.#writer.schedule(appender);
  }

  /** Why the log has failed; nothing is durable that was not reported before (I8). */
  get failed(): LogError | undefined {
    return this.#failed;
  }

  /**
   * Oldest sequence of the group from which on everything can be read, as far as reading has shown;
   * the one after its end if there is none.
   */
  firstSequence(groupId: GroupId): number {
    const group = this.#groups.get(groupId);
    return group === undefined
      ? 1
      : Math.max(group.index.firstSequence, group.unreadableThrough + 1);
  }

  /** Looks for what is missing in the middle (R30). Nothing may be appended meanwhile. */
  survey(storeId: StoreId, marks: ReadonlyMap<GroupId, LogMarks>): Promise<LogSurvey> {
    const { live } = this.#segments;
    return surveyLog({ storeId, marks, segments: live, segmentSizeBytes: this.#segmentSizeBytes });
  }

  /** The digest of the group's history at `sequence`, if that is a frame boundary in the log. */
  digestAt(groupId: GroupId, sequence: number): Digest | undefined {
    return this.#groups.get(groupId)?.index.digestAt(sequence);
  }

  /**
   * The frames after `afterSequence` (a frame boundary), about `budgetBytes` of them, checked; at
   * least one, unless nothing after it is durable. Rejects with LogError: ERR_LOG_NOT_RETAINED if
   * they have been freed, ERR_LOG_DAMAGED if they can't be trusted.
   */
  async readFrames(
    groupId: GroupId,
    afterSequence: number,
    budgetBytes: number,
  ): Promise<readonly Frame[]> {
    if (this.#closed) throw new LogError('ERR_LOG_CLOSED', 'the log is closed');
    return this.#reader.readFrames(groupId, afterSequence, budgetBytes);
  }

  /**
   * Frames above `own` are never freed; frames above `peer` are kept until the log's limit needs
   * the room (R31).
   */
  retain(groupId: GroupId, needs: Needs): void {
    this.#retention.set(groupId, needs);
    this.#release();
    if (!this.#writer.waitsForRoom) return;
    this.#segments.retryCreation();
    // While the log can grow the last slot that is ready is no reserve.
    if (this.#segments.spareIsComing) this.#writer.roomChanged();
    this.#makeRoom();
  }

  /** The group was removed: nothing of it is needed, now or when it becomes durable. */
  forget(groupId: GroupId): void {
    this.#retention.remove(groupId);
    this.#groups.forget(groupId, this.#segments.live);
    this.#release();
    if (this.#writer.waitsForRoom) this.#makeRoom();
  }

  /** Frees what nobody needs. */
  #release(): void {
    while (this.#oldestHold() === 'nothing') this.#releaseOldest();
  }

  /** The log is at its limit and has to go on: what only peers want is freed, one by one. */
  #makeRoom(): void {
    this.#release();
    while (!this.#segments.spareIsComing && this.#oldestHold() === 'peer') {
      this.#counters.segmentsTakenFromPeer += 1;
      this.#releaseOldest();
    }
  }

  #oldestHold(): 'own' | 'peer' | 'nothing' | undefined {
    const { live } = this.#segments;
    const [oldest, next] = live;
    if (oldest === undefined || next === undefined || this.#isOver) return undefined;
    // A segment that was begun but is not durable yet cannot stand in for those before it.
    if (this.#writer.endLsn <= next.baseLsn) return undefined;
    return this.#retention.holdOn(oldest);
  }

  #releaseOldest(): void {
    const segment = this.#segments.releaseOldest();
    this.#groups.dropSegment(segment, segment.baseLsn + this.#segmentSizeBytes);
  }

  #roomChanged(): void {
    if (this.#isOver) return;
    this.#writer.roomChanged();
    if (this.#writer.waitsForRoom) this.#makeRoom();
  }

  get #isOver(): boolean {
    return this.#closed || this.#failed !== undefined;
  }

  #fail(error: LogError): void {
    if (this.#isOver) return;
    this.#failed = error;
    void this.#writer.close();
    this.onFailure?.(error);
  }

  /** Appends wait for room, and no segment is on its way: only a checkpoint can help (I9). */
  get waitsForRoom(): boolean {
    return this.#writer.waitsForRoom && !this.#segments.spareIsComing;
  }

  /** Groups whose records hold the oldest part of the log: nothing after it can be freed before. */
  get heldBy(): readonly GroupId[] {
    const oldest = this.#segments.live[0];
    return oldest === undefined ? [] : this.#retention.ownersOf(oldest);
  }

  /** Bytes of the log that are used and held by checkpoints that have not been made yet. */
  get bytesSinceCheckpointHint(): number {
    for (const segment of this.#segments.live) {
      if (this.#retention.holdOn(segment) !== 'own') continue;
      return Math.max(0, this.#writer.endLsn - segment.baseLsn);
    }
    return 0;
  }

  /** The log's figures at this moment. */
  stats(): LogStats {
    const segments = this.#segments;
    const counters = this.#counters;
    const start = segments.live[0]?.baseLsn ?? this.#writer.endLsn;
    return {
      sizeBytes: segments.slotCount * this.#segmentSizeBytes,
      limitBytes: this.#sizeBytesMax,
      usedBytes: Math.max(0, this.#writer.endLsn - start),
      segments: segments.live.length,
      spareSegments: segments.spareCount,
      creationProblem: segments.creationProblem,
      waitsForRoom: this.waitsForRoom,
      waitsForRoomTotal: counters.waitsForRoom,
      segmentsTakenFromPeerTotal: counters.segmentsTakenFromPeer,
      appendedBytes: counters.appendedBytes,
      payloadBytes: counters.payloadBytes,
      frames: counters.frames,
      records: counters.records,
      cuts: counters.cuts,
      commits: counters.commits,
      commitLatency: counters.commitLatency.snapshot(),
      framesPerCommit: counters.framesPerCommit(),
    };
  }

  /** Waits for what is under way and closes the files; what was not written yet is dropped. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.close();
    await this.#segments.close();
  }
}

function checkSizes(options: LogOptions): void {
  const { segmentSizeBytes, sizeBytesMax, commitBytesMax } = options;
  const smallest = segmentHeaderBytes + 2 * blockSizeBytes;
  if (segmentSizeBytes % blockSizeBytes !== 0 || segmentSizeBytes < smallest) {
    throw new LogError(
      'ERR_LOG_OPTIONS',
      `a segment of ${segmentSizeBytes} bytes cannot be: it takes a multiple of 4096`,
    );
  }
  if (sizeBytesMax < segmentsMin * segmentSizeBytes) {
    throw new LogError(
      'ERR_LOG_OPTIONS',
      `a log of ${sizeBytesMax} bytes is too small for segments of ${segmentSizeBytes} bytes`,
      { hint: `it takes at least ${segmentsMin} segments` },
    );
  }
  if (!(commitBytesMax > 0)) {
    throw new LogError('ERR_LOG_OPTIONS', 'a commit has to gather at least one byte');
  }
}

function writeFailure(cause: unknown): LogError {
  const words = cause instanceof Error ? cause.message : String(cause);
  return new LogError('ERR_LOG_WRITE_FAILED', `writing the log failed: ${words}`, { cause });
}
