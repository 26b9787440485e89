/**
 * The files of one group's stage (R26): a sparse file beside each data and checksum file, and which
 * blocks are in them. The volumes' stores open their files through `disk` and see one file each.
 * While it is staging, nothing of the data files is touched: they are the old image, whole and in
 * one piece whenever the resync ends (I6). When it is merging, what is in the stage moves into them
 * in the background.
 */
import { join } from 'node:path';
import { blockSizeBytes } from '../../wal/checksum.ts';
import type { Disk, DiskFile, OpenOptions } from '../../wal/disk.ts';
import { removeIfThere } from '../../wal/disk-error.ts';
import { LayeredFile, type Layering } from '../../wal/layered-file.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import type { ExtentKind, StoredChunk } from '../store/site-store.ts';

const stageSuffix = '.stage';
const layers = [
  { suffix: '.data', kind: 'stage-data' },
  { suffix: '.checksums', kind: 'stage-checksums' },
] as const;
type LayerKind = (typeof layers)[number]['kind'];

export interface StageFilesOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly groupId: string;
  readonly merging: boolean;
  /** Bytes that the stage may take; what is more goes into the data files. */
  readonly bytesMax: number;
  /**
   * There is no room for the stage: decides, durably, that it goes into the data files. Gives false
   * if that can't be decided now.
   */
  readonly noRoom: () => boolean;
}

interface VolumeState {
  readonly volume: number;
  readonly removed: boolean;
}

interface StagedSet {
  readonly volume: number;
  readonly kind: ExtentKind;
  readonly blocks: SparseSet;
}

/** Where blocks are, as of the last sync, to be kept with a checkpoint. */
export interface TakenLayers {
  readonly chunks: readonly StoredChunk[];
  /** The store has them. */
  kept(): void;
}

export class StageFiles {
  readonly #options: StageFilesOptions;
  readonly #sets = new Map<string, StagedSet>();
  readonly #files = new Map<string, LayeredFile>();
  readonly #layering: Layering;
  #merging: boolean;
  /** What the volumes' stores open their files through. */
  readonly disk: Disk;

  constructor(options: StageFilesOptions) {
    this.#options = options;
    this.#merging = options.merging;
    const merging = (): boolean => this.#merging;
    this.#layering = {
      get merging() {
        return merging();
      },
      full: () => Promise.resolve(this.#full()),
      exceeds: (bytes) => this.stagedBytes + bytes > options.bytesMax,
    };
    this.disk = this.#layeredDisk();
  }

  load(chunks: readonly StoredChunk[]): void {
    for (const { kind, volume, chunk, bits } of chunks) {
      if (bits !== undefined) this.#set(volume, kind).load(chunk, bits);
    }
  }

  get merging(): boolean {
    return this.#merging;
  }

  /** The stage counts from now on, or is given up in favour of the data files. */
  startMerging(): void {
    this.#merging = true;
  }

