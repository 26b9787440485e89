/** One open file of the simulated disk (`simulated-disk.ts`): its calls, cut into steps. */
import type { DiskFile, DiskPurpose, FileExtent, PositionedWrite } from '../../wal/disk.ts';
import { DiskError, type DiskOperation } from '../../wal/disk-error.ts';
import type { SeededRandom } from './seeded-random.ts';
import { pageSizeBytes, type SimulatedPages } from './simulated-pages.ts';

/** What a file needs of its disk. */
export interface FileHost {
  nextChangeId(): number;
  readonly lastChangeId: number;
  isCached(): boolean;
  call<T>(
    operation: DiskOperation,
    path: string,
    steps: readonly (() => void)[],
    finish: () => T,
    onFault?: () => void,
  ): Promise<T>;
}

export class SimulatedFile implements DiskFile {
  readonly path: string;
  readonly #disk: FileHost;
  readonly #pages: SimulatedPages;
  readonly #durableWrites: boolean;
  readonly #random: SeededRandom;
  #closed = false;

  constructor(
    disk: FileHost,
    path: string,
    pages: SimulatedPages,
    durableWrites: boolean,
    random: SeededRandom,
  ) {
    this.#disk = disk;
    this.path = path;
    this.#pages = pages;
    this.#durableWrites = durableWrites;
    this.#random = random;
  }

  read(target: Buffer, offsetBytes: number, purpose: DiskPurpose): Promise<void> {
    this.#assertOpen();
    // In two halves, so that a write under way at the same time may be seen torn.
    const middle = target.length > 512 ? this.#random.below(target.length / 512) * 512 : 0;
    const half = (start: number, end: number) => () =>
      this.#pages.read(target.subarray(start, end), offsetBytes + start);
    const steps = [half(0, middle), half(middle, target.length)];
    return this.#disk.call(purpose, this.path, steps, () => undefined);
  }

  readCached(target: Buffer, offsetBytes: number): boolean {
    this.#assertOpen();
    if (offsetBytes + target.length > this.#pages.sizeBytes) return false;
    if (!this.#disk.isCached()) return false;
    this.#pages.read(target, offsetBytes);
    return true;
  }

  write(buffers: readonly Buffer[], offsetBytes: number, purpose: DiskPurpose): Promise<void> {
    this.#assertOpen();
    const data = buffers.length === 1 && buffers[0] ? buffers[0] : Buffer.concat(buffers);
    const end = offsetBytes + data.length;
    const sectors = Math.floor(end / 512) - Math.floor(offsetBytes / 512);
    const cut = (Math.floor(offsetBytes / 512) + this.#random.below(sectors + 1)) * 512;
    const middle = Math.min(Math.max(cut - offsetBytes, 0), data.length);
    const ids: number[] = [];
    const part = (from: number, to: number) => () => {
      if (from >= to) return;
      const id = this.#disk.nextChangeId();
      ids.push(id);
      this.#pages.write(data.subarray(from, to), offsetBytes + from, id);
    };
    return this.#disk.call(purpose, this.path, [part(0, middle), part(middle, data.length)], () => {
      if (!this.#durableWrites) return;
      for (const id of ids) this.#pages.makeWriteDurable(data, offsetBytes, id);
    });
  }

  async writeMany(writes: readonly PositionedWrite[], purpose: DiskPurpose): Promise<void> {
    const calls = writes.map((write) => this.write(write.buffers, write.offsetBytes, purpose));
    for (const result of await Promise.allSettled(calls)) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  /** The device may have the range or not after it, as without it: nothing is promised. */
  writeBack(): Promise<void> {
    this.#assertOpen();
    const nothing = (): void => undefined;
    return this.#disk.call('write-back', this.path, [], nothing, nothing);
  }

  sync(purpose: DiskPurpose): Promise<void> {
    this.#assertOpen();
    const covered = this.#disk.lastChangeId;
    return this.#disk.call(
      purpose,
      this.path,
      [],
      () => this.#pages.makeDurable(covered),
      () => this.#pages.loseTrack(covered),
    );
  }

  punchHole(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#assertOpen();
    return this.#disk.call('punch-hole', this.path, [], () => {
      const end = Math.min(offsetBytes + lengthBytes, this.#pages.sizeBytes);
      const id = this.#disk.nextChangeId();
      this.#pages.punch(offsetBytes, Math.max(0, end - offsetBytes), id);
    });
  }

  resize(sizeBytes: number): Promise<void> {
    this.#assertOpen();
    return this.#disk.call('resize-data', this.path, [], () =>
      this.#pages.resize(sizeBytes, this.#disk.nextChangeId()),
    );
  }

  sizeBytes(): Promise<number> {
    this.#assertOpen();
    return this.#disk.call('size', this.path, [], () => this.#pages.sizeBytes);
  }

  allocatedBytes(): Promise<number> {
    this.#assertOpen();
    return this.#disk.call('size', this.path, [], () => this.#pages.allocatedBytes());
  }

  extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]> {
    this.#assertOpen();
    return this.#disk.call('extents', this.path, [], () => this.#extents(offsetBytes, lengthBytes));
  }

  close(): Promise<void> {
    this.#assertOpen();
    this.#closed = true;
    return this.#disk.call('close', this.path, [], () => undefined);
  }

  #extents(offsetBytes: number, lengthBytes: number): FileExtent[] {
    const extents: FileExtent[] = [];
    const end = offsetBytes + lengthBytes;
    for (let position = offsetBytes; position < end; ) {
      const index = Math.floor(position / pageSizeBytes);
      const next = Math.min(end, (index + 1) * pageSizeBytes);
      const allocated = this.#pages.isAllocated(index);
      const last = extents.at(-1);
      if (last?.allocated === allocated) {
        extents[extents.length - 1] = { ...last, lengthBytes: next - last.offsetBytes };
      } else extents.push({ offsetBytes: position, lengthBytes: next - position, allocated });
      position = next;
    }
    return extents;
  }

  #assertOpen(): void {
    if (this.#closed) throw new DiskError('EBADF', this.path, 'close');
  }
}
