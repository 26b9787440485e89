/**
 * What the doctor asks of this machine: files and who may use them, mounts and block devices,
 * limits of the kernel. It reads, and changes nothing.
 */
import { accessSync, constants, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { basename, dirname, join } from 'node:path';

export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'socket' | 'other';
  /** Permission bits. */
  readonly mode: number;
  readonly userId: number;
  readonly groupId: number;
  /** By the user that was asked about, or by this process. */
  readonly readable: boolean;
  readonly writable: boolean;
}

/** Who a daemon runs as. */
export interface HostUser {
  readonly userId: number;
  readonly groupId: number;
}

/**
 * What is at a path; undefined if nothing is, or it can't be looked at. For another user than this
 * process's own the permission bits of the path itself are looked at.
 */
export function fileFacts(path: string, user?: HostUser): FileFacts | undefined {
  try {
    const status = statSync(path);
    const kinds = [
      ['file', status.isFile()],
      ['directory', status.isDirectory()],
      ['socket', status.isSocket()],
    ] as const;
    return {
      kind: kinds.find(([, is]) => is)?.[0] ?? 'other',
      mode: status.mode & 0o7777,
      userId: status.uid,
      groupId: status.gid,
      readable: user === undefined ? may(path, constants.R_OK) : permits(status, user, 0o4),
      writable: user === undefined ? may(path, constants.W_OK) : permits(status, user, 0o2),
    };
  } catch {
    return undefined;
  }
}

/** Whether the bits of a file let a user read (4) or write (2) it. */
function permits(
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
  { userId, groupId }: HostUser,
  bit: 0o4 | 0o2,
): boolean {
  const place = uid === userId ? 6 : gid === groupId ? 3 : 0;
  return ((mode >> place) & bit) !== 0;
}

function may(path: string, what: number): boolean {
  try {
    accessSync(path, what);
    return true;
  } catch {
    return false;
  }
}

/** The path itself, or the nearest directory above it that there is. */
export function nearestExisting(path: string): string {
  let nearest = path;
  while (fileFacts(nearest) === undefined && dirname(nearest) !== nearest) {
    nearest = dirname(nearest);
  }
  return nearest;
}

/** The user that this process runs as. */
export function ownUserId(): number {
  return process.geteuid?.() ?? 0;
}

/** The user of that name, if the machine's own list has one. */
export function namedUser(name: string): HostUser | undefined {
  const line = textOf('/etc/passwd')
    ?.split('\n')
    .find((each) => each.startsWith(`${name}:`));
  const [, , userId, groupId] = line?.split(':') ?? [];
  if (userId === undefined || groupId === undefined) return undefined;
  return { userId: Number(userId), groupId: Number(groupId) };
}

/** Name of a user as the machine's own list has it; its number if it is not there. */
export function userName(userId: number): string {
  const line = textOf('/etc/passwd')
    ?.split('\n')
    .find((each) => Number(each.split(':')[2]) === userId && each.split(':').length > 3);
  return line?.split(':')[0] ?? `user ${userId}`;
}

/** Text of a file that the kernel offers; undefined if there is none. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** One physical or virtual disk under a file system. */
export interface BlockDevice {
  readonly name: string;
  readonly rotating: boolean;
  /** "write back": it has a volatile cache, which a sync has to flush. */
  readonly writeCache: string | undefined;
  /** Made by a hypervisor, or a file or memory of this machine: what is below can't be seen. */
  readonly virtual: boolean;
}

/** How far down a stack of devices (RAID, encryption, logical volumes) is looked. */
const depthMax = 6;
const virtualName = /^(?:vd|xvd|loop|zram|ram|nbd|rbd)/;
const hypervisorModel = /QEMU|VBOX|VMware|Virtual|Amazon|Google|PersistentDisk/i;

/** The disks under the file system of a path; none if they can't be found. */
export function blockDevicesOf(path: string): readonly BlockDevice[] {
  const number = deviceNumberOf(path);
  if (number === undefined) return [];
  const found = new Map<string, BlockDevice>();
  try {
    collect(realpathSync(`/sys/dev/block/${number}`), found, depthMax);
  } catch {
    return [];
  }
  return [...found.values()];
}

function collect(place: string, found: Map<string, BlockDevice>, depth: number): void {
  const disk = textOf(join(place, 'queue/rotational')) === undefined ? dirname(place) : place;
  const below = namesIn(join(disk, 'slaves'));
  if (below.length > 0 && depth > 0) {
    for (const name of below) collect(realpathSync(join(disk, 'slaves', name)), found, depth - 1);
    return;
  }
  const rotating = textOf(join(disk, 'queue/rotational'));
  if (rotating === undefined) return;
  const name = basename(disk);
  const model = textOf(join(disk, 'device/model')) ?? '';
  found.set(name, {
    name,
    rotating: rotating === '1',
    writeCache: textOf(join(disk, 'queue/write_cache')),
    virtual: virtualName.test(name) || hypervisorModel.test(model),
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** "major:minor" of the disk: of a file system that shows a number of its own, its source's. */
function deviceNumberOf(path: string): string | undefined {
  try {
    const own = numberText(statSync(path).dev);
    if (!own.startsWith('0:')) return own;
    const mount = textOf('/proc/self/mountinfo')
      ?.split('\n')
      .map((line) => line.split(' '))
      .find((fields) => fields[2] === own);
    const source = mount?.[mount.indexOf('-') + 2];
    return source?.startsWith('/dev/') ? numberText(statSync(source).rdev) : undefined;
  } catch {
    return undefined;
  }
}

function numberText(device: number): string {
  const wide = BigInt(device);
  const major = ((wide >> 8n) & 0xfffn) | ((wide >> 32n) & ~0xfffn);
  const minor = (wide & 0xffn) | ((wide >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

export interface KernelLimits {
  /** The process whose limits these are; undefined: this one's, which a daemon would inherit. */
  readonly processId: number | undefined;
  /** Descriptors that it may open; Node.js raises the soft limit to the hard one. */
  readonly openFilesMax: number;
  readonly aioMax: number | undefined;
  readonly aioTaken: number | undefined;
  readonly memoryBytes: number;
}

/** Of a process, if this user may see it, or of this one. */
export function kernelLimits(processId?: number): KernelLimits {
  const own = textOf('/proc/self/limits') ?? '';
  const there = processId === undefined ? undefined : textOf(`/proc/${processId}/limits`);
  const limits = there ?? own;
  const [, hard] = /^Max open files +\S+ +(\S+)/m.exec(limits) ?? [];
  const number = (path: string): number | undefined => {
    const text = textOf(path);
    return text === undefined ? undefined : Number(text);
  };
  return {
    processId: there === undefined ? undefined : processId,
    openFilesMax:
      hard === undefined || hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard),
    aioMax: number('/proc/sys/fs/aio-max-nr'),
    aioTaken: number('/proc/sys/fs/aio-nr'),
    memoryBytes: totalmem(),
  };
}
