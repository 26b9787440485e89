/**
 * A file in two layers: the file itself, and a sparse stage beside it that has the blocks in which
 * a newer state differs from it. While `staging`, writes go to the stage only, so that the file
 * stays the old image, whole and untouched; when `merging`, the newer state is the one that counts,
 * writes go to the file, and what the stage has moves there bit by bit. Reads see the newer state
 * at every time.
 *
 * Which blocks are in the stage is kept by the owner, as of the last sync (`syncedChanges`): a
 * block counts as staged from when its write was done, and as merged likewise, so whatever a crash
 * leaves, each block is found where it was synced. Whoever writes the same block twice at once gets
 * either; the owner sees to it that nobody does.
 *
 * All offsets and lengths are whole blocks, which is how data and checksum files are used.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes } from './checksum.ts';
import type { DiskFile, DiskPurpose, FileExtent, PositionedWrite } from './disk.ts';
import { isOutOfSpace } from './disk-error.ts';
import { chunkNumbers, type SetChanges, type SparseSet } from './sparse-set.ts';

/** What moves from the stage to the file at once. */
const mergeBlocksMax = 256;

export interface Layering {
  readonly merging: boolean;
  /** The stage may not, or cannot, grow. Gives whether the layers are merging now. */
  full(): Promise<boolean>;
  /** Would so many more bytes be too many? */
  exceeds(bytes: number): boolean;
}

interface Blocks {
  readonly first: number;
  readonly end: number;
}

interface Busy extends Blocks {
  readonly done: Promise<void>;
}

export class LayeredFile implements DiskFile {
  readonly path: string;
  readonly #base: DiskFile;
  readonly #stage: DiskFile;
  readonly #layering: Layering;
  /** Blocks that are in the stage. */
  readonly staged: SparseSet;
  #synced: SetChanges = { chunks: [], versions: new Map() };
  /** Chunks that have left the stage, whose room it has not given up yet. */
  readonly #left = new Set<number>();
  /** Writes, and moves from the stage to the file, that are under way. */
  readonly #busy = new Set<Busy>();
  #closing = false;

  constructor(parts: {
    readonly base: DiskFile;
    readonly stage: DiskFile;
    readonly staged: SparseSet;
    readonly layering: Layering;
  }) {
    this.#base = parts.base;
    this.#stage = parts.stage;
    this.staged = parts.staged;
    this.#layering = parts.layering;
    this.path = parts.base.path;
  }

  async read(target: Buffer, offsetBytes: number, purpose: DiskPurpose): Promise<void> {
    for (const { file, part, at } of this.#parts(target, offsetBytes)) {
      await file.read(part, at, purpose);
    }
  }

  readCached(target: Buffer, offsetBytes: number): boolean {
    for (const { file, part, at } of this.#parts(target, offsetBytes)) {
      if (!file.readCached(part, at)) return false;
    }
    return true;
  }

