/**
 * What has changed in a group since its base (R27): the dirty map of `replication/resync/`, and its
 * place in the store. There is a map as long as there is a base, that is, from the end of the last
 * epoch with two sites until both are in sync again.
 */
import { DirtyMap } from '../../replication/resync/dirty-map.ts';
import type { GroupId, HistoryPoint } from '../../wal/frame.ts';
import type { SiteStore, StoredChunk } from '../store/site-store.ts';
import type { GroupVolumes } from './group-volumes.ts';

/** Changes of the map that a checkpoint keeps. */
export interface TakenChanges {
  readonly chunks: readonly StoredChunk[];
  /** To be called when the store has them. */
  kept(): void;
}

export class GroupChanges {
  readonly #groupId: GroupId;
  readonly #store: SiteStore;
  readonly #volumes: GroupVolumes;
  #base: HistoryPoint | undefined;
  #map = new DirtyMap();

  /** The map as the store has it; replaying the log adds what is above the checkpoint. */
  constructor(options: {
    readonly groupId: GroupId;
    readonly base: HistoryPoint | undefined;
    readonly store: SiteStore;
    readonly volumes: GroupVolumes;
  }) {
    this.#groupId = options.groupId;
    this.#store = options.store;
    this.#volumes = options.volumes;
    this.#base = options.base;
    if (options.base === undefined) return;
    for (const { volume, chunk, bits } of options.store.loadExtents(options.groupId, 'dirty')) {
      if (bits !== undefined) this.#map.extents(volume).load(chunk, bits);
    }
    options.volumes.changes = this.#map;
  }

  get base(): HistoryPoint | undefined {
    return this.#base;
  }

  /** Every change since `base`; empty if there is no base. */
  get map(): DirtyMap {
    return this.#map;
  }

  /** A new base, or none; durable when it returns. */
  setBase(base: HistoryPoint | undefined): void {
    this.#store.setBase(this.#groupId, base);
    this.#begin(base);
  }

  /** The store has dropped the base together with something else. */
  baseDropped(): void {
    this.#begin(undefined);
  }

  take(): TakenChanges {
    const map = this.#map;
    if (this.#base === undefined) return { chunks: [], kept: () => undefined };
    const changes = map.changes();
    return {
      chunks: changes.flatMap(({ volume, changes: { chunks } }) =>
        chunks.map(({ chunk, bits }) => ({ kind: 'dirty', volume, chunk, bits }) as const),
      ),
      kept: () => map.kept(changes),
    };
  }

  #begin(base: HistoryPoint | undefined): void {
    this.#base = base;
    this.#map = new DirtyMap();
    this.#volumes.changes = base === undefined ? undefined : this.#map;
  }
}
