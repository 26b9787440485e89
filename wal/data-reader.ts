/**
 * Reads a volume: its data file, checked block by block (I7), patched with the committed records
 * that the file may lack.
 *
 * A read that waits may see the file before, after or in the middle of the application of records
 * that goes on meanwhile. Three things make it right: a record that had not been applied when the
 * read began stays in the pending list until the read ends, so that it is patched in; of a block
 * that such a record touches either content or checksum may be older than the other, so it may have
 * the checksum that is kept, that it will have, or that it has once it is patched; and a block's
 * checksum is looked up in the same moment in which that is decided.
 */
import { promisify } from 'node:util';
import type { BlockChecksums } from './block-checksums.ts';
import { blockSizeBytes, crc32c } from './checksum.ts';
import { BlockChecksumError } from './data-errors.ts';
import type { DiskFile } from './disk.ts';
import { type PendingRecord, type PendingRecords, patch } from './pending-records.ts';

/** Reads that wait for the device, of one volume at once; more would only fill the thread pool. */
const waitingReadsMax = 16;
/** Larger ones are not done while everyone waits (0.3 ms). */
const readNowBytesMax = 1024 * 1024;
const checkedBytesAtOnce = 1024 * 1024;
const nextTurn = promisify(setImmediate);

export interface DataReaderOptions {
  readonly file: DiskFile;
  readonly checksums: BlockChecksums;
  readonly pending: PendingRecords;
  readonly retryWhenFull: <T>(call: () => Promise<T>) => Promise<T>;
}

export class DataReader {
  readonly #file: DiskFile;
  readonly #checksums: BlockChecksums;
  readonly #pending: PendingRecords;
  readonly #retryWhenFull: <T>(call: () => Promise<T>) => Promise<T>;
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(options: DataReaderOptions) {
    this.#file = options.file;
    this.#checksums = options.checksums;
    this.#pending = options.pending;
    this.#retryWhenFull = options.retryWhenFull;
  }

  /** See `VolumeStore.readNow`. */
  readNow(target: Buffer, offsetBytes: number): boolean {
    if (target.length > readNowBytesMax) return false;
    const endBytes = offsetBytes + target.length;
    const overlapping = this.#pending.overlapping(offsetBytes, endBytes);
    const covering = overlapping.findLastIndex(
      (pending) => pending.offsetBytes <= offsetBytes && endBytes <= pending.endBytes,
    );
    if (covering < 0) {
      if (!this.#readFileNow(target, offsetBytes)) return false;
    }
    for (let index = Math.max(covering, 0); index < overlapping.length; index += 1) {
      const pending = overlapping[index];
      if (pending !== undefined) patch(target, offsetBytes, pending);
    }
    return true;
  }

  /** See `VolumeStore.read`. */
  async read(target: Buffer, offsetBytes: number): Promise<void> {
    if (this.#running >= waitingReadsMax) {
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    } else {
      this.#running += 1;
    }
    const number = this.#pending.beginRead();
    try {
      const { content, startBytes } = aligned(target, offsetBytes);
      await this.#file.read(content, startBytes, 'read-data');
      await this.#checkSlowly(content, startBytes);
      if (content !== target) content.copy(target, 0, offsetBytes - startBytes);
      for (const pending of this.#pending.overlapping(offsetBytes, offsetBytes + target.length)) {
        patch(target, offsetBytes, pending);
      }
    } finally {
      this.#pending.endRead(number);
      const next = this.#queue.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #readFileNow(target: Buffer, offsetBytes: number): boolean {
    const { content, startBytes } = aligned(target, offsetBytes);
    const firstBlock = startBytes / blockSizeBytes;
    if (this.#checksums.get(firstBlock) < 0) return false;
    if (!this.#file.readCached(content, startBytes)) return false;
    const endBlock = firstBlock + content.length / blockSizeBytes;
    try {
      if (this.#check(content, firstBlock, firstBlock, endBlock) < endBlock) return false;
    } catch (error) {
      if (!(error instanceof BlockChecksumError)) throw error;
      return false;
    }
    if (content !== target) content.copy(target, 0, offsetBytes - startBytes);
    return true;
  }

  async #checkSlowly(content: Buffer, startBytes: number): Promise<void> {
    const firstBlock = startBytes / blockSizeBytes;
    const endBlock = firstBlock + content.length / blockSizeBytes;
    const blocksAtOnce = checkedBytesAtOnce / blockSizeBytes;
    for (let block = firstBlock; block < endBlock; ) {
      const limit = Math.min(endBlock, block + blocksAtOnce);
      block = this.#check(content, firstBlock, block, limit);
      if (block === endBlock) return;
      if (block === limit) {
        await nextTurn();
        continue;
      }
      const missing = block;
      await this.#retryWhenFull(() => this.#checksums.load(missing));
    }
  }

  /**
   * Checks blocks of `content`, which begins with block `firstBlock`, from `block` up to
   * `endBlock`. Gives the block whose checksum is not at hand, else `endBlock`.
   */
  #check(content: Buffer, firstBlock: number, block: number, endBlock: number): number {
    const touching = this.#pending
      .overlapping(block * blockSizeBytes, endBlock * blockSizeBytes)
      .filter((pending) => {
        return pending.state !== 'waiting' || this.#pending.mayBeHalfApplied(pending);
      });
    for (let at = block; at < endBlock; at += 1) {
      const expected = this.#checksums.get(at);
      if (expected < 0) return at;
      const start = (at - firstBlock) * blockSizeBytes;
      const whole = content.length === blockSizeBytes;
      const bytes = whole ? content : content.subarray(start, start + blockSizeBytes);
      if (crc32c(bytes) === expected) continue;
      if (touching.length > 0 && this.#isRightWhenPatched(bytes, at, expected, touching)) continue;
      // Between two states of a block that is being changed, or bad: the next look tells.
      throw new BlockChecksumError(this.#file.path, at * blockSizeBytes);
    }
    return endBlock;
  }

  /** Is the block right, given that these records may be on their way into it? */
  #isRightWhenPatched(
    bytes: Buffer,
    block: number,
    expected: number,
    records: readonly PendingRecord[],
  ): boolean {
    const offsetBytes = block * blockSizeBytes;
    const endBytes = offsetBytes + blockSizeBytes;
    const patched = Buffer.from(bytes);
    let isTouched = false;
    for (const pending of records) {
      if (pending.offsetBytes >= endBytes || pending.endBytes <= offsetBytes) continue;
      const isCovered = pending.offsetBytes <= offsetBytes && endBytes <= pending.endBytes;
      // Nothing of the file is left in it, or no checksum can be known before it is applied again.
      if (isCovered || this.#pending.mayBeHalfApplied(pending)) return true;
      isTouched = true;
      patch(patched, offsetBytes, pending);
    }
    if (!isTouched) return false;
    return (
      crc32c(patched) === expected || crc32c(bytes) === this.#pending.comingChecksums.get(block)
    );
  }
}

/** The target itself if it is made of whole blocks, else a buffer of the blocks around it. */
function aligned(target: Buffer, offsetBytes: number): { content: Buffer; startBytes: number } {
  const startBytes = Math.floor(offsetBytes / blockSizeBytes) * blockSizeBytes;
  const endBytes = Math.ceil((offsetBytes + target.length) / blockSizeBytes) * blockSizeBytes;
  if (endBytes - startBytes === target.length) return { content: target, startBytes };
  return { content: Buffer.allocUnsafeSlow(endBytes - startBytes), startBytes };
}
