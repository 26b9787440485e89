/** The jobs that fio runs, and which targets each is run against. */

import { type BoundName, bareSyncName, boundName, roundTripName } from './bound.ts';
import { casemateName, casemateTcpName } from './casemate-names.ts';
import type { Costs } from './costs.ts';
import type { RunFigures, Workload } from './fio.ts';
import { nbdkitFile, nbdkitFileSynced } from './peers/nbdkit.ts';
import { mirrorName, quorumName, type Variant } from './peers/qemu.ts';
import { qemuNbdCached, qemuNbdSynced } from './peers/qemu-nbd.ts';

export interface Job {
  readonly name: string;
  readonly title: string;
  readonly workload: Workload;
  /** Names of targets; those that are absent on this machine are left out. */
  readonly targets: readonly string[];
  /** Runs so much longer than the others, because it has to span checkpoints. */
  readonly longer?: number;
  /**
   * Bounds that are measured beside the targets, and the bytes that one commit of theirs writes.
   */
  readonly bounds?: { readonly names: readonly BoundName[]; readonly commitBytes: number };
  /** A point of a curve: left out of quick runs unless it is a job in its own right. */
  readonly sweep?: SweepPoint;
  readonly onlyForSweep?: true;
}

export interface SweepPoint {
  readonly name: 'depth' | 'block';
  readonly x: number;
}

/** One run of a job against a target. */
export interface Sample extends RunFigures {
  /** Of all the target's processes together; undefined where no process was watched. */
  readonly cpuUsPerOperation: number | undefined;
  readonly costs?: Costs;
}

const links = ['unix', 'tcp'] as const;
const caches = ['directsync', 'writeback'] as const;
const variants: readonly Variant[] = links.flatMap((link) =>
  caches.map((cache) => ({ cache, link })),
);

/** The quorum mirror in the durability of Casemate, over either link. */
export const sameDurabilityMirrors = links.map((link) => quorumName({ cache: 'directsync', link }));
/** Every two-site mirror in every durability. */
export const mirrors = [...variants.map(quorumName), ...variants.map(mirrorName)];

/** Mirrors without waits for delayed acknowledgements, which stand for their kind in curves. */
export const steadyMirrors = [
  quorumName({ cache: 'directsync', link: 'unix' }),
  mirrorName({ cache: 'directsync', link: 'unix' }),
];
const singleSynced = [nbdkitFileSynced.name, qemuNbdSynced.name];
const singleCached = [nbdkitFile.name, qemuNbdCached.name];

const kibibyte = 1024;
const small = 4 * kibibyte;
const mebibyte = 1024 * kibibyte;

export const jobs: readonly Job[] = [
  {
    name: 'write-qd1',
    title: '4 KiB random write QD1',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 1 },
    targets: [casemateName, casemateTcpName, ...singleSynced, ...mirrors],
    bounds: { names: [boundName, bareSyncName, roundTripName], commitBytes: small },
    sweep: { name: 'depth', x: 1 },
  },
  {
    name: 'write-qd1-flush',
    title: '4 KiB random write QD1, flush after each',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 1, flushEach: true },
    targets: [casemateName, casemateTcpName, ...singleCached, ...mirrors],
  },
  {
    name: 'write-qd32',
    title: '4 KiB random write QD32',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 32 },
    targets: [casemateName, casemateTcpName, ...singleSynced, ...mirrors],
    bounds: { names: [boundName, bareSyncName], commitBytes: 32 * small },
    sweep: { name: 'depth', x: 32 },
  },
  {
    name: 'write-qd128',
    title: '4 KiB random write QD128',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 128 },
    targets: [casemateName, casemateTcpName, ...singleSynced, ...steadyMirrors],
    sweep: { name: 'depth', x: 128 },
  },
  {
    name: 'write-64k',
    title: '64 KiB sequential write QD16',
    workload: { pattern: 'write', blockBytes: 64 * kibibyte, depth: 16 },
    targets: [casemateName, ...singleSynced, ...mirrors],
  },
  {
    name: 'write-1m',
    title: '1 MiB sequential write QD8',
    workload: { pattern: 'write', blockBytes: mebibyte, depth: 8 },
    targets: [casemateName, ...singleSynced, ...mirrors],
  },
  {
    name: 'read-qd1',
    title: '4 KiB random read QD1, cached',
    workload: { pattern: 'randread', blockBytes: small, depth: 1 },
    targets: [casemateName, casemateTcpName, ...singleCached, ...steadyMirrors],
  },
  {
    name: 'read-qd32',
    title: '4 KiB random read QD32, cached',
    workload: { pattern: 'randread', blockBytes: small, depth: 32 },
    targets: [casemateName, casemateTcpName, ...singleCached, ...steadyMirrors],
  },
  {
    name: 'read-1m',
    title: '1 MiB sequential read QD8, cached',
    workload: { pattern: 'read', blockBytes: mebibyte, depth: 8 },
    targets: [casemateName, ...singleCached],
  },
  {
    name: 'mix-qd32',
    title: '4 KiB 70 % reads, 30 % writes QD32',
    workload: { pattern: 'randrw', blockBytes: small, depth: 32, readPercent: 70 },
    targets: [casemateName, ...mirrors],
  },
  {
    name: 'write-tail',
    title: '4 KiB random write QD32, over checkpoints',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 32 },
    targets: [casemateName],
    longer: 4,
  },
  ...[4, 16, 64].map(
    (depth): Job => ({
      name: `depth-${depth}`,
      title: `4 KiB random write QD${depth}`,
      workload: { pattern: 'randwrite', blockBytes: small, depth },
      targets: [casemateName, nbdkitFileSynced.name, ...steadyMirrors],
      sweep: { name: 'depth', x: depth },
      onlyForSweep: true,
    }),
  ),
  ...[4, 16, 64, 256, 1024].map(
    (kibibytes): Job => ({
      name: `block-${kibibytes}k`,
      title: `${kibibytes} KiB random write QD8`,
      workload: { pattern: 'randwrite', blockBytes: kibibytes * kibibyte, depth: 8 },
      targets: [casemateName, nbdkitFileSynced.name, ...steadyMirrors],
      sweep: { name: 'block', x: kibibytes },
      onlyForSweep: true,
    }),
  ),
];
