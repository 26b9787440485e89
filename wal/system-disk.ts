/**
 * The real disk: the port of `disk.ts` on `node:fs`, with `system-calls.ts` for what Node lacks.
 * It owns nothing but file descriptors. It never retries and never hides an error (I8 is decided
 * above); every error is a `DiskError`.
 *
 * Writes go through Node's thread pool: one `fs.write` for one buffer, one `fs.writev` for several;
 * many small ones go together (`system-write-batch.ts`).
 */
import fs from 'node:fs';
import type {
  Disk,
  DiskFile,
  DiskPurpose,
  FileExtent,
  OpenOptions,
  PositionedWrite,
} from './disk.ts';
import { DiskError, type DiskOperation } from './disk-error.ts';
import { findData, findHole, punchHole, readWithoutWait, writeBackRange } from './system-calls.ts';
import { DirectWriter } from './system-direct-write.ts';
import {
  batchErrorName,
  type PositionedBuffer,
  writesPerBatchMax,
  writeTogether,
} from './system-write-batch.ts';

/** IOV_MAX of Linux: more buffers than this take several calls. */
const buffersPerCallMax = 1024;
/** One for all files: only the log writes durably, one write after the other. */
let directWriter: DirectWriter | undefined;
const zeroChunk = Buffer.alloc(1024 * 1024);

export class SystemDisk implements Disk {
  async open(path: string, options: OpenOptions): Promise<DiskFile> {
    const { O_RDWR, O_CREAT, O_DSYNC } = fs.constants;
    const flags = O_RDWR | (options.create ? O_CREAT : 0) | (options.durableWrites ? O_DSYNC : 0);
    const fd = await openFile(path, flags);
    if (!options.durableWrites) return new SystemDiskFile(path, fd);
    return new SystemDiskFile(path, fd, await openDirect(path));
  }

  async list(directory: string): Promise<string[]> {
    try {
      return (await fs.promises.readdir(directory)).sort();
    } catch (error) {
      if (errnoName(error) === 'ENOENT') return [];
      throw diskError(error, directory, 'list');
    }
  }

  async makeDirectory(path: string): Promise<void> {
    await named(path, 'make-directory', fs.promises.mkdir(path, { recursive: true, mode: 0o700 }));
  }

  async remove(path: string): Promise<void> {
    await named(path, 'remove', fs.promises.unlink(path));
  }

  async rename(from: string, to: string): Promise<void> {
    await named(from, 'rename', fs.promises.rename(from, to));
  }

  async syncDirectory(path: string): Promise<void> {
    const directory = await named(path, 'sync-directory', fs.promises.open(path, 'r'));
    try {
      await named(path, 'sync-directory', directory.sync());
    } finally {
      await named(path, 'sync-directory', directory.close());
    }
  }
}

