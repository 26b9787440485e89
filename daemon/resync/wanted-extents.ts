/**
 * What a resync has to get and what it has (R26): extents by volume, and how they are kept in the
 * store. `wanted` is fixed when the resync begins, `held` grows; an extent counts as held from when
 * it was written, and is kept as held with the next checkpoint, whose sync makes it durable.
 */
import type { EpochEntry } from '../../replication/core/config.ts';
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { type SetChanges, SparseSet } from '../../wal/sparse-set.ts';
import type { StoredChunk } from '../store/site-store.ts';

/** What was held at one moment, to be kept with the checkpoint whose sync follows. */
export interface HeldExtents {
  readonly chunks: readonly StoredChunk[];
  /** Everything that is wanted is held. */
  readonly all: boolean;
  /** The newest record that can be in what is held. */
  readonly reach: number;
  readonly reaches: readonly Reach[];
  /** The store has it. */
  kept(): void;
}

/** The newest record that can be in what came from a reign of the source. */
export interface Reach {
  readonly epoch: number;
  readonly reach: number;
}

/**
 * The source has lost records that it had answered with: a later reign began below them. Only force
 * or a disk that lies can bring that about; what is held is of a history that is none any more.
 */
export function isOfLostHistory(
  reaches: readonly Reach[],
  history: readonly Pick<EpochEntry, 'epoch' | 'firstSequence'>[],
): boolean {
  return reaches.some(({ epoch, reach }) =>
    history.some((entry) => entry.epoch > epoch && entry.firstSequence <= reach),
  );
}

/** Extents of one volume that can be asked for together. */
export interface ExtentBatch {
  readonly volume: number;
  readonly extents: readonly number[];
}

export class WantedExtents {
  readonly #wanted = new Map<number, SparseSet>();
  readonly #held = new Map<number, SparseSet>();
  readonly #reaches: Map<number, number>;
  #reach: number;

  constructor(reach: number, reaches: readonly Reach[] = []) {
    this.#reach = reach;
    this.#reaches = new Map(reaches.map(({ epoch, reach: newest }) => [epoch, newest]));
  }

  /** Everything of `extents` is wanted as well. */
  want(volume: number, extents: SparseSet): void {
    this.#wantedOf(volume).addAll(extents);
  }

  /** Nothing beyond the end of the volume is wanted. */
  limit(volume: number, sizeBytes: number): void {
    const end = Math.ceil(sizeBytes / extentSizeBytes);
    const wanted = this.#wantedOf(volume);
    const beyond = [...wanted.runs(end)];
    for (const run of beyond) wanted.delete(run.first, run.end);
  }

  load(chunks: readonly StoredChunk[]): void {
    for (const { kind, volume, chunk, bits } of chunks) {
      if (bits === undefined) continue;
      if (kind === 'wanted') this.#wantedOf(volume).load(chunk, bits);
      if (kind === 'held') this.#heldOf(volume).load(chunk, bits);
    }
  }

  /** All that is wanted, as it is kept when the resync begins. */
  wantedChunks(): StoredChunk[] {
    return [...this.#wanted].flatMap(([volume, extents]) =>
      extents.chunks().map((chunk) => ({ kind: 'wanted', volume, ...chunk }) as const),
    );
  }

  /** The block is wanted and not there yet. */
  lacksBlock(volume: number, offsetBytes: number): boolean {
    const extent = Math.floor(offsetBytes / extentSizeBytes);
    return this.#wantedOf(volume).has(extent) && !this.#heldOf(volume).has(extent);
  }

  /** The next extents to ask for; undefined: all are held. */
  next(countMax: number): ExtentBatch | undefined {
    for (const [volume, wanted] of this.#wanted) {
      const held = this.#heldOf(volume);
      if (held.size === wanted.size) continue;
      const extents: number[] = [];
      for (let at = wanted.next(0); at !== undefined && extents.length < countMax; ) {
        if (held.has(at)) {
          at = wanted.next(held.runEnd(at, Number.MAX_SAFE_INTEGER));
          continue;
        }
        extents.push(at);
        at = wanted.next(at + 1);
      }
      return { volume, extents };
    }
    return undefined;
  }

  /** These were written; records up to `reach` may be in them, of a source in that epoch. */
  hold(
    volume: number,
    extents: readonly number[],
    { epoch, reach }: { readonly epoch?: number; readonly reach: number },
  ): void {
    const held = this.#heldOf(volume);
    for (const extent of extents) held.add(extent);
    this.#reach = Math.max(this.#reach, reach);
    if (epoch === undefined) return;
    this.#reaches.set(epoch, Math.max(this.#reaches.get(epoch) ?? 0, reach));
  }

  /** Nothing counts as held any more: all of it is to be asked for again. */
  release(): void {
    for (const held of this.#held.values()) held.clear();
    this.#reaches.clear();
  }

  /** The volume was removed: nothing of it is wanted any more. */
  forget(volume: number): void {
    this.#wanted.delete(volume);
    this.#held.delete(volume);
  }

  take(): HeldExtents {
    const taken: { readonly set: SparseSet; readonly changes: SetChanges }[] = [];
    const chunks: StoredChunk[] = [];
    for (const [volume, set] of this.#held) {
      const changes = set.changes();
      taken.push({ set, changes });
      chunks.push(...changes.chunks.map((chunk) => ({ kind: 'held', volume, ...chunk }) as const));
    }
    return {
      chunks,
      all: this.next(1) === undefined,
      reach: this.#reach,
      reaches: this.reaches,
      kept: () => {
        for (const { set, changes } of taken) set.kept(changes);
      },
    };
  }

  get reach(): number {
    return this.#reach;
  }

  get reaches(): Reach[] {
    return [...this.#reaches].map(([epoch, reach]) => ({ epoch, reach }));
  }

  get wantedBytes(): number {
    return sizeOf(this.#wanted) * extentSizeBytes;
  }

  get heldBytes(): number {
    return sizeOf(this.#held) * extentSizeBytes;
  }

  #wantedOf(volume: number): SparseSet {
    return setOf(this.#wanted, volume);
  }

  #heldOf(volume: number): SparseSet {
    return setOf(this.#held, volume);
  }
}

function setOf(sets: Map<number, SparseSet>, volume: number): SparseSet {
  let set = sets.get(volume);
  if (set === undefined) {
    set = new SparseSet();
    sets.set(volume, set);
  }
  return set;
}

function sizeOf(sets: ReadonlyMap<number, SparseSet>): number {
  let size = 0;
  for (const set of sets.values()) size += set.size;
  return size;
}
