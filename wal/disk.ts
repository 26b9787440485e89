/**
 * The disk port: everything Casemate asks of a file system, small enough that a simulated disk
 * (unsynced writes lost in any subset, torn sectors, EIO, ENOSPC) can stand in for the real one.
 *
 * Every call names its purpose, so that fault injection, log lines and latency figures can tell
 * "append to the log" from "apply to a volume".
 */

export type DiskPurpose =
  | 'append-log'
  | 'read-log'
  | 'create-segment'
  | 'write-superblock'
  | 'apply-data'
  | 'read-data'
  | 'write-back'
  | 'sync-data'
  | 'punch-hole'
  | 'resize-data'
  | 'write-checksums'
  | 'read-checksums'
  | 'sync-checksums';

export interface OpenOptions {
  /** Create the file when it is missing. */
  readonly create: boolean;
  /**
   * Every write is on stable storage before it resolves (O_DSYNC): one system call instead of a
   * write and a sync.
   */
  readonly durableWrites: boolean;
}

/** One contiguous run of a file that is all allocated or all hole. */
export interface FileExtent {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly allocated: boolean;
}

/** Buffers that belong one after the other at one place of a file. */
export interface PositionedWrite {
  readonly offsetBytes: number;
  readonly buffers: readonly Buffer[];
}

export interface DiskFile {
  readonly path: string;
  /** Reads exactly `target.length` bytes; past the end of the file reads zeros. */
  read(target: Buffer, offsetBytes: number, purpose: DiskPurpose): Promise<void>;
  /**
   * Reads like `read` if that needs no wait for the device; gives false, with `target` undefined,
   * when it would (or when this file system cannot tell).
   */
  readCached(target: Buffer, offsetBytes: number): boolean;
  /** Writes the buffers one after the other from `offsetBytes` on: all of them or an error. */
  write(buffers: readonly Buffer[], offsetBytes: number, purpose: DiskPurpose): Promise<void>;
  /**
   * Does several writes, in any order: all of them or an error. For many small ones, which cost
   * much less in one call.
   */
  writeMany(writes: readonly PositionedWrite[], purpose: DiskPurpose): Promise<void>;
  /**
   * Brings what was written to the range before to the device, and waits for it. No promise that
   * it is on stable storage: `sync` follows, and has less to do. An error is final, as one of
   * `sync` is.
   */
  writeBack(offsetBytes: number, lengthBytes: number): Promise<void>;
  /** fdatasync: what was written before is on stable storage when this resolves. */
  sync(purpose: DiskPurpose): Promise<void>;
  /** Frees the range; it reads as zeros afterwards. The size stays. */
  punchHole(offsetBytes: number, lengthBytes: number): Promise<void>;
  /** Grows or shrinks the file; new space is a hole. */
  resize(sizeBytes: number): Promise<void>;
  sizeBytes(): Promise<number>;
  /** Bytes that the file takes on the device. */
  allocatedBytes(): Promise<number>;
  /** The extents of a range, in order, merged, covering it wholly. */
  extents(offsetBytes: number, lengthBytes: number): Promise<FileExtent[]>;
  close(): Promise<void>;
}

export interface Disk {
  open(path: string, options: OpenOptions): Promise<DiskFile>;
  /** Names (not paths) in a directory, sorted; an empty list if there is no such directory. */
  list(directory: string): Promise<string[]>;
  makeDirectory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** fsync of the directory: names made, moved or removed in it are durable. */
  syncDirectory(path: string): Promise<void>;
}
