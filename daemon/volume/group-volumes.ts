/**
 * The volumes of one group on this site, and how committed frames take effect on them: data goes to
 * the volume's store, and records that add, resize or remove a volume change the table, in their
 * place in the order (R40). Nothing uncommitted ever gets here (I3).
 */
import type { DirtyMap } from '../../replication/resync/dirty-map.ts';
import type { FileExtent } from '../../wal/disk.ts';
import { type Frame, type LogRecord, recordKind } from '../../wal/frame.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';
import { Queue } from './queue.ts';
import { parseVolumeAdd, parseVolumeRemove, parseVolumeResize } from './record-payloads.ts';
import type { Volume } from './volume.ts';

/** A volume as the group's records say it is, at some sequence. */
export interface VolumeEntry {
  readonly volume: number;
  readonly name: string;
  readonly sizeBytes: number;
}

/** An entry as it is kept with a checkpoint: removed volumes stay, so no number is used twice. */
export interface StoredVolumeEntry extends VolumeEntry {
  readonly removed: boolean;
}

export interface GroupVolumesHost {
  /** `isNew`: it begins empty, whatever files there are. */
  openStore(volume: number, sizeBytes: number, isNew: boolean): Promise<VolumeStore>;
  makeVolume(entry: VolumeEntry, store: VolumeStore): Volume;
  /** The table has changed: exports come and go. */
  tableChanged(): void;
  /** Files of removed volumes stay: they are part of an image that can be gone back to (R26). */
  keepsFiles(): boolean;
  /** A volume's files are removed once the checkpoint has passed its removal. */
  failed(error: unknown): void;
}

interface Committed {
  readonly frame: Frame;
  readonly givenBack: boolean;
  readonly done: () => void;
}

interface Removed {
  readonly store: VolumeStore;
  readonly sequence: number;
}

export class GroupVolumes {
  readonly #host: GroupVolumesHost;
  readonly #byNumber = new Map<number, Volume>();
  readonly #waiting = new Queue<Committed>();
  readonly #removed: Removed[] = [];
  /** Entries of volumes that were removed, ever. */
  readonly #tombstones: VolumeEntry[] = [];
  #busy = false;
  #replaying = { on: false, throughSequence: 0 };
  #processed = 0;
  #highestNumber = 0;
  /** Takes note of committed records while the other site lacks them (R27). */
  changes: DirtyMap | undefined;

  constructor(host: GroupVolumesHost) {
    this.#host = host;
  }

  /** Opens the volumes that were there at the checkpoint. */
  async load(entries: readonly StoredVolumeEntry[], checkpointSequence: number): Promise<void> {
    this.#processed = checkpointSequence;
    for (const { removed, volume, name, sizeBytes } of entries) {
      this.#highestNumber = Math.max(this.#highestNumber, volume);
      if (removed) this.#tombstones.push({ volume, name, sizeBytes });
      else await this.#add({ volume, name, sizeBytes }, false);
    }
  }

  get all(): IterableIterator<Volume> {
    return this.#byNumber.values();
  }

  get count(): number {
    return this.#byNumber.size;
  }

  byNumber(volume: number): Volume | undefined {
    return this.#byNumber.get(volume);
  }

  byName(name: string): Volume | undefined {
    for (const volume of this.#byNumber.values()) if (volume.name === name) return volume;
    return undefined;
  }

  /** A number that no volume of this group has had. */
  get nextNumber(): number {
    return this.#highestNumber + 1;
  }

  table(): StoredVolumeEntry[] {
    const present = [...this.#byNumber.values()].map(({ number, name, sizeBytes }) => ({
      volume: number,
      name,
      sizeBytes,
      removed: false,
    }));
    return [...present, ...this.#tombstones.map((entry) => ({ ...entry, removed: true }))];
  }

