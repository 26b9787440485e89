/** What both sides of a resync need to know of a volume's extents. */
import { createHash } from 'node:crypto';
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';

/** Allocation is asked of the file system for so much at once. */
const mapBytesAtOnce = 16 * 1024 * 1024 * 1024;

/** The extents of a volume of which something is allocated. */
export async function allocatedExtents(store: VolumeStore): Promise<SparseSet> {
  const extents = new SparseSet();
  const { sizeBytes } = store;
  for (let offsetBytes = 0; offsetBytes < sizeBytes; offsetBytes += mapBytesAtOnce) {
    const lengthBytes = Math.min(mapBytesAtOnce, sizeBytes - offsetBytes);
    for (const run of await store.extents(offsetBytes, lengthBytes)) {
      if (!run.allocated) continue;
      const end = Math.ceil((run.offsetBytes + run.lengthBytes) / extentSizeBytes);
      extents.add(Math.floor(run.offsetBytes / extentSizeBytes), end);
    }
  }
  return extents;
}

/** By which two sites know that an extent is the same. */
export function extentHash(content: Buffer): Buffer {
  return createHash('sha256').update(content).digest();
}
