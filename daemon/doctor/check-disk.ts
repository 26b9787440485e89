/** The disk under the data directory: whether it keeps its word, and has room. */
import { join } from 'node:path';
import type { StatusAnswer } from '../api/schemas.ts';
import { formatSize } from '../config/sizes.ts';
import { type DiskFacts, fileSystemFacts, probeDisk } from '../system-disk-probe.ts';
import { bytesBelow } from '../system-files.ts';
import { type BlockDevice, blockDevicesOf, fileFacts, nearestExisting } from '../system-host.ts';
import { type Finding, findingsOf, wordsOf } from './finding.ts';
import type { Running } from './running.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('disk');

const inMemory = ['tmpfs', 'ramfs'];
const overNetwork = ['nfs', 'cifs', 'smb', '9p', 'ceph', 'lustre', 'gfs2', 'ocfs2'];
const inBetween = ['fuse', 'overlay'];
/** No command to a device and back is faster: a sync that is does not reach it. */
const flushMsLeast = 0.02;
/** A turn of a fast disk takes four milliseconds; half of a sync in a quarter of one is no luck. */
const rotationMsLeast = 1;
const syncMsSlow = 20;
const freeShare = 0.05;
/** Writes that are measured: few where a daemon's own may wait behind them. */
const syncsAlone = 100;
const syncsBeside = 10;

export async function checkDisk(subject: Subject, running: Running): Promise<Finding[]> {
  const directory = nearestExisting(subject.dataDirectory);
  const devices = blockDevicesOf(directory);
  const room = roomNeeded(subject, running);
  if (fileFacts(directory)?.writable !== true) {
    const facts = await fileSystemFacts(directory);
    const text = `the disk was not tried: this user can't write to ${directory}`;
    const untried = warning(text, "Run the doctor as the daemon's user.");
    return [...fileSystemFindings(facts.fileSystem), ...roomFindings(facts, room), untried];
  }
  let facts: DiskFacts;
  try {
    facts = await probeDisk(directory, running.kind === 'stopped' ? syncsAlone : syncsBeside);
  } catch (reason) {
    const text = `the disk can't be written to in ${directory}: ${wordsOf(reason)}`;
    return [error(text, 'See the kernel log (`dmesg`) for errors of the disk, and `df`.')];
  }
  return judgeDisk(facts, devices, room);
}

export interface RoomNeeded {
  /** Of the log: preallocated, so it is taken at the start at the latest. */
  readonly logBytes: number;
  /** What the volumes may still grow by. */
  readonly volumeBytes: number;
}

function roomNeeded({ dataDirectory, logBytes }: Subject, running: Running): RoomNeeded {
  const taken = bytesBelow(join(dataDirectory, 'log'));
  const groups = running.kind === 'running' ? (running.status?.groups ?? []) : [];
  return { logBytes: Math.max(0, logBytes - taken), volumeBytes: unallocated(groups) };
}

function unallocated(groups: StatusAnswer['groups']): number {
  return groups
    .flatMap(({ volumes }) => volumes)
    .reduce((sum, each) => sum + Math.max(0, each.sizeBytes - each.allocatedBytes), 0);
}

/** What the probe means, with what the kernel says of the devices below. */
export function judgeDisk(
  facts: DiskFacts,
  devices: readonly BlockDevice[],
  room: RoomNeeded,
): Finding[] {
  const places = fileSystemFindings(facts.fileSystem);
  const lies = places.length > 0 ? [] : devices.flatMap((device) => lieFindings(facts, device));
  const features: Finding[] = [];
  if (!facts.punchesHoles) {
    const text = `${facts.fileSystem} here can't punch holes: what clients trim keeps its space`;
    features.push(warning(text, 'Put the data directory on ext4 or XFS.'));
  }
  if (!facts.writesDirectly) {
    const text = `${facts.fileSystem} here takes no writes past the page cache: commits take longer`;
    features.push(warning(text, 'Put the data directory on ext4 or XFS; see fs.aio-max-nr too.'));
  }
  const findings = [...places, ...lies, ...features, ...roomFindings(facts, room)];
  return [...syncFindings(facts, devices), ...findings];
}

