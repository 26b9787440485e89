/**
 * For the tests of the log: small groups that append to it, and a log on a simulated disk. A test
 * group keeps everything it ever appended, so that what is read back can be compared.
 */
import { checksumPieces } from '../../wal/checksum.ts';
import type { Disk } from '../../wal/disk.ts';
import type { Frame, GroupId, HistoryPoint, LogRecord, RecordKind } from '../../wal/frame.ts';
import { emptyHistoryDigest, recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import {
  type Appender,
  Log,
  type LogEntry,
  type LogMarks,
  type LogOptions,
} from '../../wal/log.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

export const storeId = '5c'.repeat(16);
export const directory = '/log';
export const start: HistoryPoint = { sequence: 0, digest: emptyHistoryDigest };

/** A simulated disk that runs by itself. */
export function simulatedDisk(seed = 1): SimulatedDisk {
  return new SimulatedDisk({ random: new SeededRandom(seed), runsByItself: true });
}

/** Opens a small log: segments of 64 KiB, at most eight. */
export function openLog(
  disk: Disk,
  options: Partial<LogOptions> = {},
): ReturnType<typeof Log.open> {
  return Log.open({
    disk,
    directory,
    storeId,
    segmentSizeBytes: 64 * 1024,
    sizeBytesMax: 512 * 1024,
    commitBytesMax: 48 * 1024,
    marks: new Map(),
    nowMs: () => performance.now(),
    ...options,
  });
}

export function groupIdOf(number: number): GroupId {
  return number.toString(16).padStart(32, '0');
}

/** A record whose payload is `lengthBytes` bytes that depend on `seed`. */
export function recordOf(
  lengthBytes: number,
  seed: number,
  kind: RecordKind = recordKind.write,
): LogRecord {
  const payload = [Buffer.alloc(lengthBytes)];
  payload[0]?.fill(`${seed}.`);
  return {
    kind,
    volume: 1,
    offsetBytes: 0,
    lengthBytes,
    origin: { boot: 7n, number: seed },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, 0, lengthBytes),
  };
}

export class TestGroup implements Appender {
  readonly groupId: GroupId;
  readonly #log: Log;
  /** Where the next frame goes. */
  end: HistoryPoint;
  epoch = 1;
  /** Told to be durable, in order. */
  readonly durable: LogEntry[] = [];
  /** How many entries each report had. */
  readonly reports: number[] = [];
  /** Every frame ever made, by the point after it. */
  readonly made = new Map<string, Frame>();
  /** Every cut that was asked for, in order. */
  readonly cuts: HistoryPoint[] = [];
  #queue: LogEntry[] = [];
  #seed: number;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(log: Log, number: number, end: HistoryPoint = start, seed = 0) {
    this.#log = log;
    this.groupId = groupIdOf(number);
    this.end = end;
    this.#seed = seed;
  }

  /** Appends a frame with a record for each length. */
  append(...lengthsBytes: number[]): Frame {
    return this.appendRecords(lengthsBytes.map((length) => recordOf(length, this.#nextSeed())));
  }

  #nextSeed(): number {
    this.#seed += 1;
    return this.#seed;
  }

  appendRecords(records: readonly LogRecord[]): Frame {
    const frame = this.formFrame(records);
    this.enqueue({ kind: 'frame', frame });
    return frame;
  }

  /** The frame that comes next, not appended yet. */
  formFrame(records: readonly LogRecord[]): Frame {
    const frame = encodeFrame({
      groupId: this.groupId,
      epoch: this.epoch,
      epochId: this.epoch.toString(16).padStart(32, 'e'),
      firstSequence: this.end.sequence + 1,
      commit: this.end.sequence,
      timeMs: 1_000_000 + this.end.sequence,
      digestBefore: this.end.digest,
      records,
    });
    this.end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    this.made.set(frame.digestAfter, frame);
    return frame;
  }

  get urgent(): boolean {
    return this.#queue.some((entry) => entry.kind === 'cut');
  }

  cut(to: HistoryPoint): void {
    this.end = to;
    this.cuts.push(to);
    this.enqueue({ kind: 'cut', groupId: this.groupId, to });
  }

  enqueue(entry: LogEntry): void {
    this.#queue.push(entry);
    this.#log.schedule(this);
  }

  takeEntries(budgetBytes: number): readonly LogEntry[] {
    const taken: LogEntry[] = [];
    let bytes = 0;
    for (const entry of this.#queue) {
      const sizeBytes = entry.kind === 'frame' ? entry.frame.sizeBytes : 0;
      if (taken.length > 0 && bytes + sizeBytes > budgetBytes) break;
      taken.push(entry);
      bytes += sizeBytes;
    }
    this.#queue = this.#queue.slice(taken.length);
    return taken;
  }

  entriesDurable(entries: readonly LogEntry[]): void {
    this.reports.push(entries.length);
    this.durable.push(...entries);
    const due = this.#waiting.filter(({ count }) => count <= this.durable.length);
    this.#waiting = this.#waiting.filter(({ count }) => count > this.durable.length);
    for (const { resolve } of due) resolve();
  }

  /** Resolves when so many entries are durable; without a count, all that were appended. */
  whenDurable(count = this.durable.length + this.#queue.length): Promise<void> {
    if (this.durable.length >= count) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve });
    });
  }

  /** Entries that the log has not taken yet. */
  get queued(): number {
    return this.#queue.length;
  }

  /** How many of the cuts are durable. */
  get cutsDurable(): number {
    return this.durable.filter((entry) => entry.kind === 'cut').length;
  }

  /** The newest point that was told to be durable. */
  get durablePoint(): HistoryPoint {
    const last = this.durable.at(-1);
    if (last === undefined) return start;
    if (last.kind === 'cut') return last.to;
    return { sequence: last.frame.lastSequence, digest: last.frame.digestAfter };
  }
}

export function marksOf(
  entries: Iterable<readonly [GroupId, HistoryPoint, number?]>,
): Map<GroupId, LogMarks> {
  const marks = new Map<GroupId, LogMarks>();
  for (const [groupId, checkpoint, acknowledgedMark] of entries) {
    marks.set(groupId, { checkpoint, acknowledgedMark: acknowledgedMark ?? 0 });
  }
  return marks;
}

/** All frames of a group that can be read after `afterSequence`, by as many reads as it takes. */
export async function readAll(log: Log, groupId: GroupId, afterSequence: number): Promise<Frame[]> {
  const frames: Frame[] = [];
  let position = afterSequence;
  for (;;) {
    const more = await log.readFrames(groupId, position, 20_000);
    if (more.length === 0) return frames;
    frames.push(...more);
    position = more.at(-1)?.lastSequence ?? position;
  }
}

export function bytesOf(frame: Frame): Buffer {
  return Buffer.concat(frame.bytes);
}

/** Puts bytes into a file behind the log's back; without `durable`, into the page cache only. */
export async function overwrite(
  disk: Disk,
  path: string,
  offsetBytes: number,
  bytes: Buffer,
  durable = true,
): Promise<void> {
  const file = await disk.open(path, { create: false, durableWrites: durable });
  await file.write([bytes], offsetBytes, 'append-log');
  await file.close();
}

/** One turn of the event loop after the other until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns += 1) {
    if (turns > 100_000) throw new Error('the state that was waited for does not come');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
