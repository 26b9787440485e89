/**
 * Real input: an ext4 file system with a few thousand real files of this machine, made without
 * mounting, and the hashes of its files to compare with what comes back.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { runOk } from './run-command.ts';

export interface Ext4Image {
  readonly path: string;
  readonly sizeBytes: number;
  /** SHA-256 of each file by its path within the file system. */
  readonly files: ReadonlyMap<string, string>;
}

const roots = ['/usr/share/doc', '/usr/share/perl', '/usr/share/zoneinfo'];

/** Makes an image of `sizeBytes` from files below /usr/share, about `fileCount` of them. */
export async function makeExt4Image(
  directory: string,
  sizeBytes: number,
  fileCount: number,
): Promise<Ext4Image> {
  const tree = join(directory, 'tree');
  const files = new Map<string, string>();
  let bytes = 0;
  for (const root of roots) {
    for (const source of regularFiles(root)) {
      if (files.size >= fileCount || bytes > sizeBytes / 2) break;
      const name = relative('/usr/share', source);
      const target = join(tree, name);
      mkdirSync(join(target, '..'), { recursive: true });
      cpSync(source, target);
      const content = readFileSync(target);
      bytes += content.length;
      files.set(name, createHash('sha256').update(content).digest('hex'));
    }
  }
  const path = join(directory, 'image.ext4');
  await runOk('mke2fs', ['-q', '-t', 'ext4', '-d', tree, path, `${sizeBytes / 1024}k`]);
  return { path, sizeBytes, files };
}

function* regularFiles(directory: string): IterableIterator<string> {
  let entries: ReturnType<typeof list>;
  try {
    entries = list(directory);
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* regularFiles(path);
    else if (entry.isFile() && statSync(path).size > 0) yield path;
  }
}

function list(directory: string) {
  return readdirSync(directory, { withFileTypes: true });
}

/** Checks a copy of the image: `e2fsck -fn`, then the hash of every file. Throws if one is off. */
export async function verifyExt4Copy(
  image: Ext4Image,
  copyPath: string,
  directory: string,
): Promise<number> {
  await runOk('e2fsck', ['-fn', copyPath]);
  const target = join(directory, 'dumped');
  mkdirSync(target, { recursive: true });
  await runOk('debugfs', ['-R', `rdump / ${target}`, copyPath]);
  let compared = 0;
  for (const [name, hash] of image.files) {
    const found = createHash('sha256')
      .update(readFileSync(join(target, name)))
      .digest('hex');
    if (found !== hash) throw new Error(`${name} differs in the copy`);
    compared += 1;
  }
  return compared;
}
