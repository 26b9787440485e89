/**
 * The real disk, of which a part can be made to fail or to stall: for what no signal and no file
 * system does to a process at will. Everything else goes through.
 */
import type { Disk, DiskFile, DiskPurpose, OpenOptions, PositionedWrite } from '../../wal/disk.ts';
import { DiskError } from '../../wal/disk-error.ts';
import { SystemDisk } from '../../wal/system-disk.ts';

export class FaultyDisk implements Disk {
  readonly #disk = new SystemDisk();
  #failing: { readonly purpose: DiskPurpose; readonly code: string } | undefined;
  #stalled: { readonly purpose: DiskPurpose; readonly over: Promise<void> } | undefined;
  #release: () => void = () => undefined;
  /** Calls that wait for `release`. */
  waiting = 0;
  /** Directories as they were synced, oldest first. */
  readonly syncedDirectories: string[] = [];

  /** Every write, sync and resize for this purpose fails from now on, with this errno name. */
  fail(purpose: DiskPurpose, code: string): void {
    this.#failing = { purpose, code };
  }

  /** Nothing fails any more. */
  mend(): void {
    this.#failing = undefined;
  }

  /** Writes, syncs and resizes for this purpose wait, until `release`. */
  stall(purpose: DiskPurpose): void {
    const over = new Promise<void>((resolve) => {
      this.#release = resolve;
    });
    this.#stalled = { purpose, over };
  }

  release(): void {
    this.#release();
    this.#stalled = undefined;
  }

  /** Called before each of these; throws or waits if that is the fault. */
  async pass(path: string, purpose: DiskPurpose): Promise<void> {
    if (this.#stalled?.purpose === purpose) {
      this.waiting += 1;
      await this.#stalled.over;
      this.waiting -= 1;
    }
    if (this.#failing?.purpose !== purpose) return;
    throw new DiskError(this.#failing.code, path, purpose);
  }

  async open(path: string, options: OpenOptions): Promise<DiskFile> {
    return new FaultyFile(this, await this.#disk.open(path, options));
  }

  list(directory: string): Promise<string[]> {
    return this.#disk.list(directory);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path);
  }

  remove(path: string): Promise<void> {
    return this.#disk.remove(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#disk.syncDirectory(path);
    this.syncedDirectories.push(path);
  }
}

class FaultyFile implements DiskFile {
  readonly #disk: FaultyDisk;
  readonly #file: DiskFile;

  constructor(disk: FaultyDisk, file: DiskFile) {
    this.#disk = disk;
    this.#file = file;
  }

  get path(): string {
    return this.#file.path;
  }

  read(...parameters: Parameters<DiskFile['read']>): Promise<void> {
    return this.#file.read(...parameters);
  }

  readCached(target: Buffer, offsetBytes: number): boolean {
    return this.#file.readCached(target, offsetBytes);
  }

  async write(buffers: readonly Buffer[], at: number, purpose: DiskPurpose): Promise<void> {
    await this.#disk.pass(this.path, purpose);
    await this.#file.write(buffers, at, purpose);
  }

  async writeMany(writes: readonly PositionedWrite[], purpose: DiskPurpose): Promise<void> {
    await this.#disk.pass(this.path, purpose);
    await this.#file.writeMany(writes, purpose);
  }

  writeBack(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#file.writeBack(offsetBytes, lengthBytes);
  }

  async sync(purpose: DiskPurpose): Promise<void> {
    await this.#disk.pass(this.path, purpose);
    await this.#file.sync(purpose);
  }

  punchHole(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#file.punchHole(offsetBytes, lengthBytes);
  }

  async resize(sizeBytes: number): Promise<void> {
    await this.#disk.pass(this.path, 'resize-data');
    await this.#file.resize(sizeBytes);
  }

  sizeBytes(): Promise<number> {
    return this.#file.sizeBytes();
  }

  allocatedBytes(): Promise<number> {
    return this.#file.allocatedBytes();
  }

  extents(...parameters: Parameters<DiskFile['extents']>): ReturnType<DiskFile['extents']> {
    return this.#file.extents(...parameters);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
