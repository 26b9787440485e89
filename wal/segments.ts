/**
 * The segment files of a log: which slot holds which segment, and that a slot is ready when the
 * log needs the next one.
 *
 *   empty (zeros) --take--> live --release--> wiping --> blank --take--> live ...
 *
 * Slots are written with zeros once, when they are made, then recycled in place, so that a durable
 * append never makes the file system commit its journal. Segments are released oldest first only,
 * and a released slot's header is made blank, durably, before the slot is given out again: so what
 * recovery finds is always one unbroken range of segments, and a slot half overwritten by its next
 * use can't be taken for damage in the segment it held before.
 *
 * This file decides nothing about what may be released: that is `retention.ts`.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Disk, DiskFile } from './disk.ts';
import { encodeBlankHeader } from './entry-format.ts';
import type { GroupId, StoreId } from './frame.ts';

export interface Slot {
  readonly name: string;
  readonly file: DiskFile;
}

/** A slot that holds a part of the log. */
export interface Segment {
  readonly number: number;
  readonly baseLsn: number;
  readonly slot: Slot;
  /** Each group with frames here, and the last of their sequences that was not cut off since. */
  readonly lastSequences: Map<GroupId, number>;
}

export interface SegmentsOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly storeId: StoreId;
  readonly segmentSizeBytes: number;
  readonly slotsMax: number;
  /** A slot has become ready, or it is known that none will. */
  readonly onChange: () => void;
  /** Writing to a slot of the log failed: final (I8). */
  readonly onFailure: (cause: unknown) => void;
}

const zeroChunk = Buffer.alloc(1024 * 1024);
/** Zeros are synced this often, so that a new slot doesn't fill the page cache's dirty quota. */
const bytesPerSync = 8 * 1024 * 1024;
/**
 * With so many slots the last one is a reserve for what lets groups go on (I9). Otherwise one that
 * waits for its peer could hold the oldest part of the log while others fill the rest, and the cut
 * or the epoch start that ends its waiting would have no place.
 */
const slotsWithReserve = 3;
const slotPattern = /^segment-(\d{6})$/;
const unfinishedSuffix = '.new';

export class Segments {
  readonly #options: SegmentsOptions;
  readonly #live: Segment[] = [];
  readonly #spares: Slot[] = [];
  readonly #released: { readonly slot: Slot; readonly number: number }[] = [];
  /** All that are open, in whatever use. */
  readonly #open = new Set<Slot>();
  #slotCount = 0;
  #nextSlotName = 1;
  #preparing: Promise<void> | undefined;
  #closed = false;
  /** Why the last attempt to make a slot failed; undefined when it succeeded. */
  creationProblem: string | undefined;

  constructor(options: SegmentsOptions) {
    this.#options = options;
  }

