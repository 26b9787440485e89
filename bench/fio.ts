/**
 * fio as the load generator: one run of a job against NBD exports, and its figures out of fio's
 * JSON. The nbd engine is libnbd; one connection per export.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, run } from '../test/support/run-command.ts';
import { type Latency, latencyOf } from './statistics.ts';

export interface Workload {
  readonly pattern: 'randwrite' | 'randread' | 'write' | 'read' | 'randrw';
  readonly blockBytes: number;
  /** Requests in flight on each export. */
  readonly depth: number;
  /** A flush after each write. */
  readonly flushEach?: boolean;
  /** What was written is read back now and then, and compared; a difference fails the run. */
  readonly verified?: boolean;
  /** Of a `randrw`, how many percent are reads. */
  readonly readPercent?: number;
}

/**
 * One run. Rates count reads and writes together; latencies are of writes if there are any, but for
 * the longest, which is of both.
 */
export interface RunFigures {
  readonly operations: number;
  readonly writeOperations: number;
  readonly writtenBytes: number;
  readonly operationsPerSecond: number;
  readonly mebibytesPerSecond: number;
  readonly latency: Latency;
}

export interface FioOptions {
  readonly uris: readonly string[];
  readonly workload: Workload;
  /** How much of each export is used, from its start. */
  readonly sizeBytes: number;
  /** Time of the run; without it the size is gone through once. */
  readonly seconds?: number;
  /** Where fio may leave its output for a moment. */
  readonly directory: string;
}

/** A run that goes through its exports once may take so long. */
const fillSeconds = 300;
/** A run that is held (a site is stopped) is given up so long after its time. */
const graceSeconds = 60;

let runs = 0;

/** Runs fio once. Throws, with what it said, when it fails or a request does. */
export async function runFio(options: FioOptions): Promise<RunFigures> {
  runs += 1;
  const outputPath = join(options.directory, `fio-${runs}.json`);
  const limitSeconds = String(Math.ceil(options.seconds ?? fillSeconds) + graceSeconds);
  const result = await run('timeout', [
    '--foreground',
    '--kill-after=5',
    limitSeconds,
    'fio',
    ...fioParameters(options, outputPath),
  ]);
  const problem = (text: string): Error =>
    new Error(`fio ${options.workload.pattern}: ${text} ${result.stderr}${result.stdout}`);
  if (result.code !== 0) throw problem(`exit ${result.code}:`);
  const job = readJob(outputPath, result);
  rmSync(outputPath, { force: true });
  if (job.error !== 0) throw problem(`error ${job.error}`);
  return figures(job);
}

function fioParameters(options: FioOptions, outputPath: string): string[] {
  const { workload, seconds } = options;
  const global = [
    '--ioengine=nbd',
    '--thread',
    '--group_reporting',
    // What is verified must not be written twice before it is read.
    ...(workload.verified === true ? [] : ['--norandommap']),
    '--randrepeat=0',
    '--percentile_list=50:99:99.9',
    '--output-format=json',
    `--output=${outputPath}`,
    `--rw=${workload.pattern}`,
    `--bs=${workload.blockBytes}`,
    `--iodepth=${workload.depth}`,
    `--size=${options.sizeBytes}`,
  ];
  if (workload.flushEach === true) global.push('--fsync=1');
  if (workload.verified === true) global.push('--verify=crc32c', '--verify_backlog=512');
  if (workload.readPercent !== undefined) global.push(`--rwmixread=${workload.readPercent}`);
  if (seconds === undefined) global.push('--refill_buffers');
  else global.push('--time_based', `--runtime=${Math.round(seconds * 1000)}ms`);
  return [
    ...global,
    ...options.uris.flatMap((uri, index) => [`--name=export-${index}`, `--uri=${uri}`]),
  ];
}

interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly io_bytes: number;
  readonly clat_ns: { readonly max: number; readonly percentile?: Record<string, number> };
}

interface FioJob {
  readonly error: number;
  readonly read: FioDirection;
  readonly write: FioDirection;
}

function readJob(path: string, result: CommandResult): FioJob {
  let document: unknown;
  try {
    const text = readFileSync(path, 'utf8');
    // libnbd's notices may stand before the document.
    document = JSON.parse(text.slice(text.indexOf('{')));
  } catch (cause) {
    throw new Error(`fio gave no figures: ${result.stderr}`, { cause });
  }
  if (!isFioDocument(document)) throw new Error('fio gave figures of an unknown form');
  const job = document.jobs[0];
  if (job === undefined) throw new Error('fio gave figures of no job');
  return job;
}

function isFioDocument(value: unknown): value is { jobs: FioJob[] } {
  if (typeof value !== 'object' || value === null || !('jobs' in value)) return false;
  return (
    Array.isArray(value.jobs) &&
    value.jobs.every((job) => typeof job?.error === 'number' && 'read' in job && 'write' in job)
  );
}

function figures({ read, write }: FioJob): RunFigures {
  return {
    operations: read.total_ios + write.total_ios,
    writeOperations: write.total_ios,
    writtenBytes: write.io_bytes,
    operationsPerSecond: read.iops + write.iops,
    mebibytesPerSecond: (read.bw_bytes + write.bw_bytes) / 2 ** 20,
    latency: {
      ...directionLatency(write.total_ios > 0 ? write : read),
      // Of whatever was asked, be it a read that verifies.
      maxUs: Math.max(read.clat_ns.max, write.clat_ns.max) / 1000,
    },
  };
}

function directionLatency({ clat_ns }: FioDirection): Omit<Latency, 'maxUs'> {
  const { percentile } = clat_ns;
  if (percentile === undefined) return latencyOf([]);
  const microseconds = (key: string): number => (percentile[key] ?? 0) / 1000;
  return {
    p50Us: microseconds('50.000000'),
    p99Us: microseconds('99.000000'),
    p999Us: microseconds('99.900000'),
  };
}
