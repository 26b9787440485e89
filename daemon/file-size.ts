/**
 * Whether the file system takes a file of a size: one of 16 TiB is too large for ext4, and a volume
 * that is in the log of both sites, and on the disk of neither, would end both.
 */
import { join } from 'node:path';
import type { Disk } from '../wal/disk.ts';
import { CasemateError } from './errors.ts';
import { Turns } from './turns.ts';

export class FileSizes {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #turns = new Turns<string>();

  constructor(disk: Disk, dataDirectory: string) {
    this.#disk = disk;
    this.#path = join(dataDirectory, 'volumes', 'size-probe');
  }

  /**
   * Makes an empty file of that size, and removes it.
   * @throws {CasemateError} ERR_VOLUME_SIZE if it can't be made
   */
  need(sizeBytes: number): Promise<void> {
    return this.#turns.take(this.#path, () => this.#try(sizeBytes));
  }

  async #try(sizeBytes: number): Promise<void> {
    try {
      const file = await this.#disk.open(this.#path, { create: true, durableWrites: false });
      try {
        await file.resize(sizeBytes);
      } finally {
        await file.close();
        await this.#disk.remove(this.#path);
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CasemateError(
        'ERR_VOLUME_SIZE',
        `the file system takes no file of ${sizeBytes} bytes: ${reason}`,
        { hint: 'ext4 ends below 16 TiB; XFS takes larger files. Or make a smaller volume.' },
      );
    }
  }
}
