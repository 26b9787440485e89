/**
 * One volume on this site: its data file (`<name>.data`, sparse), the checksums beside it
 * (`<name>.checksums`), and the committed records that are not in the file yet. It gets committed
 * records only (I3), shows them to reads at once, and applies them in the background.
 *
 * It owns the order of application and what an error means:
 *
 * - a full disk stalls the application, which is tried again until there is room; nothing is lost,
 *   the backlog grows and the layer above slows its clients down (I9);
 * - any other error of writing or syncing is final (I8): `onFailure` is told once, and nothing is
 *   applied or synced any more. The page cache can't be trusted after it;
 * - a block that can't be read or is not what was written is fetched from the other site (R34); if
 *   it can't be, that concerns the reads of this block only.
 *
 * The parts: `pending-records.ts` (what reads are patched with), `data-apply-plan.ts` (what can be
 * applied together), `data-writer.ts`, `data-reader.ts`, `block-healing.ts`,
 * `block-checksums.ts`.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { BlockChecksums, ChecksumFileError } from './block-checksums.ts';
import { BlockHealing, type FetchBlocks, type HealingReport } from './block-healing.ts';
import { blockSizeBytes } from './checksum.ts';
import { planWave, planWhole } from './data-apply-plan.ts';
import { BlockChecksumError, StoreClosedError } from './data-errors.ts';
import { DataReader } from './data-reader.ts';
import { DataWriter } from './data-writer.ts';
import type { Disk, DiskFile, FileExtent } from './disk.ts';
import { DiskError, isOutOfSpace, removeIfThere } from './disk-error.ts';
import { type LogRecord, recordKind } from './frame.ts';
import { PendingRecords, patchExtents } from './pending-records.ts';
import type { SparseSet } from './sparse-set.ts';
import { WriteBack } from './write-back.ts';

/** How long a full disk is left alone before the write is tried again. */
export const fullDiskRetryMs = 1000;
/** With so much pending no more is gathered: it fills a wave by itself. */
const gatheredBytesMax = 1024 * 1024;
/** A read that meets bad blocks is repeated after each time that they were found good or healed. */
const readAttemptsMax = 8;

export interface VolumeStoreOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly name: string;
  readonly sizeBytes: number;
  /** The volume begins empty: files of its name are of another one, or are written anew. */
  readonly isNew?: boolean;
  readonly checksumCacheBytesMax: number;
  /** Writes to the data file at once. */
  readonly applyConcurrency: number;
  readonly nowMs: () => number;
  /** `appliedThrough` has moved, or `backlogBytes` has fallen. */
  readonly onProgress: () => void;
  /** An error of applying or syncing, final (I8). Called once. */
  readonly onFailure: (error: Error) => void;
  /** The disk is full, application waits; undefined: it goes on. */
  readonly onStall: (error: Error | undefined) => void;
  readonly delay: (ms: number) => Promise<void>;
  /**
   * Resolves when what was committed meanwhile is to be applied; absent: at once. Reads see it
   * anyway. Gathering saves a trip through the thread pool for each record and merges what lies
   * side by side; stores that share it share the call that writes, too.
   */
  readonly gathered?: () => Promise<void>;
  /** The payload of a record that was committed as `givenBack` is not looked at any more. */
  readonly giveBack?: (record: LogRecord) => void;
  /** This block will be written anew as a whole: its content is nobody's concern until then. */
  readonly isUnsettled?: (block: number) => boolean;
  /** Where bad blocks are healed from; absent: nowhere. */
  readonly fetchBlocks?: FetchBlocks;
  readonly onHealing?: (report: HealingReport) => void;
}

/** Something that must not happen while a wave is being applied. */
interface BetweenWaves {
  readonly run: () => Promise<void>;
  readonly reject: (error: Error) => void;
}

