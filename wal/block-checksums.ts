/**
 * The checksums of one volume's data file (I7): a sidecar file with one CRC32C for each 4 KiB
 * block, and a cache of its pages that owns what is not written yet.
 *
 * Format, version 1, all numbers little-endian:
 *
 *     bytes 0..19         header: "CASEMSUM" (8 bytes), version u32 = 1, block size u32 = 4096,
 *                         CRC32C of these 16 bytes u32; zeros up to 2047
 *     bytes 2048..2067    the header once more, in another sector: either repairs the other;
 *                         zeros up to 4095
 *     4096 + 4 x n        CRC32C of block n, XORed with the CRC32C of a block of zeros
 *
 * so a sparse sidecar says "all blocks are zeros", and neither a new volume nor a punched range
 * takes space here. One 4 KiB page has the checksums of 1024 blocks, 4 MiB of data.
 *
 * Pages change in memory when a block has been written, and go to the file when they are evicted
 * or at `flush` (a checkpoint). Nothing here is ordered before or after the data: whatever a crash
 * leaves of the entries changed since the checkpoint, replaying the log sets every one of them.
 *
 * Looking up a block is synchronous while its page is cached. Whoever changes entries must be the
 * only one to do so for these blocks at that time; `volume-store.ts` sees to it.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes, crc32c } from './checksum.ts';
import type { Disk, DiskFile } from './disk.ts';
import { DiskError, isOutOfSpace } from './disk-error.ts';
import { SparseSet } from './sparse-set.ts';

export const zeroBlockChecksum = crc32c(Buffer.alloc(blockSizeBytes));

const pageSizeBytes = 4096;
const headerSizeBytes = pageSizeBytes;
const headerFieldsBytes = 20;
const headerCopyOffset = 2048;
const entriesPerPage = pageSizeBytes / 4;
const magic = 'CASEMSUM';
const formatVersion = 1;
/** Fewer would make large requests evict their own pages. */
const cachedPagesMin = 64;
/** Wholly zeroed pages: up to here they are filled one by one, beyond the file is punched. */
const filledPagesMax = 64;

export class ChecksumFileError extends Error {
  readonly code = 'ERR_CHECKSUM_FILE';
  constructor(path: string, what: string) {
    super(`${path} is not a checksum file that this version can use: ${what}`);
    this.name = 'ChecksumFileError';
  }
}

interface Page {
  readonly index: number;
  readonly bytes: Buffer;
  readonly entries: Uint32Array;
  dirty: boolean;
  /** The write of this page that is under way. */
  writing: Promise<void> | undefined;
}

interface Load {
  readonly promise: Promise<void>;
  /** The range was punched meanwhile: what was read says nothing. */
  stale: boolean;
}

export class BlockChecksums {
  readonly #file: DiskFile;
  readonly #pagesMax: number;
  /** In order of last use, the oldest first. */
  readonly #pages = new Map<number, Page>();
  readonly #loads = new Map<number, Load>();
  #newest: Page | undefined;
  /**
   * A write failed for another reason than a full disk: `flush` and `sync` give it for ever (I8).
   */
  #failure: unknown;

  private constructor(file: DiskFile, cacheBytesMax: number) {
    this.#file = file;
    this.#pagesMax = Math.max(cachedPagesMin, Math.floor(cacheBytesMax / pageSizeBytes));
  }

