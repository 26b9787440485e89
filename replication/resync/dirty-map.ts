/**
 * The dirty map (R27): which extents of a group's volumes have changed since the base, the commit
 * point known when the last epoch with two sites ended. Records are marked when they are committed;
 * each checkpoint keeps the map in the store, in its own transaction, before any of the log is
 * freed; after a restart the log marks again what it has above the checkpoint. So every record
 * above the base is in the map or in the log, and no write waits for the store (H26).
 */
import type { LogRecord } from '../../wal/frame.ts';
import { recordKind } from '../../wal/frame.ts';
import { type SetChanges, SparseSet } from '../../wal/sparse-set.ts';

/** The unit in which a resync copies, and in which changes are remembered. */
export const extentSizeBytes = 64 * 1024;

export interface VolumeChanges {
  readonly volume: number;
  readonly changes: SetChanges;
}

export class DirtyMap {
  readonly #volumes = new Map<number, SparseSet>();

  /** These records are committed. */
  mark(records: readonly LogRecord[]): void {
    for (const { kind, volume, offsetBytes, lengthBytes } of records) {
      if (kind > recordKind.trim || lengthBytes === 0) continue;
      const end = Math.ceil((offsetBytes + lengthBytes) / extentSizeBytes);
      this.extents(volume).add(Math.floor(offsetBytes / extentSizeBytes), end);
    }
  }

  /** The extents of a volume that have changed. */
  extents(volume: number): SparseSet {
    let extents = this.#volumes.get(volume);
    if (extents === undefined) {
      extents = new SparseSet();
      this.#volumes.set(volume, extents);
    }
    return extents;
  }

  /** How many extents have changed, of all volumes. */
  get size(): number {
    let size = 0;
    for (const extents of this.#volumes.values()) size += extents.size;
    return size;
  }

  /** A new base: nothing has changed since. What was kept of the map has to be deleted with it. */
  clear(): void {
    this.#volumes.clear();
  }

  /** What differs from what the store has. */
  changes(): VolumeChanges[] {
    return [...this.#volumes].map(([volume, extents]) => ({ volume, changes: extents.changes() }));
  }

  /** The store has these changes now. */
  kept(kept: readonly VolumeChanges[]): void {
    for (const { volume, changes } of kept) this.#volumes.get(volume)?.kept(changes);
  }
}
