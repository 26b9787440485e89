/**
 * The volumes of one group on this site, and how committed frames take effect on them: data goes to
 * the volume's store, and records that add, resize or remove a volume change the table, in their
 * place in the order (R40). Nothing uncommitted ever gets here (I3).
 */
import type { DirtyMap } from '../../replication/resync/dirty-map.ts';
import type { FileExtent } from '../../wal/disk.ts';
import { type Frame, frameWeightBytes, type LogRecord, recordKind } from '../../wal/frame.ts';
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

/** How a volume's files are opened. */
export interface OpenHow {
  /** It begins empty, whatever files there are. */
  readonly isNew: boolean;
  /**
   * The volumes were closed or replaced meanwhile: it rejects rather than touch files that may be
   * those of another volume by then.
   */
  readonly isOver: () => boolean;
}

export interface GroupVolumesHost {
  openStore(volume: number, sizeBytes: number, how: OpenHow): Promise<VolumeStore>;
  makeVolume(entry: VolumeEntry, store: VolumeStore): Volume;
  /** The table has changed: exports come and go. */
  tableChanged(): void;
  /** What waited for a change of the table has gone on, and the backlog may be smaller. */
  progressed(): void;
  /** Files of removed volumes stay: they are part of an image that can be gone back to (R26). */
  keepsFiles(): boolean;
  /** A volume's files are removed once the checkpoint has passed its removal. */
  failed(error: unknown): void;
}

interface Committed {
  readonly frame: Frame;
  readonly givenBack: boolean;
  readonly done: () => void;
  readonly dropped: () => void;
}

interface Removed {
  readonly store: VolumeStore;
  readonly sequence: number;
  /** Its files could not be removed, and that was told. */
  isTold: boolean;
}