  /**
   * Opens the sidecar, or makes it (then its header is durable, its name not yet). Throws
   * ChecksumFileError when it is something else.
   */
  static async open(
    disk: Disk,
    path: string,
    sizes: { readonly volumeBytes: number; readonly cacheBytesMax: number },
  ): Promise<BlockChecksums> {
    assert(littleEndian(), 'checksum pages are used as they are in the file');
    const file = await disk.open(path, { create: true, durableWrites: false });
    try {
      await prepareHeader(file);
      const checksums = new BlockChecksums(file, sizes.cacheBytesMax);
      await checksums.grow(sizes.volumeBytes);
      return checksums;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Makes room for a volume of this size; never shrinks. */
  async grow(volumeBytes: number): Promise<void> {
    const pages = Math.ceil(volumeBytes / blockSizeBytes / entriesPerPage);
    const sizeBytes = headerSizeBytes + pages * pageSizeBytes;
    if ((await this.#file.sizeBytes()) < sizeBytes) await this.#file.resize(sizeBytes);
  }

  /** The block's CRC32C, or -1 when its page is not at hand without waiting. */
  get(block: number): number {
    const page = this.#cached(Math.floor(block / entriesPerPage));
    if (page === undefined) return -1;
    return ((page.entries[block % entriesPerPage] ?? 0) ^ zeroBlockChecksum) >>> 0;
  }

  /** Sets the block's CRC32C if its page is at hand; otherwise gives false and does nothing. */
  set(block: number, checksum: number): boolean {
    const page = this.#cached(Math.floor(block / entriesPerPage));
    if (page === undefined) return false;
    page.entries[block % entriesPerPage] = checksum ^ zeroBlockChecksum;
    page.dirty = true;
    return true;
  }

  /** Brings the page of a block into the cache; it is there when this resolves. */
  async load(block: number): Promise<void> {
    const index = Math.floor(block / entriesPerPage);
    while (this.#cached(index) === undefined) {
      let load = this.#loads.get(index);
      if (load === undefined) {
        load = this.#startLoad(index);
        this.#loads.set(index, load);
      }
      await load.promise;
    }
  }

  /** The first block whose entry lies in the next page. */
  nextPageBlock(block: number): number {
    return (Math.floor(block / entriesPerPage) + 1) * entriesPerPage;
  }

  /** Says of a range of blocks that they are zeros. Whole pages of a large range cost nothing. */
  async setZero(firstBlock: number, endBlock: number): Promise<void> {
    const firstPage = Math.ceil(firstBlock / entriesPerPage);
    const endPage = Math.floor(endBlock / entriesPerPage);
    if (endPage - firstPage <= filledPagesMax) {
      await this.#fillZero(firstBlock, endBlock);
      return;
    }
    await this.#fillZero(firstBlock, firstPage * entriesPerPage);
    await this.#punchPages(firstPage, endPage);
    await this.#fillZero(endPage * entriesPerPage, endBlock);
  }

  /**
   * The blocks that have another checksum than zeros, as of the last `flush`. What can't be read
   * may have any.
   */
  async nonZeroBlocks(): Promise<SparseSet> {
    const blocks = new SparseSet();
    const endBytes = await this.#file.sizeBytes();
    const piece = Buffer.from(new ArrayBuffer(64 * pageSizeBytes));
    const entries = new Uint32Array(piece.buffer);
    for (const extent of await this.#file.extents(0, endBytes)) {
      if (!extent.allocated) continue;
      const extentEnd = Math.min(endBytes, extent.offsetBytes + extent.lengthBytes);
      const from = Math.max(headerSizeBytes, pageStart(extent.offsetBytes));
      for (let at = from; at < extentEnd; at += piece.length) {
        const bytes = Math.min(piece.length, endBytes - at);
        const first = (at - headerSizeBytes) / 4;
        const isRead = await this.#isRead(piece.subarray(0, bytes), at);
        for (let entry = 0; entry < bytes / 4; entry += 1) {
          if (!isRead || entries[entry] !== 0) blocks.add(first + entry);
        }
      }
    }
    return blocks;
  }

  async #isRead(target: Buffer, offsetBytes: number): Promise<boolean> {
    try {
      await this.#file.read(target, offsetBytes, 'read-checksums');
      return true;
    } catch (error) {
      if (error instanceof DiskError) return false;
      throw error;
    }
  }

  /** Writes what changed before the call; `sync` makes it durable. */
  async flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const dirty = [...this.#pages.values()].filter((page) => page.dirty);
    const underWay = [...this.#pages.values()].map((page) => page.writing);
    await Promise.all(underWay);
    // In the order of the file; a page evicted meanwhile has been written by that.
    dirty.sort((a, b) => a.index - b.index);
    for (const page of dirty) {
      while (page.writing !== undefined) await page.writing;
      if (page.dirty) await this.#write(page);
    }
  }

  async sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await this.#file.sync('sync-checksums');
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#loads.values()].map((load) => load.promise));
    await Promise.allSettled([...this.#pages.values()].map((page) => page.writing));
    await this.#file.close();
  }

  #cached(index: number): Page | undefined {
    if (this.#newest?.index === index) return this.#newest;
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (this.#loads.has(index)) return undefined;
      page = this.#loadNow(index);
      if (page === undefined) return undefined;
    } else {
      this.#pages.delete(index);
      this.#pages.set(index, page);
    }
    this.#newest = page;
    return page;
  }

  /** A miss that the operating system's cache can serve at once, while there is room for it. */
  #loadNow(index: number): Page | undefined {
    if (this.#pages.size >= this.#pagesMax && !this.#evictClean()) return undefined;
    const page = makePage(index);
    if (!this.#file.readCached(page.bytes, positionOf(index))) return undefined;
    this.#pages.set(index, page);
    return page;
  }

  #startLoad(index: number): Load {
    const page = makePage(index);
    const read = async (): Promise<void> => {
      try {
        while (this.#pages.size >= this.#pagesMax && !this.#evictClean()) await this.#cleanOldest();
        await this.#file.read(page.bytes, positionOf(index), 'read-checksums');
        // Two loads of different pages may both have found the one place that was free; the cache
        // is over its limit by at most the loads under way, until the next miss.
        if (!load.stale) this.#pages.set(index, page);
      } finally {
        this.#loads.delete(index);
      }
    };
    const load: Load = { promise: Promise.resolve().then(read), stale: false };
    return load;
  }

  /** Drops the least recently used clean page among the oldest few. */
  #evictClean(): boolean {
    let looked = 0;
    for (const page of this.#pages.values()) {
      if (!page.dirty && page.writing === undefined) {
        this.#drop(page);
        return true;
      }
      looked += 1;
      if (looked === 16) return false;
    }
    return false;
  }

  async #cleanOldest(): Promise<void> {
    let oldest: Page | undefined;
    for (const page of this.#pages.values()) {
      oldest = page;
      break;
    }
    if (oldest === undefined) return;
    if (oldest.writing !== undefined) await oldest.writing;
    else if (oldest.dirty) await this.#write(oldest);
  }

  #drop(page: Page): void {
    this.#pages.delete(page.index);
    if (this.#newest === page) this.#newest = undefined;
  }

  async #write(page: Page): Promise<void> {
    assert(page.writing === undefined, 'one write of a page at a time');
    // An entry may change while the page is written; then the page is dirty again.
    page.dirty = false;
    const writing = this.#file.write([page.bytes], positionOf(page.index), 'write-checksums').then(
      () => {
        page.writing = undefined;
      },
      (error: unknown) => {
        page.writing = undefined;
        page.dirty = true;
        if (!isOutOfSpace(error)) this.#failure ??= error;
        throw error;
      },
    );
    page.writing = writing;
    await writing;
  }

  async #fillZero(firstBlock: number, endBlock: number): Promise<void> {
    for (let block = firstBlock; block < endBlock; ) {
      const index = Math.floor(block / entriesPerPage);
      const end = Math.min(endBlock, this.nextPageBlock(block));
      let page = this.#cached(index);
      while (page === undefined) {
        await this.load(block);
        page = this.#cached(index);
      }
      const from = block % entriesPerPage;
      page.entries.fill(0, from, from + end - block);
      page.dirty = true;
      block = end;
    }
  }

  /** Only the caller changes entries of this range now, but others may load or evict its pages. */
  async #punchPages(firstPage: number, endPage: number): Promise<void> {
    for (const page of this.#pagesWithin(firstPage, endPage)) {
      while (page.writing !== undefined) await page.writing;
      // Not written any more: the punched file has what it should say.
      page.dirty = false;
      page.entries.fill(0);
    }
    const lengthBytes = (endPage - firstPage) * pageSizeBytes;
    await this.#file.punchHole(positionOf(firstPage), lengthBytes);
    for (const [index, load] of this.#loads) {
      if (index >= firstPage && index < endPage) load.stale = true;
    }
    for (const page of this.#pagesWithin(firstPage, endPage)) this.#drop(page);
  }

  #pagesWithin(firstPage: number, endPage: number): Page[] {
    return [...this.#pages.values()].filter(
      (page) => page.index >= firstPage && page.index < endPage,
    );
  }
}

