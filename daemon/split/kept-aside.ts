/**
 * What a side of a split had changed, kept when that side is given up (R36): for each volume a
 * sparse file as large as the volume that holds the extents changed since both sides were the same,
 * and a manifest that names them. In a directory of the data directory, named after the volume and
 * the time; Casemate never looks at it again. Begun anew from the start after a crash.
 */
import { join } from 'node:path';
import type { EpochEntry } from '../../replication/core/config.ts';
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { BlockChecksumError } from '../../wal/data-errors.ts';
import type { Disk, DiskFile } from '../../wal/disk.ts';
import { DiskError } from '../../wal/disk-error.ts';
import type { HistoryPoint } from '../../wal/frame.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import { allocatedExtents } from '../resync/extents.ts';
import type { Group } from '../volume/group.ts';
import type { Volume } from '../volume/volume.ts';

const directoryName = 'kept-aside';
const manifestName = 'manifest.json';

/** A part of a volume. */
export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** What is kept of one volume. */
interface Aside {
  readonly volume: Volume;
  readonly extents: SparseSet;
}

export interface KeepAsideOptions {
  readonly disk: Disk;
  readonly dataDirectory: string;
  readonly site: string;
  readonly group: Group;
  /** When this side was given up: part of the names. */
  readonly atMs: number;
  /** Nothing of it is wanted any more: what is copied is left as it is. */
  isOver(): boolean;
}

/** Where the changes of a volume are kept that was given up at that time. */
export function asideDirectory(dataDirectory: string, volume: string, atMs: number): string {
  const time = new Date(atMs).toISOString().replaceAll(/[-:]/g, '');
  return join(dataDirectory, directoryName, `${volume}-${time}`);
}

/** The extents to keep: what is known to have changed, else all that is allocated. */
async function extentsToKeep({ changes, volumes }: Group): Promise<Aside[]> {
  const found: Aside[] = [];
  for (const volume of volumes.all) {
    const knows = changes.base !== undefined;
    const extents = new SparseSet();
    extents.addAll(
      knows ? changes.map.extents(volume.number) : await allocatedExtents(volume.store),
    );
    found.push({ volume, extents });
  }
  return found;
}

/** How much room it takes to keep this side's changes aside, at most. */
export async function asideBytes(group: Group): Promise<number> {
  let extents = 0;
  for (const each of await extentsToKeep(group)) extents += each.extents.size;
  return extents * extentSizeBytes;
}

/** Keeps the changes of all volumes of the group; durable when it resolves. */
export async function keepAside(options: KeepAsideOptions): Promise<void> {
  const { disk, dataDirectory, group } = options;
  for (const aside of await extentsToKeep(group)) await keepVolume(options, aside);
  const parent = join(dataDirectory, directoryName);
  await disk.makeDirectory(parent);
  await disk.syncDirectory(parent);
  await disk.syncDirectory(dataDirectory);
}

async function keepVolume(options: KeepAsideOptions, aside: Aside): Promise<void> {
  const { disk, dataDirectory, atMs } = options;
  const { volume, extents } = aside;
  const directory = asideDirectory(dataDirectory, volume.name, atMs);
  await disk.makeDirectory(directory);
  const fileName = `${volume.name}.raw`;
  const file = await disk.open(join(directory, fileName), { create: true, durableWrites: false });
  let unreadable: readonly ByteRange[];
  try {
    // A part of it may be there from before a crash.
    await file.resize(0);
    await file.resize(volume.sizeBytes);
    unreadable = await copyExtents(file, aside, options.isOver);
    await file.sync('sync-data');
  } finally {
    await file.close();
  }
  const text = JSON.stringify(
    manifestOf(options, { volume, extents, unreadable, fileName }),
    null,
    2,
  );
  await writeText(disk, join(directory, manifestName), `${text}\n`);
  await disk.syncDirectory(directory);
}

/** Copies what is there; gives the ranges that can't be read. Holes stay holes. */
async function copyExtents(
  file: DiskFile,
  { volume: { store, sizeBytes }, extents }: Aside,
  isOver: () => boolean,
): Promise<ByteRange[]> {
  const unreadable: ByteRange[] = [];
  for (const { first, end } of extents.runs()) {
    for (let extent = first; extent < end; extent += 1) {
      const offsetBytes = extent * extentSizeBytes;
      const lengthBytes = Math.min(extentSizeBytes, sizeBytes - offsetBytes);
      if (lengthBytes <= 0) continue;
      if (isOver()) throw new Error('what it held is not to be kept aside any more');
      const allocation = await store.extents(offsetBytes, lengthBytes);
      if (allocation.every(({ allocated }) => !allocated)) continue;
      const content = Buffer.alloc(lengthBytes);
      try {
        await store.readUnhealed(content, offsetBytes);
      } catch (error) {
        if (!(error instanceof BlockChecksumError || error instanceof DiskError)) throw error;
        unreadable.push({ offsetBytes, lengthBytes });
        continue;
      }
      await file.write([content], offsetBytes, 'apply-data');
    }
  }
  return unreadable;
}

async function writeText(disk: Disk, path: string, text: string): Promise<void> {
  const file = await disk.open(path, { create: true, durableWrites: false });
  try {
    await file.resize(0);
    await file.write([Buffer.from(text)], 0, 'apply-data');
    await file.sync('sync-data');
  } finally {
    await file.close();
  }
}

/** Runs of extents as bytes of a volume, in order. */
export function byteRanges(extents: SparseSet, sizeBytes: number): ByteRange[] {
  return [...extents.runs()]
    .map(({ first, end }) => {
      const offsetBytes = first * extentSizeBytes;
      return { offsetBytes, lengthBytes: Math.min(end * extentSizeBytes, sizeBytes) - offsetBytes };
    })
    .filter(({ lengthBytes }) => lengthBytes > 0);
}

interface Manifest {
  readonly format: 1;
  readonly volume: string;
  readonly group: string;
  readonly site: string;
  readonly at: string;
  readonly file: string;
  readonly sizeBytes: number;
  /** Whether `extents` are what this side changed, or all that it had, for want of a record. */
  readonly holds: 'changes' | 'everything';
  /** Both sides had this record; later changes are in the file. */
  readonly since: HistoryPoint | null;
  readonly end: HistoryPoint;
  readonly epochs: readonly EpochEntry[];
  readonly extents: readonly ByteRange[];
  readonly unreadable: readonly ByteRange[];
  readonly read: readonly string[];
}

function manifestOf(
  { site, group, atMs }: KeepAsideOptions,
  {
    volume,
    extents,
    unreadable,
    fileName,
  }: Aside & { readonly unreadable: readonly ByteRange[]; readonly fileName: string },
): Manifest {
  const { base } = group.changes;
  return {
    format: 1,
    volume: volume.name,
    group: group.groupName,
    site,
    at: new Date(atMs).toISOString(),
    file: fileName,
    sizeBytes: volume.sizeBytes,
    holds: base === undefined ? 'everything' : 'changes',
    since: base ?? null,
    end: group.view.end,
    epochs: group.history.at(group.view.end.sequence).epochHistory,
    extents: byteRanges(extents, volume.sizeBytes),
    unreadable,
    read: [
      'Only `extents` are in the file; the rest of it are holes that say nothing of the volume.',
      `qemu-io -r -f raw -c "read -v OFFSET LENGTH" ${fileName}`,
      `qemu-img map -f raw --output=json ${fileName}`,
      `nbdkit --readonly file ${fileName}`,
    ],
  };
}