export class GroupVolumes {
  readonly #host: GroupVolumesHost;
  readonly #byNumber = new Map<number, Volume>();
  readonly #waiting = new Queue<Committed>();
  #waitingBytes = 0;
  readonly #removed: Removed[] = [];
  /** Entries of volumes that were removed, ever. */
  readonly #tombstones: VolumeEntry[] = [];
  #busy = false;
  #isOpen = true;
  /** Raised by each closing and replacing: what was under way before it counts no more. */
  #generation = 0;
  /** What opens or removes files; who closes the volumes waits for its end. */
  readonly #underWay = new Set<Promise<unknown>>();
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
    const isOver = this.#overCheck();
    this.#processed = checkpointSequence;
    for (const { removed, volume, name, sizeBytes } of entries) {
      this.#highestNumber = Math.max(this.#highestNumber, volume);
      if (removed) this.#tombstones.push({ volume, name, sizeBytes });
      else await this.#add({ volume, name, sizeBytes }, { isNew: false, isOver });
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
   * `dropped` is called instead if the volumes are closed or replaced before it takes effect.
   */
  commit(
    frame: Frame,
    givenBack: boolean,
    done: () => void,
    dropped: () => void = () => undefined,
  ): void {
    if (!this.#isOpen) {
      dropped();
      return;
    }
    if (this.#busy) {
      this.#waiting.push({ frame, givenBack, done, dropped });
      this.#waitingBytes += frameWeightBytes(frame);
      return;
    }
    const later = this.#process(frame, givenBack);
    if (later === undefined) {
      this.#processed = frame.lastSequence;
      done();
      return;
    }
    this.#busy = true;
    this.#finish(later, { frame, givenBack, done, dropped });
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

  /** What is committed and not in the data files, as it counts in the limits. */
  get backlogBytes(): number {
    let bytes = this.#waitingBytes;
    for (const volume of this.#byNumber.values()) bytes += volume.store.backlogBytes;
    return bytes;
  }

  /** Makes durable, in the data files, what was applied before the call. */
  async sync(): Promise<void> {
    await Promise.all([...this.#byNumber.values()].map((volume) => volume.store.sync()));
  }

  /**
   * The checkpoint is durable: files of volumes that were removed before it go (R40). Rejects when
   * some can't be removed, once; later checkpoints try again.
   */
  async checkpointed(sequence: number): Promise<void> {
    if (this.#host.keepsFiles() || !this.#isOpen) return;
    await this.#track(this.#removeFiles(sequence));
  }

  async #removeFiles(sequence: number): Promise<void> {
    const isOver = this.#overCheck();
    const all = this.#removed.splice(0);
    this.#removed.push(...all.filter((removed) => removed.sequence > sequence));
    const untold: unknown[] = [];
    for (const removed of all) {
      if (removed.sequence > sequence) continue;
      try {
        await removed.store.remove();
      } catch (error) {
        if (isOver()) continue;
        this.#removed.push(removed);
        if (!removed.isTold) untold.push(error);
        removed.isTold = true;
      }
    }
    if (untold.length > 0) throw untold[0];
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
   * given up. Clients of a volume that stays do. What waited for a change of the table is dropped,
   * and so is what is committed meanwhile. If the volumes are closed meanwhile, they stay closed.
   */
  replace(entries: readonly StoredVolumeEntry[], sequence: number): Promise<void> {
    const earlier = this.#end();
    return this.#track(this.#replace(entries, sequence, earlier));
  }

  async #replace(
    entries: readonly StoredVolumeEntry[],
    sequence: number,
    earlier: readonly Promise<unknown>[],
  ): Promise<void> {
    const isOver = this.#overCheck();
    await this.#closeStores(earlier);
    const present = entries.filter(({ removed }) => !removed);
    const stores = await this.#openStores(present, isOver);
    if (stores === undefined) return;
    const before = new Map(this.#byNumber);
    this.#byNumber.clear();
    this.#removed.length = 0;
    this.#tombstones.length = 0;
    this.#processed = sequence;
    for (const { removed, volume: number, name, sizeBytes } of entries) {
      this.#highestNumber = Math.max(this.#highestNumber, number);
      const entry = { volume: number, name, sizeBytes };
      const store = stores.get(number);
      if (removed || store === undefined) {
        this.#tombstones.push(entry);
        continue;
      }
      const same = before.get(number);
      // Of two sides of a split each may have given the number to a volume of its own.
      const volume = same?.name === name ? same : this.#host.makeVolume(entry, store);
      volume.replaceStore(store, sizeBytes);
      this.#byNumber.set(number, volume);
    }
    this.#replaying = { on: false, throughSequence: 0 };
    this.#isOpen = true;
    this.#host.tableChanged();
  }

  /** All of them, or none: undefined if the volumes were closed meanwhile. */
  async #openStores(
    entries: readonly VolumeEntry[],
    isOver: () => boolean,
  ): Promise<Map<number, VolumeStore> | undefined> {
    const stores = new Map<number, VolumeStore>();
    try {
      for (const { volume, sizeBytes } of entries) {
        if (isOver()) break;
        stores.set(volume, await this.#host.openStore(volume, sizeBytes, { isNew: false, isOver }));
      }
      if (!isOver()) return stores;
    } catch (error) {
      for (const store of stores.values()) await store.close();
      if (!isOver()) throw error;
      return undefined;
    }
    for (const store of stores.values()) await store.close();
    return undefined;
  }

  /**
   * Closes the files of all volumes, with those that a change of the table is about to open; it and
   * what waits for it are dropped.
   */
  async close(): Promise<void> {
    await this.#closeStores(this.#end());
  }

  /** What is under way counts no more; gives what has to end before files are opened anew. */
  #end(): readonly Promise<unknown>[] {
    this.#generation += 1;
    this.#isOpen = false;
    this.#busy = false;
    this.#waitingBytes = 0;
    for (const { dropped } of this.#waiting.drain()) dropped();
    return [...this.#underWay];
  }

  async #closeStores(earlier: readonly Promise<unknown>[]): Promise<void> {
    for (const volume of this.#byNumber.values()) await volume.store.close();
    for (const removed of this.#removed) await removed.store.close();
    await Promise.allSettled(earlier);
  }

  #overCheck(): () => boolean {
    const generation = this.#generation;
    return () => generation !== this.#generation;
  }

  #track(task: Promise<void>): Promise<void> {
    this.#underWay.add(task);
    const ended = (): void => {
      this.#underWay.delete(task);
    };
    task.then(ended, ended);
    return task;
  }

  #finish(later: Promise<void>, committed: Committed): void {
    const isOver = this.#overCheck();
    this.#track(later).then(
      () => {
        if (isOver()) {
          committed.dropped();
          return;
        }
        this.#busy = false;
        this.#processed = committed.frame.lastSequence;
        this.#host.tableChanged();
        committed.done();
        this.#commitWaiting();
        this.#host.progressed();
      },
      (error: unknown) => {
        if (isOver()) committed.dropped();
        else this.#host.failed(error);
      },
    );
  }

  #commitWaiting(): void {
    while (!this.#busy) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#waitingBytes -= frameWeightBytes(next.frame);
      this.commit(next.frame, next.givenBack, next.done, next.dropped);
    }
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
    const isOver = this.#overCheck();
    for (const record of frame.records) {
      if (isOver()) return;
      switch (record.kind) {
        case recordKind.volumeAdd:
          await this.#add(parseVolumeAdd(record), { isNew: true, isOver });
          break;
        case recordKind.volumeResize: {
          const { volume: number, sizeBytes } = parseVolumeResize(record);
          const volume = this.#byNumber.get(number);
          if (volume === undefined || volume.sizeBytes >= sizeBytes) break;
          await volume.store.resize(sizeBytes);
          if (!isOver()) volume.setSize(sizeBytes);
          break;
        }
        case recordKind.volumeRemove: {
          const { volume: number } = parseVolumeRemove(record);
          const volume = this.#byNumber.get(number);
          if (volume === undefined) break;
          this.#byNumber.delete(number);
          this.#tombstones.push({ volume: number, name: volume.name, sizeBytes: volume.sizeBytes });
          const { store } = volume;
          this.#removed.push({ store, sequence: frame.lastSequence, isTold: false });
          break;
        }
        case recordKind.epochStart:
          break;
        default:
          this.#byNumber.get(record.volume)?.store.commit([record], frame.lastSequence);
      }
    }
  }

  async #add(entry: VolumeEntry, how: OpenHow): Promise<void> {
    this.#highestNumber = Math.max(this.#highestNumber, entry.volume);
    // Replaying a volumeAdd that a checkpoint has seen already, or whose volume is gone again.
    if (this.#byNumber.has(entry.volume)) return;
    if (this.#tombstones.some(({ volume }) => volume === entry.volume)) return;
    const store = await this.#host.openStore(entry.volume, entry.sizeBytes, how);
    if (how.isOver()) {
      await store.close();
      return;
    }
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
