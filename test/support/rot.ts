/** Bits that rot on the disk of a site: bytes of its files turned over behind the daemon's back. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { TestSite } from './pair.ts';

/** Turns bits over in one byte of a file, in the page cache and on the disk. */
export function rotFile(path: string, offsetBytes: number): void {
  const file = openSync(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, offsetBytes);
    byte[0] = (byte[0] ?? 0) ^ 0x24;
    writeSync(file, byte, 0, 1, offsetBytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The data file of the only volume of a site. */
export function onlyDataFile(site: TestSite): string {
  const directory = join(site.dataDirectory, 'volumes');
  const [name, ...others] = readdirSync(directory).filter((each) => each.endsWith('.data'));
  if (name === undefined || others.length > 0) throw new Error(`not one data file in ${directory}`);
  return join(directory, name);
}

/** The first segment of a site's log, and how many bytes of it hold something. */
export function firstLogSegment(site: TestSite): { path: string; usedBytes: number } {
  const directory = join(site.dataDirectory, 'log');
  const [name] = readdirSync(directory)
    .filter((each) => each.startsWith('segment-'))
    .sort();
  if (name === undefined) throw new Error(`no segment in ${directory}`);
  const content = readFileSync(join(directory, name));
  const page = 4096;
  let usedBytes = content.length;
  while (usedBytes > 0 && content.subarray(usedBytes - page, usedBytes).every((it) => it === 0)) {
    usedBytes -= page;
  }
  return { path: join(directory, name), usedBytes };
}
