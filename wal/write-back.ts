/**
 * Paces what a checkpoint writes. Left alone, `fdatasync` hands the device everything that has
 * become dirty since the last one, hundreds of MiB at once, and each commit of the log waits behind
 * that for a tenth of a second. So the dirty parts of a data file are written portion by portion,
 * each waited for; what is left for `fdatasync` is little.
 *
 * A portion is small, because a commit of the log that comes meanwhile waits for it: the device
 * works on both, and its flush covers both.
 *
 * This is about speed only: what is durable is decided by `fdatasync`.
 */
import { blockSizeBytes } from './checksum.ts';
import type { DiskFile } from './disk.ts';

/** The unit in which is known what is dirty. */
const windowBytes = 256 * 1024;
const windowBlocks = windowBytes / blockSizeBytes;
/** Dirty blocks that are written at once. */
const portionBlocks = 64;
/** With no more than so many dirty blocks left, the sync may have them at once. */
const leftBlocksMax = 2 * portionBlocks;
/** New writes make blocks dirty meanwhile: each pass finds fewer, but there is an end to it. */
const passesMax = 4;

export class WriteBack {
  readonly #file: DiskFile;
  /** Blocks written to since the last write-back, at most, by number of the window. */
  #dirty = new Map<number, number>();
  #dirtyBlocks = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  /** The range is about to be written. */
  note(offsetBytes: number, endBytes: number): void {
    const last = Math.floor((endBytes - 1) / windowBytes);
    for (let window = Math.floor(offsetBytes / windowBytes); window <= last; window += 1) {
      const startBytes = Math.max(offsetBytes, window * windowBytes);
      const bytes = Math.min(endBytes, (window + 1) * windowBytes) - startBytes;
      const known = this.#dirty.get(window) ?? 0;
      const blocks = Math.min(windowBlocks, known + Math.ceil(bytes / blockSizeBytes));
      this.#dirty.set(window, blocks);
      this.#dirtyBlocks += blocks - known;
    }
  }

  /**
   * Writes most of what is dirty to the device. Rejects with DiskError, which is as final as an
   * error of `sync`. Ends early when `mayGoOn` says no.
   */
  async run(mayGoOn: () => boolean): Promise<void> {
    for (let pass = 0; pass < passesMax && this.#dirtyBlocks > leftBlocksMax; pass += 1) {
      const dirty = this.#takeDirty();
      for (const { firstWindow, endWindow } of portionsOf(dirty)) {
        if (!mayGoOn()) return;
        const offsetBytes = firstWindow * windowBytes;
        await this.#file.writeBack(offsetBytes, endWindow * windowBytes - offsetBytes);
      }
    }
    this.#takeDirty();
  }

  #takeDirty(): ReadonlyMap<number, number> {
    const dirty = this.#dirty;
    this.#dirty = new Map();
    this.#dirtyBlocks = 0;
    return dirty;
  }
}

interface Portion {
  readonly firstWindow: number;
  readonly endWindow: number;
}

/** Neighbours among the dirty windows, with what is clean between them, up to a portion each. */
function* portionsOf(dirty: ReadonlyMap<number, number>): IterableIterator<Portion> {
  let firstWindow = 0;
  let endWindow = 0;
  let blocks = 0;
  for (const window of [...dirty.keys()].sort((a, b) => a - b)) {
    const more = dirty.get(window) ?? 0;
    if (blocks > 0 && blocks + more > portionBlocks) {
      yield { firstWindow, endWindow };
      blocks = 0;
    }
    if (blocks === 0) firstWindow = window;
    blocks += more;
    endWindow = window + 1;
  }
  if (blocks > 0) yield { firstWindow, endWindow };
}