/** A file of the real disk. `punchesHoles` turns false once the file system has refused to. */
export class SystemDiskFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  readonly #directFd: number | undefined;
  #readsCached = true;
  #punchesHoles = true;
  #writesBack = true;

  /** `directFd` is the same file, opened to write past the page cache. */
  constructor(path: string, fd: number, directFd?: number) {
    this.path = path;
    this.#fd = fd;
    this.#directFd = directFd;
  }

  /** False: punched ranges are written with zeros instead and keep their space. */
  get punchesHoles(): boolean {
    return this.#punchesHoles;
  }

  read(target: Buffer, offsetBytes: number, purpose: DiskPurpose): Promise<void> {
    return new Promise((resolve, reject) => {
      let doneBytes = 0;
      const onRead = (error: Error | null, countBytes: number): void => {
        if (error) {
          reject(diskError(error, this.path, purpose));
          return;
        }
        doneBytes += countBytes;
        if (countBytes > 0 && doneBytes < target.length) {
          next();
          return;
        }
        if (doneBytes < target.length) target.fill(0, doneBytes);
        resolve();
      };
      const next = (): void => {
        const position = offsetBytes + doneBytes;
        fs.read(this.#fd, target, doneBytes, target.length - doneBytes, position, onRead);
      };
      next();
    });
  }

  readCached(target: Buffer, offsetBytes: number): boolean {
    if (!this.#readsCached) return false;
    const countBytes = readWithoutWait(this.#fd, target, offsetBytes);
    if (countBytes === target.length) return true;
    if (countBytes === -2) this.#readsCached = false;
    return false;
  }

  async write(
    buffers: readonly Buffer[],
    offsetBytes: number,
    purpose: DiskPurpose,
  ): Promise<void> {
    if (buffers.length === 0) return;
    const direct = this.#writeDirect(buffers, offsetBytes);
    if (direct === undefined) return this.#writeInThread(buffers, offsetBytes, purpose);
    const result = await direct;
    if (result < 0) throw new DiskError(batchErrorName(result), this.path, purpose);
    const left = withoutFirst(buffers, result);
    if (left.length > 0) await this.#writeInThread(left, offsetBytes + result, purpose);
  }

  #writeDirect(buffers: readonly Buffer[], offsetBytes: number): Promise<number> | undefined {
    if (this.#directFd === undefined) return undefined;
    directWriter ??= DirectWriter.make();
    return directWriter?.write(this.#directFd, buffers, offsetBytes);
  }

  #writeInThread(
    buffers: readonly Buffer[],
    offsetBytes: number,
    purpose: DiskPurpose,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let left: readonly Buffer[] = buffers;
      let position = offsetBytes;
      const onWritten = (error: Error | null, countBytes: number): void => {
        if (error) {
          reject(diskError(error, this.path, purpose));
          return;
        }
        position += countBytes;
        left = withoutFirst(left, countBytes);
        if (left.length === 0) resolve();
        else next();
      };
      const next = (): void => {
        const only = left.length === 1 ? left[0] : undefined;
        if (only !== undefined) fs.write(this.#fd, only, 0, only.length, position, onWritten);
        else fs.writev(this.#fd, left.slice(0, buffersPerCallMax), position, onWritten);
      };
      next();
    });
  }

  async writeMany(writes: readonly PositionedWrite[], purpose: DiskPurpose): Promise<void> {
    let batch: PositionedBuffer[] = [];
    for (const { buffers, offsetBytes } of writes) {
      let position = offsetBytes;
      for (const buffer of buffers) {
        batch.push({ buffer, offsetBytes: position });
        position += buffer.length;
        if (batch.length < writesPerBatchMax) continue;
        await this.#writeBatch(batch, purpose);
        batch = [];
      }
    }
    await this.#writeBatch(batch, purpose);
  }

  async #writeBatch(batch: readonly PositionedBuffer[], purpose: DiskPurpose): Promise<void> {
    const done = batch.length > 0 ? await writeTogether(this.#fd, batch) : undefined;
    for (let index = 0; index < batch.length; index += 1) {
      const write = batch[index];
      if (write === undefined) break;
      const result = done !== undefined && index < done.submitted ? (done.results[index] ?? 0) : 0;
      if (result < 0) throw new DiskError(batchErrorName(result), this.path, purpose);
      if (result === write.buffer.length) continue;
      const left = result === 0 ? write.buffer : write.buffer.subarray(result);
      await this.#writeInThread([left], write.offsetBytes + result, purpose);
    }
  }

  async writeBack(offsetBytes: number, lengthBytes: number): Promise<void> {
    if (!this.#writesBack) return;
    const { code } = await writeBackRange(this.#fd, offsetBytes, lengthBytes);
    if (code === 'ENOSYS' || code === 'EINVAL' || code === 'ESPIPE') this.#writesBack = false;
    else if (code !== undefined) throw new DiskError(code, this.path, 'write-back');
  }

  sync(purpose: DiskPurpose): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => {
        if (error) reject(diskError(error, this.path, purpose));
        else resolve();
      });
    });
  }

  async punchHole(offsetBytes: number, lengthBytes: number): Promise<void> {
    const sizeBytes = await this.sizeBytes();
    const lengthInFileBytes = Math.min(lengthBytes, sizeBytes - offsetBytes);
    if (lengthInFileBytes <= 0) return;
    if (this.#punchesHoles) {
      const result = await punchHole(this.#fd, offsetBytes, lengthInFileBytes);
      if (result.code === undefined) return;
      if (result.code !== 'EOPNOTSUPP' && result.code !== 'ENOSYS') {
        throw new DiskError(result.code, this.path, 'punch-hole');
      }
      this.#punchesHoles = false;
    }
    await this.#writeZeros(offsetBytes, lengthInFileBytes);
  }

  async #writeZeros(offsetBytes: number, lengthBytes: number): Promise<void> {
    for (let doneBytes = 0; doneBytes < lengthBytes; doneBytes += zeroChunk.length) {
      const chunk = zeroChunk.subarray(0, Math.min(zeroChunk.length, lengthBytes - doneBytes));
      await this.write([chunk], offsetBytes + doneBytes, 'punch-hole');
    }
  }

  resize(sizeBytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#fd, sizeBytes, (error) => {
        if (error) reject(diskError(error, this.path, 'resize-data'));
        else resolve();
      });
    });
  }

  async sizeBytes(): Promise<number> {
    return (await this.#status()).size;
  }

  async allocatedBytes(): Promise<number> {
    return (await this.#status()).blocks * 512;
  }

  #status(): Promise<fs.Stats> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, status) => {
        if (error) reject(diskError(error, this.path, 'size'));
        else resolve(status);
      });
    });
  }

  async extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]> {
    const extents: FileExtent[] = [];
    const end = offsetBytes + lengthBytes;
    let position = offsetBytes;
    const upTo = (limit: number, allocated: boolean): void => {
      const stop = Math.min(limit, end);
      if (stop <= position) return;
      const last = extents.at(-1);
      if (last?.allocated === allocated) {
        const lengthBytes = stop - last.offsetBytes;
        extents[extents.length - 1] = { ...last, lengthBytes };
      } else {
        extents.push({ offsetBytes: position, lengthBytes: stop - position, allocated });
      }
      position = stop;
    };
    while (position < end) {
      const data = await findData(this.#fd, position);
      if (data.code === 'ENXIO') {
        upTo(end, false);
        break;
      }
      upTo(this.#found(data.value, data.code), false);
      if (position >= end) break;
      const hole = await findHole(this.#fd, position);
      // Cut off or punched since the last call: looked at again as no data.
      if (hole.code === 'ENXIO') continue;
      upTo(this.#found(hole.value, hole.code), true);
    }
    return extents;
  }

  #found(value: number, code: string | undefined): number {
    if (code !== undefined) throw new DiskError(code, this.path, 'extents');
    return value;
  }

  async close(): Promise<void> {
    const { path } = this;
    if (this.#directFd !== undefined) await closeFile(path, this.#directFd);
    await closeFile(path, this.#fd);
  }
}

function openFile(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, 0o600, (error, fd) => {
      if (error) reject(diskError(error, path, 'open'));
      else resolve(fd);
    });
  });
}

/** Gives undefined where the file system has no direct access (EINVAL): then it does without. */
async function openDirect(path: string): Promise<number | undefined> {
  const { O_RDWR, O_DSYNC, O_DIRECT } = fs.constants;
  try {
    return await openFile(path, O_RDWR | O_DSYNC | O_DIRECT);
  } catch {
    return undefined;
  }
}

function closeFile(path: string, fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, (error) => {
      if (error) reject(diskError(error, path, 'close'));
      else resolve();
    });
  });
}

/** What is left of the buffers after their first `countBytes` bytes. */
function withoutFirst(buffers: readonly Buffer[], countBytes: number): readonly Buffer[] {
  let leftBytes = countBytes;
  for (let index = 0; index < buffers.length; index += 1) {
    const buffer = buffers[index];
    if (buffer === undefined) break;
    if (leftBytes >= buffer.length) {
      leftBytes -= buffer.length;
      continue;
    }
    if (leftBytes === 0) return buffers.slice(index);
    return [buffer.subarray(leftBytes), ...buffers.slice(index + 1)];
  }
  return [];
}

async function named<T>(path: string, operation: DiskOperation, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw diskError(error, path, operation);
  }
}

function diskError(error: unknown, path: string, operation: DiskOperation): DiskError {
  return new DiskError(errnoName(error), path, operation, error);
}

function errnoName(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'EIO';
}