  /**
   * A frame is committed: its records take effect, then `done` is called; in the same tick unless
   * this frame or one before it changes the table. `givenBack`: nobody else looks at its payloads.
   */
  commit(frame: Frame, givenBack: boolean, done: () => void): void {
    if (this.#busy) {
      this.#waiting.push({ frame, givenBack, done });
      return;
    }
    const later = this.#process(frame, givenBack);
    if (later === undefined) {
      this.#processed = frame.lastSequence;
      done();
      return;
    }
    this.#busy = true;
    this.#finish(later, { frame, givenBack, done });
  }

  /** All records up to here are in effect: readable, in the data files or on their way there. */
  get committedThrough(): number {
    return this.#processed;
  }

  /**
   * Whether reads show everything up to the commit point. Not so while a record changes the table:
   * what is committed after it waits, and the other site may have answered it, in an earlier reign
   * or as a standby (R15, R37).
   */
  shows(commit: number): boolean {
    return this.#processed >= commit;
  }

  /** All records up to here are in the data files of their volumes (not yet durable there). */
  get appliedThrough(): number {
    let applied = this.#processed;
    for (const volume of this.#byNumber.values()) {
      applied = Math.min(applied, volume.store.appliedThrough);
    }
    for (const removed of this.#removed) {
      applied = Math.min(applied, removed.store.appliedThrough);
    }
    return applied;
  }

  /** A change of the table is under way. */
  get busy(): boolean {
    return this.#busy;
  }