  /** Opens the slots that are there, in order of their names, and removes unfinished ones. */
  async openSlots(): Promise<Slot[]> {
    const { disk, directory } = this.#options;
    const slots: Slot[] = [];
    for (const name of await disk.list(directory)) {
      const match = slotPattern.exec(name);
      if (match === null) {
        const unfinished = name.endsWith(unfinishedSuffix) && name.startsWith('segment-');
        if (unfinished) await disk.remove(join(directory, name));
        continue;
      }
      slots.push(await this.#openSlot(name));
      this.#nextSlotName = Math.max(this.#nextSlotName, Number(match[1]) + 1);
    }
    this.#slotCount = slots.length;
    return slots;
  }

  /** Puts a slot to use as the segment after the last one. */
  addLive(number: number, slot: Slot): Segment {
    const last = this.#live.at(-1);
    assert(last === undefined || number > last.number, 'segments are used in order');
    const baseLsn = number * this.#options.segmentSizeBytes;
    const segment = { number, baseLsn, slot, lastSequences: new Map<GroupId, number>() };
    this.#live.push(segment);
    return segment;
  }

  /** Takes a slot that holds nothing as one that is ready; removes it if there are too many. */
  async addSpare(slot: Slot): Promise<void> {
    const { disk, directory, slotsMax } = this.#options;
    if (this.#slotCount <= slotsMax) {
      this.#spares.push(slot);
      return;
    }
    await this.closeSlot(slot);
    await disk.remove(join(directory, slot.name));
    this.#slotCount -= 1;
  }

  get segmentSizeBytes(): number {
    return this.#options.segmentSizeBytes;
  }

  /** Oldest first. */
  get live(): readonly Segment[] {
    return this.#live;
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  get spareCount(): number {
    return this.#spares.length;
  }

  /** The segment that holds `lsn`, if it is live. */
  segmentOf(lsn: number): Segment | undefined {
    const first = this.#live[0];
    if (first === undefined) return undefined;
    const number = Math.floor(lsn / this.#options.segmentSizeBytes);
    const guess = this.#live[number - first.number];
    if (guess?.number === number) return guess;
    return this.#live.find((segment) => segment.number === number);
  }

  /** A slot that is ready; the reserve only for what is urgent. */
  takeSpare(urgent: boolean): Slot | undefined {
    return urgent || this.#leavesReserve(1) ? this.#spares.shift() : undefined;
  }

  /** There is a place, however small, for what is not urgent. */
  get hasRoom(): boolean {
    return this.hasReserve || (this.#spares.length > 0 && this.#leavesReserve(1));
  }

  /** The slot that is written to is not the reserve. */
  get hasReserve(): boolean {
    return this.#leavesReserve(0);
  }

  #leavesReserve(taken: number): boolean {
    if (this.#slotCount < slotsWithReserve) return true;
    return this.#spares.length > taken || this.#preparing !== undefined || this.#canGrow;
  }

  /** True while a slot is being made ready, or could be. Otherwise only a release can help. */
  get spareIsComing(): boolean {
    const reserved = this.#slotCount < slotsWithReserve ? 0 : 1;
    return this.#spares.length > reserved || this.#preparing !== undefined || this.#canGrow;
  }

  get #canGrow(): boolean {
    return this.#slotCount < this.#options.slotsMax && this.creationProblem === undefined;
  }

  /** Nothing in the oldest segment is needed any more. The newest one is never released. */
  releaseOldest(): Segment {
    assert(this.#live.length > 1, 'the segment that is written to is not released');
    const segment = this.#live.shift();
    assert(segment !== undefined, 'there is an oldest segment');
    this.#released.push({ slot: segment.slot, number: segment.number });
    this.prepare();
    return segment;
  }

  /** Tries again to make slots, if that failed last time. */
  retryCreation(): void {
    this.creationProblem = undefined;
    this.prepare();
  }

  /** Sees to it, in the background, that a spare slot is ready or on its way. */
  prepare(): void {
    if (this.#preparing !== undefined || this.#closed) return;
    if (this.#released.length === 0 && (this.#spares.length > 0 || !this.#canGrow)) return;
    this.#preparing = this.#prepareOne().finally(() => {
      this.#preparing = undefined;
      if (this.#closed) return;
      this.prepare();
      this.#options.onChange();
    });
  }

  async #prepareOne(): Promise<void> {
    const released = this.#released[0];
    if (released !== undefined) {
      try {
        await this.wipe(released.slot, released.number);
        this.#released.shift();
        await this.addSpare(released.slot);
      } catch (error) {
        this.#closed = true;
        this.#options.onFailure(error);
        return;
      }
      return;
    }
    try {
      this.#spares.push(await this.createSlot());
    } catch (error) {
      // A slot that can't be made is no failure of the log: it goes on with those it has.
      this.creationProblem = error instanceof Error ? error.message : String(error);
    }
  }

  /** Makes a slot's header blank, durably. */
  async wipe(slot: Slot, number: number): Promise<void> {
    await slot.file.write([encodeBlankHeader(this.#options.storeId, number)], 0, 'append-log');
  }

  /** Makes a new slot, full of zeros, durably. Rejects with what the disk said. */
  async createSlot(): Promise<Slot> {
    const { disk, directory } = this.#options;
    const name = `segment-${String(this.#nextSlotName).padStart(6, '0')}`;
    const unfinished = join(directory, name + unfinishedSuffix);
    const file = await disk.open(unfinished, { create: true, durableWrites: false });
    let made = false;
    try {
      await this.#fillWithZeros(file);
      made = true;
    } finally {
      await file.close();
      if (!made) await disk.remove(unfinished);
    }
    await disk.rename(unfinished, join(directory, name));
    await disk.syncDirectory(directory);
    this.#nextSlotName += 1;
    this.#slotCount += 1;
    return this.#openSlot(name);
  }

  async #fillWithZeros(file: DiskFile): Promise<void> {
    const { segmentSizeBytes } = this.#options;
    for (let position = 0; position < segmentSizeBytes; position += zeroChunk.length) {
      const lengthBytes = Math.min(zeroChunk.length, segmentSizeBytes - position);
      await file.write([zeroChunk.subarray(0, lengthBytes)], position, 'create-segment');
      if ((position + lengthBytes) % bytesPerSync === 0) await file.sync('create-segment');
    }
    await file.sync('create-segment');
  }

  async #openSlot(name: string): Promise<Slot> {
    const path = join(this.#options.directory, name);
    const file = await this.#options.disk.open(path, { create: false, durableWrites: true });
    const slot = { name, file };
    this.#open.add(slot);
    return slot;
  }

  /** The slot is left alone from now on. */
  async closeSlot(slot: Slot): Promise<void> {
    this.#open.delete(slot);
    await slot.file.close();
  }

  /** Waits for what is under way, then closes the files. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#preparing;
    for (const slot of this.#open) await this.closeSlot(slot);
  }
}
