/**
 * Small files that a site is pointed to by its configuration (certificates, keys, passwords), and
 * what room a file system has; and files that come with the program.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CasemateError } from './errors.ts';

/**
 * The text of the file at `path`, which the configuration names as `key`.
 * @throws CasemateError ERR_CONFIG_FILE if it can't be read.
 */
export function readNamedFile(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_CONFIG_FILE', `the file that ${key} names can't be read: ${why}`, {
      hint: 'It has to be there, readable by the user that the daemon runs as.',
      cause,
    });
  }
}

/** Bytes that may still be written to the file system of `path`. */
export async function freeBytesAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** Bytes that the files directly in a directory take on disk; 0 without it. */
export function bytesBelow(directory: string): number {
  try {
    return readdirSync(directory).reduce(
      (sum, name) => sum + statSync(join(directory, name)).blocks * 512,
      0,
    );
  } catch {
    return 0;
  }
}

/** The text of a file that comes with the program, by its path in the repository or package. */
export function readOwnFile(path: string): string {
  // This file runs from dist/daemon/.
  return readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
}
