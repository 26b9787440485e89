/**
 * Committed records of one volume that its data file may lack, in order: what reads are patched
 * with. The list owns the records from commit until they are applied and no read that began
 * before that is still under way (such a read may have seen the file from before).
 *
 * Life of a record: waiting -> started (its blocks are being rewritten, so their content and
 * checksum may disagree) -> applied -> removed, from the front of the list only, so that an older
 * record never outlives a newer one and patches over it.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes } from './checksum.ts';
import type { FileExtent } from './disk.ts';
import { isWrittenZeroes, type LogRecord, recordKind, recordWeightBytes } from './frame.ts';

/** The volume is cut into chunks of 64 KiB, counted in slots by their low bits. */
const chunkShift = 65536;
const slotCount = 16384;
/** Records that touch more chunks than this are counted apart; every read looks for them. */
const countedChunksMax = 512;

export interface PendingRecord {
  readonly record: LogRecord;
  readonly sequence: number;
  readonly offsetBytes: number;
  readonly endBytes: number;
  /** Nobody else looks at its payload: it may be given back when the record is removed. */
  readonly givenBack: boolean;
  state: 'waiting' | 'started' | 'applied';
  /** The number of the last read that had begun when the record was applied. */
  appliedAfterRead: number;
}

export class PendingRecords {
  readonly #giveBack: (record: LogRecord) => void;
  readonly #readLetGo: () => void;
  /** A queue with its head at `#head`, nothing before it; compacted now and then. */
  #list: (PendingRecord | undefined)[] = [];
  #head = 0;
  #firstWaiting = 0;
  readonly #slots = new Uint32Array(slotCount);
  #wide = 0;
  #lastRead = 0;
  /** Numbers of the reads under way, the oldest first. */
  readonly #reads = new Set<number>();
  #bytes = 0;
  /**
   * Records up to this sequence may have been applied before a crash, wholly, partly or not at all:
   * those that the log held when it was recovered, committed then or not known to be.
   *
   * A block that such a record touches may hold any mixture of what it was at the checkpoint and of
   * what later records made of it, and so may its checksum: neither is checked until the record is
   * applied (again). That loses nothing: when all records from the checkpoint to the end of the log
   * have been applied again, every byte in which those mixtures differ has been written again, the
   * last writer last; every other byte of the block is as it was at the checkpoint in all of them;
   * and the checksum has been computed from the whole. A record that was never committed was never
   * applied either (I3), so one that is cut off the log leaves nothing behind.
   */
  replayedThrough = 0;
  /** Checksums that blocks will have which are being changed in part, until they are kept. */
  readonly comingChecksums = new Map<number, number>();

  /**
   * `giveBack` is called with records that are removed, if they were added so; `readLetGo` when the
   * end of a read has removed any: `applied` says nothing, for its caller knows.
   */
  constructor(giveBack: (record: LogRecord) => void, readLetGo: () => void) {
    this.#giveBack = giveBack;
    this.#readLetGo = readLetGo;
  }

  /** What the records in the list count for in the limits. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#head === this.#list.length;
  }

  /** All frames up to this sequence are wholly applied. */
  get appliedThrough(): number {
    for (let index = this.#head; index < this.#list.length; index += 1) {
      const pending = this.#list[index];
      if (pending !== undefined && pending.state !== 'applied') return pending.sequence - 1;
    }
    return Number.POSITIVE_INFINITY;
  }

  add(record: LogRecord, sequence: number, givenBack: boolean): void {
    const endBytes = record.offsetBytes + record.lengthBytes;
    const { offsetBytes } = record;
    const pending: PendingRecord = {
      record,
      sequence,
      offsetBytes,
      endBytes,
      givenBack,
      state: 'waiting',
      appliedAfterRead: 0,
    };
    this.#list.push(pending);
    this.#count(pending, 1);
  }

  /** The next record that nobody has taken to apply it, `ahead` places on; undefined: none. */
  waiting(ahead: number): PendingRecord | undefined {
    return this.#list[this.#firstWaiting + ahead];
  }

  /** The first `count` waiting records are being applied from now on. */
  start(count: number): PendingRecord[] {
    const started: PendingRecord[] = [];
    for (let ahead = 0; ahead < count; ahead += 1) {
      const pending = this.waiting(ahead);
      assert(pending !== undefined, 'only waiting records are started');
      pending.state = 'started';
      started.push(pending);
    }
    this.#firstWaiting += count;
    return started;
  }

  /** These records are in the file, with their checksums. */
  applied(records: readonly PendingRecord[]): void {
    for (const pending of records) {
      pending.state = 'applied';
      pending.appliedAfterRead = this.#lastRead;
    }
    this.#removeApplied();
  }

  /** The blocks of this record, not applied in this life, may disagree with their checksums. */
  mayBeHalfApplied(pending: PendingRecord): boolean {
    return pending.sequence <= this.replayedThrough;
  }

  /** A read begins that will not be done at once; `endRead` with its number must follow. */
  beginRead(): number {
    this.#lastRead += 1;
    this.#reads.add(this.#lastRead);
    return this.#lastRead;
  }

