/** Compares what two sites hold at rest: the volumes' data files, byte for byte. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TestSite } from './pair.ts';

/** Names of the volumes' data files of a site, sorted. */
function dataFiles(site: TestSite): string[] {
  return readdirSync(join(site.dataDirectory, 'volumes'))
    .filter((name) => name.endsWith('.data'))
    .sort();
}

/**
 * Both daemons have been stopped. Gives the first difference in words, or undefined if every
 * volume has the same bytes on both sites.
 */
export function differenceAtRest(a: TestSite, b: TestSite): string | undefined {
  const names = dataFiles(a);
  if (names.join() !== dataFiles(b).join()) return `files differ: ${names} / ${dataFiles(b)}`;
  if (names.length === 0) return 'there are no data files to compare';
  for (const name of names) {
    const difference = compareFiles(
      join(a.dataDirectory, 'volumes', name),
      join(b.dataDirectory, 'volumes', name),
    );
    if (difference !== undefined) return `${name}: ${difference}`;
  }
  return undefined;
}

/** A site that was resynced still moves what was staged into its data files, in the background. */
export function isStaging(site: TestSite): boolean {
  const names = readdirSync(join(site.dataDirectory, 'volumes'));
  return names.some((name) => name.endsWith('.stage'));
}

function compareFiles(left: string, right: string): string | undefined {
  const sizeBytes = statSync(left).size;
  if (sizeBytes !== statSync(right).size) return 'sizes differ';
  const chunk = 4 * 1024 * 1024;
  const buffers = [Buffer.alloc(chunk), Buffer.alloc(chunk)] as const;
  const files = [openSync(left, 'r'), openSync(right, 'r')] as const;
  try {
    for (let offset = 0; offset < sizeBytes; offset += chunk) {
      const length = Math.min(chunk, sizeBytes - offset);
      readSync(files[0], buffers[0], 0, length, offset);
      readSync(files[1], buffers[1], 0, length, offset);
      if (buffers[0].compare(buffers[1], 0, length, 0, length) === 0) continue;
      for (let block = 0; block < length; block += 4096) {
        const end = Math.min(block + 4096, length);
        if (buffers[0].compare(buffers[1], block, end, block, end) !== 0) {
          return `bytes differ in the block at ${offset + block}`;
        }
      }
    }
    return undefined;
  } finally {
    closeSync(files[0]);
    closeSync(files[1]);
  }
}
