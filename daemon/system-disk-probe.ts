/**
 * Tries what the log and the data files ask of a disk, on a small file of its own beside them: how
 * long a sync takes, whether holes can be punched, whether writes can go past the page cache. The
 * file is removed whatever happens, also when the process is told to end meanwhile.
 */
import { closeSync, openSync, rmSync } from 'node:fs';
import { constants, type FileHandle, open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { punchHole } from '../wal/system-calls.ts';
import { DirectWriter, directAlignmentBytes } from '../wal/system-direct-write.ts';
import { systemClock } from './system-clock.ts';

export interface DiskFacts {
  readonly fileSystem: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Each one 4 KiB written over and synced (fdatasync), in milliseconds, ascending. */
  readonly syncsMs: readonly number[];
  readonly punchesHoles: boolean;
  /** Whether a write past the page cache (O_DIRECT, kernel AIO) was taken. */
  readonly writesDirectly: boolean;
}

const blockBytes = 4096;
const fileBytes = 1024 * 1024;
const syncMsMax = 1000;

/** File systems by the number that statfs gives. */
const fileSystems: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0xf2f52010, 'f2fs'],
  [0xca451a4e, 'bcachefs'],
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x794c7630, 'overlay'],
  [0x65735546, 'fuse'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb'],
  [0x517b, 'smb'],
  [0x01021997, '9p'],
  [0x00c36400, 'ceph'],
  [0x0bd00bd0, 'lustre'],
  [0x01161970, 'gfs2'],
  [0x7461636f, 'ocfs2'],
]);

/** What kind of file system a directory is on, and its room. */
export async function fileSystemFacts(
  directory: string,
): Promise<Pick<DiskFacts, 'fileSystem' | 'freeBytes' | 'totalBytes'>> {
  const { type, bavail, blocks, bsize } = await statfs(directory);
  return {
    fileSystem: fileSystems.get(type) ?? `0x${type.toString(16)}`,
    freeBytes: bavail * bsize,
    totalBytes: blocks * bsize,
  };
}

/** Writes to a file of its own in the directory, so often and a second at most; removes it. */
export async function probeDisk(directory: string, syncsMax: number): Promise<DiskFacts> {
  const path = join(directory, `.casemate-doctor-${process.pid}`);
  const remove = (): void => rmSync(path, { force: true });
  const forget = removeWhenEnded(remove);
  let file: FileHandle | undefined;
  try {
    // Made without a turn of the event loop: a signal finds it either not there, or removes it.
    closeSync(openSync(path, 'wx', 0o600));
    file = await open(path, 'r+');
    return {
      ...(await fileSystemFacts(directory)),
      syncsMs: await measureSyncs(file, syncsMax),
      punchesHoles: await triesHole(file),
      writesDirectly: await triesDirectWrite(path),
    };
  } finally {
    remove();
    forget();
    await file?.close();
  }
}

/** Runs it before the process ends by a signal; gives what takes that back. */
function removeWhenEnded(remove: () => void): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (signal: NodeJS.Signals): void => {
    remove();
    forget();
    process.kill(process.pid, signal);
  };
  const forget = (): void => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  // Not `once`: that gives a second signal to the system before the file is removed.
  for (const signal of signals) process.on(signal, onSignal);
  return forget;
}

/** As the log does it: blocks of a file that has its space already are written over, and synced. */
async function measureSyncs(file: FileHandle, syncsMax: number): Promise<number[]> {
  await file.write(Buffer.alloc(fileBytes, 'c'), 0, fileBytes, 0);
  await file.sync();
  const block = Buffer.alloc(blockBytes, 'd');
  const startMs = systemClock.nowMs();
  const syncsMs: number[] = [];
  while (syncsMs.length < syncsMax && systemClock.nowMs() - startMs < syncMsMax) {
    await file.write(block, 0, blockBytes, (syncsMs.length * blockBytes) % fileBytes);
    const beforeMs = systemClock.nowMs();
    await file.datasync();
    syncsMs.push(systemClock.nowMs() - beforeMs);
  }
  return syncsMs.sort((left, right) => left - right);
}

/** Whether a hole was made, seen by the space that it gave back. */
async function triesHole(file: FileHandle): Promise<boolean> {
  const before = (await file.stat()).blocks;
  const { code } = await punchHole(file.fd, 0, fileBytes / 2);
  return code === undefined && (await file.stat()).blocks < before;
}

async function triesDirectWrite(path: string): Promise<boolean> {
  const { O_RDWR, O_DSYNC, O_DIRECT } = constants;
  let file: FileHandle | undefined;
  try {
    file = await open(path, O_RDWR | O_DSYNC | O_DIRECT);
    const block = Buffer.alloc(directAlignmentBytes);
    return ((await DirectWriter.make()?.write(file.fd, [block], 0)) ?? -1) === block.length;
  } catch {
    return false;
  } finally {
    await file?.close();
  }
}
