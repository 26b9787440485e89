/**
 * Group commit: everything that has come up while a write was under way goes to the log with the
 * next one, of all groups together. One write at a time, on files opened with `durableWrites`, so
 * that a write that is done is durable (I1).
 *
 *   idle --schedule--> armed (`later`: what arrives in this turn of the event loop shares the
 *   write) --> writing --> durable is reported --> armed again if anybody has more, else idle
 *
 * A batch goes whole into the segment it starts in; if it doesn't fit, the next segment begins and
 * its header goes with the batch, in the same write. Without a next segment it waits (I9); the last
 * one is kept for what lets a group go on.
 *
 * A write that fails is final (I8): nothing is written or reported durable after it.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes, crc32c } from './checksum.ts';
import {
  cutBodyBytes,
  encodeCutBody,
  encodeEntryHeader,
  encodeSegmentHeader,
  entryHeaderBytes,
  entryKind,
  entrySizeBytes,
  segmentHeaderBytes,
} from './entry-format.ts';
import { LogError } from './errors.ts';
import type { GroupId, StoreId } from './frame.ts';
import type { LogCounters } from './log-counters.ts';
import type { LogGroups } from './log-groups.ts';
import type { Appender, LogEntry } from './log-types.ts';
import type { Segment, Segments } from './segments.ts';

export interface LogWriterOptions {
  readonly storeId: StoreId;
  readonly seed: number;
  readonly segmentSizeBytes: number;
  readonly commitBytesMax: number;
  readonly segments: Segments;
  readonly groups: LogGroups;
  readonly counters: LogCounters;
  readonly life: number;
  readonly endLsn: number;
  readonly nowMs: () => number;
  /** Runs it when all that has arrived by now has been looked at. */
  readonly later: (run: () => void) => void;
  /** No segment is ready and none is on its way: frees one that only a peer wants, if it can. */
  readonly makeRoom: () => void;
  readonly onFailure: (error: LogError) => void;
}

/** An entry that was taken from its group; without an appender if the log itself added it. */
interface Taken {
  readonly appender: Appender | undefined;
  readonly entry: LogEntry;
  /** In the log; 0 if a cut that comes after it has voided it: it is not written any more. */
  readonly sizeBytes: number;
}

/** An entry with its place in the log. */
interface Placed extends Taken {
  readonly lsn: number;
  readonly restart: boolean;
}

interface Batch {
  readonly segment: Segment;
  readonly placed: readonly Placed[];
  readonly buffers: readonly Buffer[];
  readonly startLsn: number;
  readonly endLsn: number;
}

const padding = Buffer.alloc(blockSizeBytes);

export class LogWriter {
  readonly #options: LogWriterOptions;
  #scheduled = new Set<Appender>();
  /** Taken, and not written yet, for want of room. */
  #carry: Taken[] = [];
  #endLsn: number;
  #state: 'idle' | 'armed' | 'writing' | 'waiting' | 'closed' = 'idle';
  #writing: Promise<void> | undefined;
  #scratch = Buffer.allocUnsafeSlow(64 * (entryHeaderBytes + cutBodyBytes));

  constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#endLsn = options.endLsn;
  }

  /** Everything below is durable, and where the next entry goes. */
  get endLsn(): number {
    return this.#endLsn;
  }

  get waitsForRoom(): boolean {
    return this.#state === 'waiting';
  }

  /** The appender has entries. Hot path. */
  schedule(appender: Appender): void {
    this.#scheduled.add(appender);
    if (this.#state === 'idle' || (this.#state === 'waiting' && appender.urgent)) this.#arm();
  }

  /** A segment may have become ready. */
  roomChanged(): void {
    if (this.#state === 'waiting') this.#arm();
  }

  /** Ends writing; what was not written yet is dropped. Resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#state = 'closed';
    this.#scheduled.clear();
    this.#carry = [];
    await this.#writing;
  }

  #arm(): void {
    this.#state = 'armed';
    this.#options.later(() => this.#start());
  }

  #start(): void {
    if (this.#state !== 'armed') return;
    // What is taken without room would have to go before what is urgent, into the reserve.
    const hasRoom = this.#options.segments.hasRoom;
    if (this.#carry.length === 0 && hasRoom) this.#take();
    if (this.#carry.length === 0 && (hasRoom || this.#scheduled.size === 0)) {
      this.#state = 'idle';
      return;
    }
    const batch = this.#placeBatch(false) ?? this.#placeUrgent();
    if (batch === undefined) {
      this.#state = 'waiting';
      this.#options.counters.waitsForRoom += 1;
      this.#options.makeRoom();
      return;
    }
    this.#state = 'writing';
    this.#writing = this.#write(batch);
  }

  /** Asks the groups in turn until the budget of a commit is used up. */
  #take(): void {
    const { commitBytesMax } = this.#options;
    const asked = this.#scheduled;
    this.#scheduled = new Set();
    const gave: Appender[] = [];
    let budgetBytes = commitBytesMax;
    for (const appender of asked) {
      if (budgetBytes <= 0) {
        this.#scheduled.add(appender);
        continue;
      }
      const entries = appender.takeEntries(budgetBytes);
      if (entries.length > 0) gave.push(appender);
      for (const entry of entries) {
        budgetBytes -= this.#carryEntry(appender, entry);
      }
    }
    for (const appender of gave) this.#scheduled.add(appender);
  }

  /** The entry will be in the next write; gives its size. */
  #carryEntry(appender: Appender, entry: LogEntry): number {
    const cut = this.#options.groups.cutBefore(entry);
    if (cut !== undefined) {
      this.#carry.push({ appender: undefined, entry: cut, ...sizeOf(cut) });
    }
    if (entry.kind === 'cut') this.#carry = this.#carry.map((taken) => unlessVoid(taken, entry));
    const taken = { appender, entry, ...sizeOf(entry) };
    this.#carry.push(taken);
    return taken.sizeBytes;
  }

  /**
   * What lets a group go on may use the reserve, together with what that group gave before it;
   * what others gave has no part in their order, and stays behind.
   */
  #placeUrgent(): Batch | undefined {
    for (const appender of this.#scheduled) {
      // Entry by entry: what comes after it would go before the next urgent one, into the reserve.
      while (appender.urgent) {
        const entries = appender.takeEntries(1);
        if (entries.length === 0) break;
        for (const entry of entries) this.#carryEntry(appender, entry);
      }
    }
    const { first, rest } = urgentFirst(this.#carry);
    if (first.length === 0) return undefined;
    this.#carry = first;
    const batch = this.#placeBatch(true);
    this.#carry.push(...rest);
    return batch;
  }

  /** Gives as much of the carry as fits its places; undefined if there is no room at all. */
  #placeBatch(urgent: boolean): Batch | undefined {
    if (this.#carry.length === 0) return undefined;
    const { segments, segmentSizeBytes } = this.#options;
    const current = segments.live.at(-1);
    assert(current !== undefined, 'there is a segment to write to');
    const roomBytes = current.baseLsn + segmentSizeBytes - this.#endLsn;
    let totalBytes = 0;
    for (const { sizeBytes } of this.#carry) totalBytes += sizeBytes;
    const isOpen = urgent || segments.hasReserve;
    if (isOpen && totalBytes <= roomBytes) {
      return this.#placeIn(current, this.#endLsn, roomBytes, []);
    }
    const slot = segments.takeSpare(urgent);
    if (slot === undefined) {
      const next = this.#carry.find(({ sizeBytes }) => sizeBytes > 0);
      if (!isOpen || (next?.sizeBytes ?? 0) > roomBytes) return undefined;
      return this.#placeIn(current, this.#endLsn, roomBytes, []);
    }
    const segment = segments.addLive(current.number + 1, slot);
    segments.retryCreation();
    const header = encodeSegmentHeader(this.#options.storeId, {
      number: segment.number,
      previousEndLsn: this.#endLsn,
      life: this.#options.life,
    });
    const contentBytes = segmentSizeBytes - segmentHeaderBytes;
    return this.#placeIn(segment, segment.baseLsn + segmentHeaderBytes, contentBytes, [header]);
  }

  #placeIn(
    segment: Segment,
    startLsn: number,
    roomBytes: number,
    before: readonly Buffer[],
  ): Batch {
    let count = 0;
    let endLsn = startLsn;
    for (const { sizeBytes } of this.#carry) {
      if (endLsn + sizeBytes > startLsn + roomBytes) break;
      endLsn += sizeBytes;
      count += 1;
    }
    assert(count > 0, 'an entry fits into a segment');
    const taken = count === this.#carry.length ? this.#carry : this.#carry.slice(0, count);
    this.#carry = count === this.#carry.length ? [] : this.#carry.slice(count);
    const buffers = [...before];
    const placed = this.#encode(taken, startLsn, buffers);
    const firstLsn = before.length > 0 ? segment.baseLsn : startLsn;
    return { segment, placed, buffers, startLsn: firstLsn, endLsn };
  }

  /** Adds the entries' bytes to `buffers`. Headers and cuts are built in one reused buffer. */
  #encode(taken: readonly Taken[], startLsn: number, buffers: Buffer[]): Placed[] {
    const needed = taken.length * (entryHeaderBytes + cutBodyBytes);
    if (this.#scratch.length < needed) this.#scratch = Buffer.allocUnsafeSlow(needed * 2);
    const { groups, seed, life } = this.#options;
    const syncedLsn = this.#endLsn;
    let lsn = startLsn;
    let used = 0;
    return taken.map(({ appender, entry, sizeBytes }) => {
      if (sizeBytes === 0) return { appender, entry, sizeBytes, lsn, restart: false };
      const restart = groups.append(entry, lsn);
      const isFrame = entry.kind === 'frame';
      const bodyBytes = isFrame ? entry.frame.sizeBytes : cutBodyBytes;
      const header = this.#scratch.subarray(used, used + entryHeaderBytes);
      used += entryHeaderBytes;
      buffers.push(header);
      let bodyCrc = 0;
      if (entry.kind === 'frame') {
        for (const slice of entry.frame.bytes) buffers.push(slice);
      } else {
        const body = this.#scratch.subarray(used, used + cutBodyBytes);
        used += cutBodyBytes;
        encodeCutBody(body, { groupId: entry.groupId, to: entry.to, restart });
        bodyCrc = crc32c(body, seed);
        buffers.push(body);
      }
      const kind = isFrame ? entryKind.frame : entryKind.cut;
      encodeEntryHeader(header, { kind, lsn, syncedLsn, life, bodyBytes, bodyCrc }, seed);
      const paddingBytes = sizeBytes - entryHeaderBytes - bodyBytes;
      // Whole pages: a page written in part would have to be read from the disk first.
      if (paddingBytes > 0) buffers.push(padding.subarray(0, paddingBytes));
      const placed = { appender, entry, sizeBytes, lsn, restart };
      lsn += sizeBytes;
      return placed;
    });
  }

  async #write(batch: Batch): Promise<void> {
    const { nowMs, segmentSizeBytes, onFailure } = this.#options;
    // Frames were handed to the link while they were taken: it sends them before the disk is asked.
    await null;
    const startedMs = nowMs();
    try {
      const offset = batch.startLsn % segmentSizeBytes;
      await batch.segment.slot.file.write(batch.buffers, offset, 'append-log');
    } catch (cause) {
      this.#state = 'closed';
      const words = cause instanceof Error ? cause.message : String(cause);
      onFailure(
        new LogError('ERR_LOG_WRITE_FAILED', `writing the log failed: ${words}`, {
          cause,
          hint: 'the site serves nothing until it is started again; look at the disk first',
        }),
      );
      return;
    }
    this.#writing = undefined;
    this.#onDurable(batch, nowMs() - startedMs);
  }

  #onDurable(batch: Batch, tookMs: number): void {
    const { segments, groups, counters } = this.#options;
    // Another write of the log failed meanwhile: nothing is reported durable any more (I8).
    if (this.#state === 'closed') return;
    assert(this.#state === 'writing', 'one write is under way');
    this.#endLsn = batch.endLsn;
    let frames = 0;
    for (const { entry, restart, sizeBytes } of batch.placed) {
      if (sizeBytes === 0) continue;
      groups.durable(entry, restart, segments.live);
      counters.entry(entry);
      if (entry.kind === 'frame') frames += 1;
    }
    counters.commit({ frames, bytes: batch.endLsn - batch.startLsn, tookMs });
    reportDurable(batch.placed);
    if (this.isClosed()) return;
    if (this.#carry.length > 0 || this.#scheduled.size > 0) this.#arm();
    else this.#state = 'idle';
  }

  /** By a callback, it may have been. */
  isClosed(): boolean {
    return this.#state === 'closed';
  }
}

/** What has to go into the log for urgent entries to be in it, in order, and what can wait. */
function urgentFirst(carry: readonly Taken[]): { first: Taken[]; rest: Taken[] } {
  const lastUrgent = new Map<GroupId, number>();
  carry.forEach(({ entry }, index) => {
    if (isUrgent(entry)) lastUrgent.set(groupOf(entry), index);
  });
  const first: Taken[] = [];
  const rest: Taken[] = [];
  carry.forEach((taken, index) => {
    const isBefore = index <= (lastUrgent.get(groupOf(taken.entry)) ?? -1);
    (isBefore ? first : rest).push(taken);
  });
  return { first, rest };
}

/** What is taken, not written, and lies beyond a cut: nobody has seen it, and nobody ever will. */
function unlessVoid(taken: Taken, cut: Extract<LogEntry, { kind: 'cut' }>): Taken {
  const { entry } = taken;
  const reach = entry.kind === 'frame' ? entry.frame.firstSequence : entry.to.sequence;
  const isVoid = groupOf(entry) === cut.groupId && reach > cut.to.sequence;
  return isVoid ? { ...taken, sizeBytes: 0 } : taken;
}

function groupOf(entry: LogEntry): GroupId {
  return entry.kind === 'frame' ? entry.frame.groupId : entry.groupId;
}

function isUrgent(entry: LogEntry): boolean {
  return entry.kind === 'cut' || entry.urgent === true;
}

function sizeOf(entry: LogEntry): { sizeBytes: number } {
  return {
    sizeBytes: entrySizeBytes(entry.kind === 'frame' ? entry.frame.sizeBytes : cutBodyBytes),
  };
}

/** Tells each appender what of its entries was in the batch, in the log's order. */
function reportDurable(placed: readonly Placed[]): void {
  let start = 0;
  while (start < placed.length) {
    const appender = placed[start]?.appender;
    let end = start + 1;
    while (end < placed.length && placed[end]?.appender === appender) end += 1;
    const entries = placed.slice(start, end).map(({ entry }) => entry);
    appender?.entriesDurable(entries);
    start = end;
  }
}
