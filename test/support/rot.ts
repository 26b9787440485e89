/** Bits that rot on the disk of a site: bytes of its files turned over behind the daemon's back. */
import { closeSync, fsyncSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
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
