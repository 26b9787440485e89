/** Reads a segment from front to back through one buffer, for recovery. */
import type { DiskFile } from './disk.ts';
import { LogError } from './errors.ts';

const windowBytes = 4 * 1024 * 1024;

export class SegmentWindow {
  readonly #segmentSizeBytes: number;
  #buffer: Buffer;
  #file: DiskFile | undefined;
  #startBytes = 0;
  #lengthBytes = 0;
  /** Bytes read from the disk so far. */
  readBytes = 0;

  constructor(segmentSizeBytes: number) {
    this.#segmentSizeBytes = segmentSizeBytes;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(windowBytes, segmentSizeBytes));
  }

  /** From now on reads this file. */
  use(file: DiskFile): void {
    if (this.#file === file) return;
    this.#file = file;
    this.#lengthBytes = 0;
  }

  /** The bytes if they are here; valid until the next `load`. */
  view(offsetBytes: number, lengthBytes: number): Buffer | undefined {
    const from = offsetBytes - this.#startBytes;
    if (from < 0 || from + lengthBytes > this.#lengthBytes) return undefined;
    return this.#buffer.subarray(from, from + lengthBytes);
  }

  /**
   * The bytes, read from the disk. The range must lie in the segment. Throws LogError: nothing can
   * be concluded from what the disk does not give (it may hold what was acknowledged).
   */
  async load(offsetBytes: number, lengthBytes: number): Promise<Buffer> {
    if (lengthBytes > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(lengthBytes);
    const wanted = Math.min(this.#buffer.length, this.#segmentSizeBytes - offsetBytes);
    const target = this.#buffer.subarray(0, Math.max(wanted, lengthBytes));
    this.#lengthBytes = 0;
    try {
      await this.#file?.read(target, offsetBytes, 'read-log');
    } catch (cause) {
      throw new LogError(
        'ERR_LOG_UNREADABLE',
        `the log cannot be read: ${this.#file?.path} at ${offsetBytes}`,
        { cause, hint: 'nothing was changed; look at the disk, then start again' },
      );
    }
    this.readBytes += target.length;
    this.#startBytes = offsetBytes;
    this.#lengthBytes = target.length;
    return target.subarray(0, lengthBytes);
  }
}