function makePage(index: number): Page {
  const memory = new ArrayBuffer(pageSizeBytes);
  return {
    index,
    bytes: Buffer.from(memory),
    entries: new Uint32Array(memory),
    dirty: false,
    writing: undefined,
  };
}

function pageStart(offsetBytes: number): number {
  return Math.floor(offsetBytes / pageSizeBytes) * pageSizeBytes;
}

function positionOf(pageIndex: number): number {
  return headerSizeBytes + pageIndex * pageSizeBytes;
}

async function prepareHeader(file: DiskFile): Promise<void> {
  const header = Buffer.alloc(headerSizeBytes);
  await file.read(header, 0, 'read-checksums');
  if (!header.every((byte) => byte === 0)) checkHeader(header, file.path);
  const whole = makeHeader();
  if (header.equals(whole)) return;
  await file.write([whole], 0, 'write-checksums');
  await file.sync('sync-checksums');
}

function makeHeader(): Buffer {
  const header = Buffer.alloc(headerSizeBytes);
  header.write(magic, 0, 'latin1');
  header.writeUInt32LE(formatVersion, 8);
  header.writeUInt32LE(blockSizeBytes, 12);
  header.writeUInt32LE(crc32c(header.subarray(0, 16)), 16);
  header.copy(header, headerCopyOffset, 0, headerFieldsBytes);
  return header;
}

/** Throws unless one of the two copies is whole and says what this version writes. */
function checkHeader(header: Buffer, path: string): void {
  const copies = [0, headerCopyOffset].map((start) => header.subarray(start));
  const copy = copies.find(isWhole);
  if (copy === undefined) {
    const isOne = copies.some((each) => each.toString('latin1', 0, 8) === magic);
    throw new ChecksumFileError(path, isOne ? 'its header is damaged' : 'wrong magic');
  }
  const version = copy.readUInt32LE(8);
  if (version !== formatVersion) throw new ChecksumFileError(path, `version ${version}`);
  const blockBytes = copy.readUInt32LE(12);
  if (blockBytes !== blockSizeBytes) throw new ChecksumFileError(path, `blocks of ${blockBytes}`);
}

function isWhole(copy: Buffer): boolean {
  const isOne = copy.toString('latin1', 0, 8) === magic;
  return isOne && copy.readUInt32LE(16) === crc32c(copy.subarray(0, 16));
}

function littleEndian(): boolean {
  return new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
}