export class VolumeStore {
  readonly #options: VolumeStoreOptions;
  readonly #file: DiskFile;
  readonly #checksums: BlockChecksums;
  readonly #pending: PendingRecords;
  readonly #writer: DataWriter;
  readonly #reader: DataReader;
  readonly #healing: BlockHealing;
  readonly #between: BetweenWaves[] = [];
  readonly #writeBack: WriteBack;
  #sizeBytes: number;
  #applying: Promise<void> | undefined;
  #lastSync: Promise<void> = Promise.resolve();
  #stalledCalls = 0;
  /** Calls that use the files, apart from application and sync; `close` waits for them. */
  readonly #calls = new Set<Promise<unknown>>();
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: VolumeStoreOptions, file: DiskFile, checksums: BlockChecksums) {
    this.#options = options;
    this.#file = file;
    this.#checksums = checksums;
    this.#pending = new PendingRecords(options.giveBack ?? (() => undefined), options.onProgress);
    this.#sizeBytes = options.sizeBytes;
    const retryWhenFull = <T>(call: () => Promise<T>): Promise<T> => this.#retryWhenFull(call);
    const parts = { file, checksums, pending: this.#pending, retryWhenFull };
    this.#healing = new BlockHealing({
      ...parts,
      fetch: (offsetBytes, lengthBytes) => this.#fetchBlocks(offsetBytes, lengthBytes),
      betweenWaves: (task) => this.#betweenWaves(task),
      delay: options.delay,
      told: (report) => options.onHealing?.(report),
      failed: (error) => this.#fail(error),
    });
    this.#writer = new DataWriter({
      ...parts,
      concurrency: options.applyConcurrency,
      mend: (bad) => this.#healing.mend(bad),
      isUnsettled: (block) => options.isUnsettled?.(block) === true,
    });
    this.#reader = new DataReader(parts);
    this.#writeBack = new WriteBack(file);
  }

  /**
   * Opens the volume's files, makes those that are missing and grows them to `sizeBytes`. Their
   * names are durable when this resolves. Throws DiskError, or ChecksumFileError when there is data
   * without its checksums.
   */
  static async open(options: VolumeStoreOptions): Promise<VolumeStore> {
    const { disk, directory, name, sizeBytes, checksumCacheBytesMax: cacheBytesMax } = options;
    const dataPath = path.join(directory, dataName(name));
    const checksumPath = path.join(directory, checksumName(name));
    const present = await disk.list(directory);
    await disk.makeDirectory(directory);
    await disk.syncDirectory(path.dirname(directory));
    if (options.isNew === true) {
      if (present.includes(dataName(name))) await emptyFile(disk, dataPath);
      if (present.includes(checksumName(name))) await emptyFile(disk, checksumPath);
    }
    const file = await disk.open(dataPath, { create: true, durableWrites: false });
    let checksums: BlockChecksums | undefined;
    try {
      if (!present.includes(checksumName(name)) && (await file.allocatedBytes()) > 0) {
        throw new ChecksumFileError(checksumPath, 'it is missing although there is data');
      }
      const fileSizeBytes = Math.ceil(sizeBytes / blockSizeBytes) * blockSizeBytes;
      if ((await file.sizeBytes()) < fileSizeBytes) await file.resize(fileSizeBytes);
      const sizes = { volumeBytes: sizeBytes, cacheBytesMax };
      checksums = await BlockChecksums.open(disk, checksumPath, sizes);
      await disk.syncDirectory(directory);
      return new VolumeStore(options, file, checksums);
    } catch (error) {
      await checksums?.close();
      await file.close();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Everything with a frame sequence up to this is in the data file; Infinity: nothing pends. */
  get appliedThrough(): number {
    return this.#pending.appliedThrough;
  }

  /** What the records that are kept in memory count for: their bytes to write, and themselves. */
  get backlogBytes(): number {
    return this.#pending.bytes;
  }

  /**
   * Takes committed records of this volume (write, writeZeroes, trim), in order; `sequence` is the
   * last one of their frame. They are visible to reads from now on. `givenBack`: nobody else looks
   * at their payloads any more.
   */
  commit(records: readonly LogRecord[], sequence: number, givenBack = false): void {
    for (const record of records) {
      assert(record.kind <= recordKind.trim, 'only records that change data are applied');
      assert(record.offsetBytes + record.lengthBytes <= this.#sizeBytes, 'within the volume');
      if (record.lengthBytes > 0) this.#pending.add(record, sequence, givenBack);
    }
    if (this.#applying === undefined && this.#pending.waiting(0) !== undefined) {
      this.#applying = this.#applyAll();
    }
  }

  /**
   * Reads what needs no waiting, with all committed records. False: it would wait, or a block has
   * to be healed first (I7), and `target` is undefined.
   */
  readNow(target: Buffer, offsetBytes: number): boolean {
    assert(offsetBytes + target.length <= this.#sizeBytes, 'within the volume');
    if (this.#closing !== undefined) return false;
    return target.length === 0 || this.#reader.readNow(target, offsetBytes);
  }

  /**
   * Reads, with all records committed until it resolves; heals bad blocks on the way (R34). Throws
   * BlockChecksumError, DiskError.
   */
  async read(target: Buffer, offsetBytes: number): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.readUnhealed(target, offsetBytes);
        return;
      } catch (error) {
        if (!(error instanceof BlockChecksumError || error instanceof DiskError)) throw error;
        if (attempt === readAttemptsMax) throw error;
        const isHealed = await this.#using(() => this.#healing.heal(offsetBytes, target.length));
        if (!isHealed) throw error;
      }
    }
  }

  /** Reads as `read`, but does not ask the other site: for what the other site asks. */
  async readUnhealed(target: Buffer, offsetBytes: number): Promise<void> {
    assert(offsetBytes + target.length <= this.#sizeBytes, 'within the volume');
    if (target.length > 0) await this.#using(() => this.#reader.read(target, offsetBytes));
  }

  /** Blocks that reads fail on, as far as they are known, and how many were healed. */
  get damage(): Pick<BlockHealing, 'badBlockCount' | 'badRanges' | 'healedBlocks'> {
    return this.#healing;
  }

  /** Tries again to heal the blocks that are known to be bad. */
  async healKnown(): Promise<void> {
    if (this.#healing.badBlockCount === 0 || !this.#mayGoOn()) return;
    await this.#using(() => this.#healing.healKnown());
  }

  /**
   * Puts whole blocks into the files beside the records (a resync), while nothing is applied: what
   * `find` gives is written before the next record is. Rejects with what `find` rejects with; an
   * error of writing is final (I8).
   */
  replaceBlocks(find: () => Promise<readonly LogRecord[]>): Promise<void> {
    return this.#using(() =>
      this.#betweenWaves(async () => {
        const plan = planWhole(await find());
        try {
          await this.#writer.apply(plan);
          this.#healing.overwritten(plan.bodies);
        } catch (error) {
          if (!(error instanceof StoreClosedError)) this.#fail(error);
          throw error;
        }
      }),
    );
  }

  /** Allocation of a range, as it will be when all committed records are applied. */
  extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]> {
    assert(offsetBytes + lengthBytes <= this.#sizeBytes, 'within the volume');
    return this.#using(() => this.#extents(offsetBytes, lengthBytes));
  }

  async #extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]> {
    const number = this.#pending.beginRead();
    try {
      const extents = await this.#file.extents(offsetBytes, lengthBytes);
      const records = this.#pending.overlapping(offsetBytes, offsetBytes + lengthBytes);
      return patchExtents(extents, records);
    } finally {
      this.#pending.endRead(number);
    }
  }

  /** Blocks that are said not to be zeros; after a crash there can be holes among them. */
  nonZeroBlocks(): Promise<SparseSet> {
    return this.#using(() => this.#checksums.nonZeroBlocks());
  }

  allocatedBytes(): Promise<number> {
    return this.#using(() => this.#file.allocatedBytes());
  }

  /** Grows the volume; its files first, so that what is shown can be written (R40). */
  async resize(sizeBytes: number): Promise<void> {
    assert(sizeBytes >= this.#sizeBytes, 'a volume does not shrink');
    const fileSizeBytes = Math.ceil(sizeBytes / blockSizeBytes) * blockSizeBytes;
    await this.#using(async () => {
      await this.#retryWhenFull(() => this.#file.resize(fileSizeBytes));
      await this.#retryWhenFull(() => this.#checksums.grow(sizeBytes));
      this.#sizeBytes = sizeBytes;
    });
  }

  /**
   * Makes durable what was applied before the call, data and checksums. Rejects when that failed
   * now or at any time before: after a failed sync no later one may claim success (I8).
   */
  sync(): Promise<void> {
    const sync = this.#lastSync.then(() => this.#syncOnce());
    this.#lastSync = sync.catch((error: unknown) => {
      if (!(error instanceof StoreClosedError)) this.#fail(error);
    });
    return sync;
  }

  /** Resolves when every committed record is applied. Rejects when that won't happen any more. */
  async idle(): Promise<void> {
    while (this.#pending.appliedThrough !== Number.POSITIVE_INFINITY) {
      if (this.#failure !== undefined) throw this.#failure;
      this.#assertOpen();
      await this.#applying;
    }
  }

  /**
   * On while the log is replayed after a start, when blocks may be half written already. When it is
   * switched off, `throughSequence` is the end that the log had at the start if that is beyond what
   * was replayed: records not known to be committed may have been applied as well before the crash
   * (`pending-records.ts`, `replayedThrough`).
   */
  setReplaying(on: boolean, throughSequence = 0): void {
    this.#pending.replayedThrough = on ? Number.POSITIVE_INFINITY : throughSequence;
  }

  /** Ends the application after the wave under way and closes the files. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes the volume and removes its files. */
  async remove(): Promise<void> {
    await this.close();
    const { disk, directory, name } = this.#options;
    await removeIfThere(disk, path.join(directory, dataName(name)));
    await removeIfThere(disk, path.join(directory, checksumName(name)));
    await disk.syncDirectory(directory);
  }

  async #applyAll(): Promise<void> {
    // What was committed in the same turn goes into one wave, and clients are answered first.
    await Promise.resolve();
    try {
      while (this.#hasWork() && this.#mayGoOn()) {
        for (let task = this.#between.shift(); task; task = this.#between.shift()) await task.run();
        if (this.#pending.waiting(0) === undefined || !this.#mayGoOn()) continue;
        await this.#gather();
        const plan = planWave(this.#pending);
        for (const { offsetBytes, endBytes } of plan.bodies) {
          this.#writeBack.note(offsetBytes, endBytes);
        }
        const started = this.#pending.start(plan.count);
        await this.#writer.apply(plan);
        this.#healing.overwritten(plan.bodies);
        this.#pending.applied(started);
        this.#options.onProgress();
      }
    } catch (error) {
      if (!(error instanceof StoreClosedError)) this.#fail(error);
    } finally {
      this.#applying = undefined;
      for (const { reject } of this.#between.splice(0)) reject(this.#ending());
    }
  }

  #hasWork(): boolean {
    return this.#pending.waiting(0) !== undefined || this.#between.length > 0;
  }

  /** Runs a task in a pause between waves of application. */
  #betweenWaves<T>(task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#mayGoOn()) {
        reject(this.#ending());
        return;
      }
      this.#between.push({ run: () => task().then(resolve, reject), reject });
      this.#applying ??= this.#applyAll();
    });
  }

  #ending(): Error {
    return this.#failure ?? new StoreClosedError(this.#file.path);
  }

  /** The other site's blocks; what lies beyond the end of the volume in the last one is zeros. */
  async #fetchBlocks(offsetBytes: number, lengthBytes: number): ReturnType<FetchBlocks> {
    const within = Math.min(lengthBytes, this.#sizeBytes - offsetBytes);
    const found = await this.#options.fetchBlocks?.(offsetBytes, within);
    if (found === undefined || found.data.length !== within) return undefined;
    if (within === lengthBytes) return found;
    return { ...found, data: Buffer.concat([found.data], lengthBytes) };
  }

  async #gather(): Promise<void> {
    const isReplaying = this.#pending.replayedThrough === Number.POSITIVE_INFINITY;
    if (isReplaying || this.backlogBytes >= gatheredBytesMax) return;
    await this.#options.gathered?.();
  }

  async #syncOnce(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#assertOpen();
    await this.#writeBack.run(() => this.#mayGoOn());
    await this.#retryWhenFull(() => this.#checksums.flush());
    const syncs = [this.#file.sync('sync-data'), this.#checksums.sync()];
    for (const result of await Promise.allSettled(syncs)) {
      if (result.status === 'rejected') throw result.reason;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #retryWhenFull<T>(call: () => Promise<T>): Promise<T> {
    let stalled = false;
    try {
      for (;;) {
        try {
          return await call();
        } catch (error) {
          if (!isOutOfSpace(error)) throw error;
          if (!stalled) this.#stall(error);
          stalled = true;
        }
        await this.#options.delay(fullDiskRetryMs);
        if (this.#failure !== undefined) throw this.#failure;
        this.#assertOpen();
      }
    } finally {
      if (stalled) this.#goOn();
    }
  }

  #stall(error: Error): void {
    this.#stalledCalls += 1;
    if (this.#stalledCalls === 1) this.#options.onStall(error);
  }

  #goOn(): void {
    this.#stalledCalls -= 1;
    if (this.#stalledCalls === 0 && this.#mayGoOn()) this.#options.onStall(undefined);
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#options.onFailure(this.#failure);
  }

  /** Runs a call that needs the files open until it ends. */
  async #using<T>(call: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    const running = call();
    this.#calls.add(running);
    try {
      return await running;
    } finally {
      this.#calls.delete(running);
    }
  }

  #mayGoOn(): boolean {
    return this.#failure === undefined && this.#closing === undefined;
  }

  async #close(): Promise<void> {
    // Let `close` set #closing first: everything under way looks at it.
    await Promise.resolve();
    await this.#applying;
    await this.#lastSync;
    await Promise.allSettled(this.#calls);
    await this.#checksums.close();
    await this.#file.close();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new StoreClosedError(this.#file.path);
  }
}

/** Makes a file one hole, by whole blocks. */
async function emptyFile(disk: Disk, filePath: string): Promise<void> {
  const file = await disk.open(filePath, { create: false, durableWrites: false });
  try {
    for (const extent of await file.extents(0, await file.sizeBytes())) {
      if (!extent.allocated) continue;
      const first = Math.floor(extent.offsetBytes / blockSizeBytes);
      const end = Math.ceil((extent.offsetBytes + extent.lengthBytes) / blockSizeBytes);
      await file.punchHole(first * blockSizeBytes, (end - first) * blockSizeBytes);
    }
  } finally {
    await file.close();
  }
}

function dataName(name: string): string {
  return `${name}.data`;
}

function checksumName(name: string): string {
  return `${name}.checksums`;
}
