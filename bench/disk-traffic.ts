/**
 * Bytes written to the disk that a directory is on, as its driver counts them. Whoever writes to
 * that disk meanwhile is counted as well; what the kernel counts by process is no help, because for
 * buffered writes that is how much memory became dirty, whole large folios of it.
 */
import { readFileSync, statSync } from 'node:fs';

const sectorBytes = 512;
/** Place of "sectors written" in /sys/dev/block/MAJOR:MINOR/stat. */
const sectorsWrittenField = 6;

export class DiskTraffic {
  readonly #path: string;

  constructor(directory: string) {
    const { dev } = statSync(directory);
    // As Linux packs major and minor numbers into one (makedev(3)).
    const major = ((dev >> 8) & 0xfff) | (Math.floor(dev / 2 ** 32) & 0xffff_f000);
    const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
    this.#path = `/sys/dev/block/${major}:${minor}/stat`;
  }

  /**
   * Bytes written so far; undefined where the directory is on no disk of its own, such as tmpfs.
   */
  writtenBytes(): number | undefined {
    try {
      const fields = readFileSync(this.#path, 'latin1').trim().split(/\s+/);
      const sectors = Number(fields[sectorsWrittenField]);
      return Number.isFinite(sectors) ? sectors * sectorBytes : undefined;
    } catch {
      return undefined;
    }
  }
}