  get backlogBytes(): number {
    let bytes = 0;
    for (const volume of this.#byNumber.values()) bytes += volume.store.backlogBytes;
    return bytes;
  }

  /** Makes durable, in the data files, what was applied before the call. */
  async sync(): Promise<void> {
    await Promise.all([...this.#byNumber.values()].map((volume) => volume.store.sync()));
  }

  /** The checkpoint is durable: files of volumes that were removed before it go (R40). */
  async checkpointed(sequence: number): Promise<void> {
    if (this.#host.keepsFiles()) return;
    for (const removed of this.#removed.splice(0)) {
      if (removed.sequence <= sequence) await removed.store.remove();
      else this.#removed.push(removed);
    }
  }

  async idle(): Promise<void> {
    for (const volume of this.#byNumber.values()) await volume.store.idle();
  }

  /**
   * While the log is replayed, blocks may be half applied already; afterwards those of records up
   * to `throughSequence` still may, until these are applied again.
   */
  setReplaying(on: boolean, throughSequence = 0): void {
    this.#replaying = { on, throughSequence };
    for (const volume of this.#byNumber.values()) volume.store.setReplaying(on, throughSequence);
  }

  /**
   * Closes all volumes and opens those of `entries` as of `sequence` (R26): a resync begins, or is
   * given up. Clients of a volume that stays do. Nothing is committed meanwhile.
   */
  async replace(entries: readonly StoredVolumeEntry[], sequence: number): Promise<void> {
    await this.close();
    const before = new Map(this.#byNumber);
    this.#byNumber.clear();
    this.#removed.length = 0;
    this.#tombstones.length = 0;
    this.#processed = sequence;
    for (const { removed, volume: number, name, sizeBytes } of entries) {
      this.#highestNumber = Math.max(this.#highestNumber, number);
      const entry = { volume: number, name, sizeBytes };
      if (removed) {
        this.#tombstones.push(entry);
        continue;
      }
      const store = await this.#host.openStore(number, sizeBytes, false);
      const same = before.get(number);
      // Of two sides of a split each may have given the number to a volume of its own.
      const volume = same?.name === name ? same : this.#host.makeVolume(entry, store);
      volume.replaceStore(store, sizeBytes);
      this.#byNumber.set(number, volume);
    }
    this.#replaying = { on: false, throughSequence: 0 };
    this.#host.tableChanged();
  }

  async close(): Promise<void> {
    for (const volume of this.#byNumber.values()) await volume.store.close();
    for (const removed of this.#removed) await removed.store.close();
  }

  /** Removes the files of all volumes: the group is gone. */
  async removeFiles(): Promise<void> {
    for (const volume of this.#byNumber.values()) await volume.store.remove();
    for (const removed of this.#removed) await removed.store.remove();
    this.#byNumber.clear();
  }

  #finish(later: Promise<void>, committed: Committed): void {
    later.then(
      () => {
        this.#busy = false;
        this.#processed = committed.frame.lastSequence;
        this.#host.tableChanged();
        committed.done();
        for (;;) {
          if (this.#busy) return;
          const next = this.#waiting.shift();
          if (next === undefined) return;
          this.commit(next.frame, next.givenBack, next.done);
        }
      },
      (error: unknown) => this.#host.failed(error),
    );
  }

  #process(frame: Frame, givenBack: boolean): Promise<void> | undefined {
    const { records } = frame;
    const first = records[0];
    if (first === undefined) return undefined;
    this.changes?.mark(records);
    const plain = records.every(
      (record) => record.volume === first.volume && record.kind <= recordKind.trim,
    );
    if (plain) {
      this.#byNumber.get(first.volume)?.store.commit(records, frame.lastSequence, givenBack);
      return undefined;
    }
    if (records.every((record) => record.kind <= recordKind.trim)) {
      this.#commitByVolume(records, frame.lastSequence, givenBack);
      return undefined;
    }
    return this.#processTable(frame);
  }

  #commitByVolume(records: readonly LogRecord[], sequence: number, givenBack: boolean): void {
    const byVolume = new Map<number, LogRecord[]>();
    for (const record of records) {
      const list = byVolume.get(record.volume);
      if (list === undefined) byVolume.set(record.volume, [record]);
      else list.push(record);
    }
    for (const [volume, list] of byVolume) {
      this.#byNumber.get(volume)?.store.commit(list, sequence, givenBack);
    }
  }

  async #processTable(frame: Frame): Promise<void> {
    for (const record of frame.records) {
      switch (record.kind) {
        case recordKind.volumeAdd:
          await this.#add(parseVolumeAdd(record), true);
          break;
        case recordKind.volumeResize: {
          const { volume: number, sizeBytes } = parseVolumeResize(record);
          const volume = this.#byNumber.get(number);
          if (volume === undefined || volume.sizeBytes >= sizeBytes) break;
          await volume.store.resize(sizeBytes);
          volume.setSize(sizeBytes);
          break;
        }
        case recordKind.volumeRemove: {
          const { volume: number } = parseVolumeRemove(record);
          const volume = this.#byNumber.get(number);
          if (volume === undefined) break;
          this.#byNumber.delete(number);
          this.#tombstones.push({ volume: number, name: volume.name, sizeBytes: volume.sizeBytes });
          this.#removed.push({ store: volume.store, sequence: frame.lastSequence });
          break;
        }
        case recordKind.epochStart:
          break;
        default:
          this.#byNumber.get(record.volume)?.store.commit([record], frame.lastSequence);
      }
    }
  }

  async #add(entry: VolumeEntry, isNew: boolean): Promise<void> {
    this.#highestNumber = Math.max(this.#highestNumber, entry.volume);
    // Replaying a volumeAdd that a checkpoint has seen already, or whose volume is gone again.
    if (this.#byNumber.has(entry.volume)) return;
    if (this.#tombstones.some(({ volume }) => volume === entry.volume)) return;
    const store = await this.#host.openStore(entry.volume, entry.sizeBytes, isNew);
    store.setReplaying(this.#replaying.on, this.#replaying.throughSequence);
    this.#byNumber.set(entry.volume, this.#host.makeVolume(entry, store));
  }
}

/** Turns file extents into the runs that a client is shown. */
export function statusExtents(
  extents: readonly FileExtent[],
): { lengthBytes: number; hole: boolean }[] {
  return extents.map(({ lengthBytes, allocated }) => ({ lengthBytes, hole: !allocated }));
}