function fileSystemFindings(name: string): Finding[] {
  if (inMemory.includes(name)) {
    const text = `the data directory is in memory (${name}): a restart of the machine empties it`;
    return [error(text, 'Set dataDirectory to a directory on a disk.')];
  }
  if (overNetwork.includes(name)) {
    const text = `the data directory is on a network file system (${name})`;
    return [error(text, 'Set dataDirectory to a local disk: syncs and locks depend on a server.')];
  }
  if (inBetween.includes(name)) {
    const text = `the data directory is on ${name}: what a sync does there is for others to say`;
    return [warning(text, 'Set dataDirectory to a directory on ext4 or XFS itself.')];
  }
  return [];
}

const middle = (sorted: readonly number[]): number => sorted[sorted.length >> 1] ?? 0;
const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : Math.round(ms)} ms`;

function syncFindings(
  { fileSystem, syncsMs }: DiskFacts,
  devices: readonly BlockDevice[],
): Finding[] {
  const half = middle(syncsMs);
  const names = devices.map(({ name, writeCache }) => `${name}: ${writeCache ?? 'cache unknown'}`);
  const where = names.length === 0 ? fileSystem : `${fileSystem}, ${names.join('; ')}`;
  const longest = milliseconds(syncsMs.at(-1) ?? 0);
  const text =
    `fdatasync takes ${milliseconds(half)}, at most ${longest}, in ${syncsMs.length} writes ` +
    `of 4 KiB (${where})`;
  if (half <= syncMsSlow) return [ok(text)];
  return [
    warning(text, 'Every write waits for it on both sites: use a disk with a protected cache.'),
  ];
}

/** Where the measured times can't be those of a disk that has kept what it was told to keep. */
function lieFindings({ syncsMs }: DiskFacts, device: BlockDevice): Finding[] {
  const half = middle(syncsMs);
  const { name, rotating, writeCache, virtual } = device;
  const volatile = writeCache === 'write back';
  if (volatile && half < flushMsLeast) {
    const text = `${name} has a volatile write cache, and a sync takes ${milliseconds(half)}: it does not reach the disk`;
    const advice = `Look for nobarrier, libeatmydata or a cache mode of the hypervisor such as "unsafe"; or turn the cache off: hdparm -W0 /dev/${name}`;
    return [warning(text, advice)];
  }
  if (rotating && !virtual && half < rotationMsLeast) {
    const text = `${name} turns, and syncs in ${milliseconds(half)}: faster than a disk can, so a cache answers for it`;
    const advice = `Make sure that the controller's cache has a battery; if there is none: hdparm -W0 /dev/${name}`;
    return [warning(text, advice)];
  }
  return [];
}

function roomFindings(
  { freeBytes, totalBytes }: Pick<DiskFacts, 'freeBytes' | 'totalBytes'>,
  { logBytes, volumeBytes }: RoomNeeded,
): Finding[] {
  const free = formatSize(freeBytes);
  if (freeBytes < logBytes) {
    const text = `${free} are free, the log (log.sizeBytes) still takes ${formatSize(logBytes)}`;
    return [error(text, 'Make room, or make log.sizeBytes smaller before the first start.')];
  }
  if (freeBytes < totalBytes * freeShare) {
    const text = `${free} of ${formatSize(totalBytes)} are free`;
    return [warning(text, 'Make room: a full disk stops every write to the volumes.')];
  }
  if (freeBytes < logBytes + volumeBytes) {
    const text = `${free} are free, the volumes can still grow by ${formatSize(volumeBytes)}`;
    return [warning(text, 'Watch the room, or make more: a full disk stops every write to them.')];
  }
  return [ok(`${free} are free`)];
}
