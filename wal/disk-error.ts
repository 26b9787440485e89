/**
 * The error that a disk call gives: the errno name as `code`, and what was being done to which
 * file, so that a log line can say "append-log on segment-000004 failed: EIO" without guessing.
 */
import type { Disk, DiskPurpose } from './disk.ts';

/** What a call was for: its purpose, or the name of a call that has none. */
export type DiskOperation =
  | DiskPurpose
  | 'open'
  | 'close'
  | 'size'
  | 'extents'
  | 'list'
  | 'make-directory'
  | 'remove'
  | 'rename'
  | 'sync-directory';

export class DiskError extends Error {
  /** The errno name, such as `EIO` or `ENOSPC`. */
  readonly code: string;
  readonly path: string;
  readonly operation: DiskOperation;

  constructor(code: string, path: string, operation: DiskOperation, cause?: unknown) {
    super(`${operation} on ${path} failed: ${code}`, cause === undefined ? undefined : { cause });
    this.name = 'DiskError';
    this.code = code;
    this.path = path;
    this.operation = operation;
  }
}

/** True if the device or the quota is full: the one disk error that passes by itself. */
export function isOutOfSpace(error: unknown): error is DiskError {
  return error instanceof DiskError && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

/** True if there is no file of that name. */
export function isMissing(error: unknown): error is DiskError {
  return error instanceof DiskError && error.code === 'ENOENT';
}

/** Removes a file; one that is gone already, by whatever way, is as good. */
export async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.remove(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