  endRead(number: number): void {
    this.#reads.delete(number);
    const bytesBefore = this.#bytes;
    this.#removeApplied();
    if (this.#bytes < bytesBefore) this.#readLetGo();
  }

  /** Quick: false if no pending record touches the range; true if one may. */
  mayOverlap(offsetBytes: number, endBytes: number): boolean {
    if (this.#head === this.#list.length) return false;
    if (this.#wide > 0) return true;
    const last = Math.floor((endBytes - 1) / chunkShift);
    for (let chunk = Math.floor(offsetBytes / chunkShift); chunk <= last; chunk += 1) {
      if (this.#slots[chunk % slotCount] !== 0) return true;
    }
    return false;
  }

  /** The pending records that touch the range, the oldest first. */
  overlapping(offsetBytes: number, endBytes: number): PendingRecord[] {
    const found: PendingRecord[] = [];
    if (!this.mayOverlap(offsetBytes, endBytes)) return found;
    for (let index = this.#head; index < this.#list.length; index += 1) {
      const pending = this.#list[index];
      if (pending === undefined) break;
      if (pending.offsetBytes < endBytes && offsetBytes < pending.endBytes) found.push(pending);
    }
    return found;
  }

  #removeApplied(): void {
    const oldestRead = this.#oldestRead();
    while (this.#head < this.#firstWaiting) {
      const pending = this.#list[this.#head];
      if (pending === undefined || pending.state !== 'applied') break;
      if (pending.appliedAfterRead >= oldestRead) break;
      this.#count(pending, -1);
      this.#list[this.#head] = undefined;
      this.#head += 1;
      if (pending.givenBack) this.#giveBack(pending.record);
    }
    if (this.#head < 1024 && this.#head < this.#list.length) return;
    if (this.#head * 2 < this.#list.length) return;
    this.#list = this.#list.slice(this.#head);
    this.#firstWaiting -= this.#head;
    this.#head = 0;
  }

  #oldestRead(): number {
    for (const number of this.#reads) return number;
    return Number.POSITIVE_INFINITY;
  }

  #count(pending: PendingRecord, change: 1 | -1): void {
    this.#bytes += change * recordWeightBytes(pending.record);
    const first = Math.floor(pending.offsetBytes / chunkShift);
    const last = Math.floor((pending.endBytes - 1) / chunkShift);
    if (last - first >= countedChunksMax) {
      this.#wide += change;
      return;
    }
    for (let chunk = first; chunk <= last; chunk += 1) {
      const slot = chunk % slotCount;
      this.#slots[slot] = (this.#slots[slot] ?? 0) + change;
    }
  }
}

/** Copies what a record says into a buffer that stands for a range of the volume. */
export function patch(target: Buffer, targetOffsetBytes: number, pending: PendingRecord): void {
  const { record } = pending;
  const from = Math.max(targetOffsetBytes, pending.offsetBytes);
  const to = Math.min(targetOffsetBytes + target.length, pending.endBytes);
  if (from >= to) return;
  if (record.kind !== recordKind.write) {
    target.fill(0, from - targetOffsetBytes, to - targetOffsetBytes);
    return;
  }
  let sliceStart = pending.offsetBytes;
  for (const slice of record.payload) {
    const sliceEnd = sliceStart + slice.length;
    if (sliceEnd > from) {
      const start = Math.max(from, sliceStart);
      slice.copy(target, start - targetOffsetBytes, start - sliceStart, to - sliceStart);
    }
    sliceStart = sliceEnd;
    if (sliceStart >= to) return;
  }
}

/** The allocation of a range as it will be when these records, in order, are applied. */
export function patchExtents(
  extents: readonly FileExtent[],
  records: readonly PendingRecord[],
): FileExtent[] {
  let result = [...extents];
  for (const pending of records) {
    const { record } = pending;
    const allocated = record.kind === recordKind.write || isWrittenZeroes(record);
    result = result.flatMap((extent) => recut(extent, pending, allocated));
  }
  return mergeExtents(result);
}

function recut(extent: FileExtent, pending: PendingRecord, allocated: boolean): FileExtent[] {
  const end = extent.offsetBytes + extent.lengthBytes;
  // Space is taken by whole blocks, and only whole blocks are freed.
  const outward = allocated ? Math.floor : Math.ceil;
  const inward = allocated ? Math.ceil : Math.floor;
  const from = Math.max(
    extent.offsetBytes,
    outward(pending.offsetBytes / blockSizeBytes) * blockSizeBytes,
  );
  const to = Math.min(end, inward(pending.endBytes / blockSizeBytes) * blockSizeBytes);
  if (from >= to) return [extent];
  const parts = [
    { ...extent, lengthBytes: from - extent.offsetBytes },
    { offsetBytes: from, lengthBytes: to - from, allocated },
    { ...extent, offsetBytes: to, lengthBytes: end - to },
  ];
  return parts.filter((part) => part.lengthBytes > 0);
}

function mergeExtents(extents: readonly FileExtent[]): FileExtent[] {
  const merged: FileExtent[] = [];
  for (const extent of extents) {
    const last = merged.at(-1);
    if (last !== undefined && last.allocated === extent.allocated) {
      const lengthBytes = last.lengthBytes + extent.lengthBytes;
      merged[merged.length - 1] = { ...last, lengthBytes };
    } else merged.push(extent);
  }
  return merged;
}