  write(buffers: readonly Buffer[], offsetBytes: number, purpose: DiskPurpose): Promise<void> {
    const lengthBytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    return this.#change([blocksOf(offsetBytes, lengthBytes)], (file) =>
      file.write(buffers, offsetBytes, purpose),
    );
  }

  writeMany(writes: readonly PositionedWrite[], purpose: DiskPurpose): Promise<void> {
    const ranges = writes.map(({ offsetBytes, buffers }) =>
      blocksOf(
        offsetBytes,
        buffers.reduce((sum, buffer) => sum + buffer.length, 0),
      ),
    );
    return this.#change(ranges, (file) => file.writeMany(writes, purpose));
  }

  punchHole(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#change([blocksOf(offsetBytes, lengthBytes)], (file) =>
      file.punchHole(offsetBytes, lengthBytes),
    );
  }

  async writeBack(offsetBytes: number, lengthBytes: number): Promise<void> {
    await this.#stage.writeBack(offsetBytes, lengthBytes);
    await this.#base.writeBack(offsetBytes, lengthBytes);
  }

  /** What was written before is durable, and so is where it is once `syncedChanges` are kept. */
  async sync(purpose: DiskPurpose): Promise<void> {
    const changes = this.staged.changes();
    await this.#stage.sync(purpose);
    if (this.#layering.merging) await this.#base.sync(purpose);
    this.#synced = changes;
  }

  async resize(sizeBytes: number): Promise<void> {
    await this.#base.resize(sizeBytes);
    await this.#stage.resize(sizeBytes);
  }

  sizeBytes(): Promise<number> {
    return this.#base.sizeBytes();
  }

  async allocatedBytes(): Promise<number> {
    return (await this.#base.allocatedBytes()) + (await this.#stage.allocatedBytes());
  }

  async extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]> {
    const merged: FileExtent[] = [];
    const endBytes = offsetBytes + lengthBytes;
    const end = Math.ceil(endBytes / blockSizeBytes);
    for (let first = Math.floor(offsetBytes / blockSizeBytes); first < end; ) {
      const runEnd = this.staged.runEnd(first, end);
      const from = Math.max(offsetBytes, first * blockSizeBytes);
      const to = Math.min(endBytes, runEnd * blockSizeBytes);
      for (const extent of await this.#layerOf(first).extents(from, to - from)) {
        const last = merged.at(-1);
        if (last === undefined || last.allocated !== extent.allocated) merged.push(extent);
        else {
          const bytes = last.lengthBytes + extent.lengthBytes;
          merged[merged.length - 1] = { ...last, lengthBytes: bytes };
        }
      }
      first = runEnd;
    }
    return merged;
  }

  /** Waits for what is being moved; nothing is moved after it. */
  async close(): Promise<void> {
    this.#closing = true;
    // What waited for the same has begun by then.
    while (this.#busy.size > 0) await Promise.all([...this.#busy].map(({ done }) => done));
    await this.#base.close();
    await this.#stage.close();
  }

  // --- for the owner of the stage

  /** Where blocks are, as far as it has changed and the last sync made it true. */
  syncedChanges(): SetChanges {
    return this.#synced;
  }

  /** These changes are kept: what has left the stage with them is to be found in the file. */
  kept(changes: SetChanges): void {
    this.staged.kept(changes);
    if (this.#synced === changes) this.#synced = { chunks: [], versions: new Map() };
    if (!this.#layering.merging) return;
    for (const { chunk, bits } of changes.chunks) if (bits === undefined) this.#left.add(chunk);
  }

  /**
   * The stage gives up the room of what has left it, as is kept. Not where that takes room itself,
   * and there is none: it is tried again the next time.
   */
  async release(): Promise<void> {
    const chunkBytes = chunkNumbers * blockSizeBytes;
    for (const chunk of [...this.#left]) {
      if (this.#closing) return;
      const first = chunk * chunkNumbers;
      try {
        await this.#exclusively([{ first, end: first + chunkNumbers }], () =>
          this.#stage.punchHole(chunk * chunkBytes, chunkBytes),
        );
      } catch (error) {
        if (!isOutOfSpace(error)) throw error;
        return;
      }
      this.#left.delete(chunk);
    }
  }

  /** Moves some blocks from the stage to the file; false: none are left, or it is being closed. */
  async mergeSome(): Promise<boolean> {
    assert(this.#layering.merging, 'only a stage that is complete or given up is merged');
    if (this.#closing) return false;
    const first = this.staged.next(0);
    if (first === undefined) return false;
    const end = this.staged.runEnd(first, first + mergeBlocksMax);
    await this.#exclusively([{ first, end }], async () => {
      for (let at = first; at < end && !this.#closing; ) {
        const runEnd = this.staged.runEnd(at, end);
        // Written anew meanwhile, which took it out of the stage.
        if (this.staged.has(at)) await this.#move({ first: at, end: runEnd });
        at = runEnd;
      }
    });
    return true;
  }

  async #move({ first, end }: Blocks): Promise<void> {
    const offsetBytes = first * blockSizeBytes;
    for (const extent of await this.#stage.extents(offsetBytes, (end - first) * blockSizeBytes)) {
      if (!extent.allocated) {
        await this.#base.punchHole(extent.offsetBytes, extent.lengthBytes);
        continue;
      }
      const content = Buffer.allocUnsafeSlow(extent.lengthBytes);
      await this.#stage.read(content, extent.offsetBytes, 'read-data');
      await this.#base.write([content], extent.offsetBytes, 'apply-data');
    }
    this.staged.delete(first, end);
  }

  async #change(
    ranges: readonly Blocks[],
    change: (file: DiskFile) => Promise<void>,
  ): Promise<void> {
    if (!this.#layering.merging && (await this.#stages(ranges, change))) return;
    await this.#exclusively(ranges, async () => {
      await change(this.#base);
      for (const { first, end } of ranges) this.staged.delete(first, end);
    });
  }

  /** False: there is no room for it, and the layers are merging now. */
  async #stages(
    ranges: readonly Blocks[],
    change: (file: DiskFile) => Promise<void>,
  ): Promise<boolean> {
    const bytes = ranges.reduce((sum, { first, end }) => sum + end - first, 0) * blockSizeBytes;
    if (this.#layering.exceeds(bytes) && (await this.#layering.full())) return false;
    try {
      await this.#exclusively(ranges, async () => {
        await change(this.#stage);
        for (const { first, end } of ranges) this.staged.add(first, end);
      });
      return true;
    } catch (error) {
      if (!isOutOfSpace(error) || !(await this.#layering.full())) throw error;
      return false;
    }
  }

  /** Nobody writes a block that is being moved, nor the other way round. */
  async #exclusively(ranges: readonly Blocks[], task: () => Promise<void>): Promise<void> {
    for (;;) {
      const other = [...this.#busy].find((busy) => ranges.some((range) => overlap(range, busy)));
      if (other === undefined) break;
      await other.done;
    }
    const running = task();
    const done = running.catch(() => undefined);
    const entries = ranges.map((range) => ({ ...range, done }));
    for (const entry of entries) this.#busy.add(entry);
    try {
      await running;
    } finally {
      for (const entry of entries) this.#busy.delete(entry);
    }
  }

  #layerOf(block: number): DiskFile {
    return this.staged.has(block) ? this.#stage : this.#base;
  }

  *#parts(
    target: Buffer,
    offsetBytes: number,
  ): IterableIterator<{ readonly file: DiskFile; readonly part: Buffer; readonly at: number }> {
    const { first: start, end } = blocksOf(offsetBytes, target.length);
    if (this.staged.size === 0) {
      yield { file: this.#base, part: target, at: offsetBytes };
      return;
    }
    for (let first = start; first < end; ) {
      const runEnd = this.staged.runEnd(first, end);
      const from = (first - start) * blockSizeBytes;
      const part = target.subarray(from, (runEnd - start) * blockSizeBytes);
      yield { file: this.#layerOf(first), part, at: first * blockSizeBytes };
      first = runEnd;
    }
  }
}

function blocksOf(offsetBytes: number, lengthBytes: number): Blocks {
  assert(offsetBytes % blockSizeBytes === 0, 'a layered file is used by whole blocks');
  assert(lengthBytes % blockSizeBytes === 0, 'a layered file is used by whole blocks');
  const first = offsetBytes / blockSizeBytes;
  return { first, end: first + lengthBytes / blockSizeBytes };
}

function overlap(one: Blocks, other: Blocks): boolean {
  return one.first < other.end && other.first < one.end;
}
