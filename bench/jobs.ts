/** The jobs that fio runs, and which targets each is run against. */

import { boundName } from './bound.ts';
import { casemateName } from './casemate.ts';
import type { RunFigures, Workload } from './fio.ts';
import { nbdkitFile, nbdkitFileSynced } from './peers/nbdkit.ts';
import { mirrorName, quorumName, type Variant } from './peers/qemu.ts';

export interface Job {
  readonly name: string;
  readonly title: string;
  readonly workload: Workload;
  /** Names of targets; those that are absent on this machine are left out. */
  readonly targets: readonly string[];
  /** Runs so much longer than the others, because it has to span checkpoints. */
  readonly longer?: number;
  /** With `boundName` among the targets: bytes that one commit of the bound writes. */
  readonly boundCommitBytes?: number;
}

/** One run of a job against a target. */
export interface Sample extends RunFigures {
  /** Of all the target's processes together; undefined where no process was watched. */
  readonly cpuUsPerOperation: number | undefined;
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

const kibibyte = 1024;
const small = 4 * kibibyte;
const mebibyte = 1024 * kibibyte;

export const jobs: readonly Job[] = [
  {
    name: 'write-qd1',
    title: '4 KiB random write QD1',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 1 },
    targets: [casemateName, boundName, nbdkitFileSynced.name, ...mirrors],
    boundCommitBytes: small,
  },
  {
    name: 'write-qd1-flush',
    title: '4 KiB random write QD1, flush after each',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 1, flushEach: true },
    targets: [casemateName, nbdkitFile.name, ...mirrors],
  },
  {
    name: 'write-qd32',
    title: '4 KiB random write QD32',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 32 },
    targets: [casemateName, boundName, nbdkitFileSynced.name, ...mirrors],
    boundCommitBytes: 32 * small,
  },
  {
    name: 'write-qd128',
    title: '4 KiB random write QD128',
    workload: { pattern: 'randwrite', blockBytes: small, depth: 128 },
    targets: [casemateName, nbdkitFileSynced.name],
  },
  {
    name: 'write-64k',
    title: '64 KiB sequential write QD16',
    workload: { pattern: 'write', blockBytes: 64 * kibibyte, depth: 16 },
    targets: [casemateName, nbdkitFileSynced.name, ...mirrors],
  },
  {
    name: 'write-1m',
    title: '1 MiB sequential write QD8',
    workload: { pattern: 'write', blockBytes: mebibyte, depth: 8 },
    targets: [casemateName, nbdkitFileSynced.name, ...mirrors],
  },
  {
    name: 'read-qd1',
    title: '4 KiB random read QD1, cached',
    workload: { pattern: 'randread', blockBytes: small, depth: 1 },
    targets: [casemateName, nbdkitFile.name],
  },
  {
    name: 'read-qd32',
    title: '4 KiB random read QD32, cached',
    workload: { pattern: 'randread', blockBytes: small, depth: 32 },
    targets: [casemateName, nbdkitFile.name],
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
];
