/**
 * Paces what a checkpoint writes. Left alone, `fdatasync` hands the device everything that has
 * become dirty since the last one, hundreds of MiB at once, and each commit of the log waits behind
 * that for a tenth of a second. So the dirty parts of a data file are written window by window,
 * each waited for; what is left for `fdatasync` is little.
 *
 * This is about speed only: what is durable is decided by `fdatasync`.
 */
import type { DiskFile } from './disk.ts';

const windowBytes = 4 * 1024 * 1024;
/** With no more than so many dirty windows left, the sync may have them at once. */
const leftMax = 2;
/** New writes make windows dirty meanwhile: each pass finds fewer, but there is an end to it. */
const passesMax = 4;

export class WriteBack {
  readonly #file: DiskFile;
  /** Numbers of windows that were written to since they were last written back. */
  #dirty = new Set<number>();

  constructor(file: DiskFile) {
    this.#file = file;
  }

  /** The range is about to be written. */
  note(offsetBytes: number, endBytes: number): void {
    const last = Math.floor((endBytes - 1) / windowBytes);
    for (let window = Math.floor(offsetBytes / windowBytes); window <= last; window += 1) {
      this.#dirty.add(window);
    }
  }

  /**
   * Writes most of what is dirty to the device. Rejects with DiskError, which is as final as an
   * error of `sync`. Ends early when `mayGoOn` says no.
   */
  async run(mayGoOn: () => boolean): Promise<void> {
    for (let pass = 0; pass < passesMax && this.#dirty.size > leftMax; pass += 1) {
      const windows = [...this.#dirty].sort((a, b) => a - b);
      this.#dirty = new Set();
      for (const window of windows) {
        if (!mayGoOn()) return;
        await this.#file.writeBack(window * windowBytes, windowBytes);
      }
    }
    this.#dirty.clear();
  }
}