  /** Bytes of blocks that are in the stage. */
  get stagedBytes(): number {
    let blocks = 0;
    for (const set of this.#sets.values()) blocks += set.blocks.size;
    return blocks * blockSizeBytes;
  }

  /** The blocks of a volume's data file that are in the stage. */
  stagedBlocks(volume: number): SparseSet {
    return this.#set(volume, 'stage-data');
  }

  /**
   * What was staged of volumes that were removed in an earlier life moves nowhere any more; of
   * those whose files are still open it goes with them.
   */
  forget(volumes: readonly VolumeState[]): void {
    for (const { volume, removed } of volumes) {
      if (!removed) continue;
      for (const { suffix, kind } of layers) {
        if (!this.#files.has(this.#pathOf(volume, suffix))) this.#set(volume, kind).clear();
      }
    }
  }

  /** Moves some blocks into the data files; false: all of them are there. */
  async mergeSome(): Promise<boolean> {
    for (const file of this.#files.values()) if (await file.mergeSome()) return true;
    return false;
  }

  /** Something is in the stage, or has left it and is not kept as such. */
  get hasUnsaved(): boolean {
    for (const { blocks } of this.#sets.values()) {
      if (blocks.size > 0 || blocks.changes().chunks.length > 0) return true;
    }
    return false;
  }

  take(): TakenLayers {
    const kept: (() => void)[] = [];
    const chunks: StoredChunk[] = [];
    for (const { volume, kind, blocks } of this.#sets.values()) {
      const file = this.#fileOf(volume, kind);
      // Without its file the volume is gone, and there is nothing to be synced first.
      const changes = file === undefined ? blocks.changes() : file.syncedChanges();
      if (changes.chunks.length === 0) continue;
      kept.push(() => (file === undefined ? blocks.kept(changes) : file.kept(changes)));
      chunks.push(...changes.chunks.map((chunk) => ({ kind, volume, ...chunk })));
    }
    return {
      chunks,
      kept: () => {
        for (const keep of kept) keep();
      },
    };
  }

  /** Gives up the room of what has left the stage, and is kept as such. */
  async release(): Promise<void> {
    for (const file of [...this.#files.values()]) await file.release();
  }

  /** Removes the stage's files: nothing is in them any more, or nothing that counts. */
  async remove(): Promise<void> {
    const { disk, directory, groupId } = this.#options;
    for (const name of await disk.list(directory)) {
      if (!name.startsWith(`${groupId}-`) || !name.endsWith(stageSuffix)) continue;
      await removeIfThere(disk, join(directory, name));
    }
    await disk.syncDirectory(directory);
  }

  /** Removes what is left of volumes that were removed while the old image was kept. */
  async removeGone(volumes: readonly VolumeState[]): Promise<void> {
    const { disk, directory, groupId } = this.#options;
    const present = await disk.list(directory);
    for (const { volume, removed } of volumes) {
      for (const { suffix } of layers) {
        const name = `${groupId}-${volume}${suffix}`;
        if (removed && present.includes(name)) await removeIfThere(disk, join(directory, name));
      }
    }
  }

  #full(): boolean {
    if (!this.#merging && this.#options.noRoom()) this.#merging = true;
    return this.#merging;
  }

  #set(volume: number, kind: ExtentKind): SparseSet {
    const key = `${volume}/${kind}`;
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = { volume, kind, blocks: new SparseSet() };
      this.#sets.set(key, set);
    }
    return set.blocks;
  }

  #fileOf(volume: number, kind: ExtentKind): LayeredFile | undefined {
    const layer = layers.find((one) => one.kind === kind);
    return layer && this.#files.get(this.#pathOf(volume, layer.suffix));
  }

  #pathOf(volume: number, suffix: string): string {
    return join(this.#options.directory, `${this.#options.groupId}-${volume}${suffix}`);
  }

  #placeOf(path: string): { readonly volume: number; readonly kind: LayerKind } | undefined {
    const prefix = join(this.#options.directory, `${this.#options.groupId}-`);
    if (!path.startsWith(prefix)) return undefined;
    for (const { suffix, kind } of layers) {
      if (path.endsWith(suffix)) {
        return { volume: Number(path.slice(prefix.length, -suffix.length)), kind };
      }
    }
    return undefined;
  }

  #layeredDisk(): Disk {
    const { disk } = this.#options;
    return {
      open: (path, options) => this.#open(path, options),
      list: (directory) => disk.list(directory),
      makeDirectory: (path) => disk.makeDirectory(path),
      remove: async (path) => {
        await removeIfThere(disk, path);
        this.#files.delete(path);
        const place = this.#placeOf(path);
        if (place === undefined) return;
        this.#set(place.volume, place.kind).clear();
        // Not there any more once all of it was merged: the files stay open in layers.
        await removeIfThere(disk, path + stageSuffix);
      },
      rename: (from, to) => disk.rename(from, to),
      syncDirectory: (path) => disk.syncDirectory(path),
    };
  }

  async #open(path: string, options: OpenOptions): Promise<DiskFile> {
    const { disk } = this.#options;
    const place = this.#placeOf(path);
    const base = await disk.open(path, options);
    if (place === undefined) return base;
    const stage = await this.#openStage(path, base);
    const staged = this.#set(place.volume, place.kind);
    const file = new LayeredFile({ base, stage, staged, layering: this.#layering });
    this.#files.set(path, file);
    return file;
  }

  /** The stage beside a file that was opened; if there is no room for it, neither stays open. */
  async #openStage(path: string, base: DiskFile): Promise<DiskFile> {
    const { disk } = this.#options;
    let stage: DiskFile | undefined;
    try {
      stage = await disk.open(path + stageSuffix, { create: true, durableWrites: false });
      const sizeBytes = await base.sizeBytes();
      if ((await stage.sizeBytes()) < sizeBytes) await stage.resize(sizeBytes);
      return stage;
    } catch (error) {
      await stage?.close();
      await base.close();
      throw error;
    }
  }
}
