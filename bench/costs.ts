/**
 * What a run of a job costs besides time: CPU and memory of each server process, from /proc; what
 * was written to the disk; and for Casemate, from its own metrics, syncs, the split of a write's
 * latency and the delay of its event loops. Read before and after a run, never during it.
 */
import type { RunFigures } from './fio.ts';
import { growth, type MetricSums, meanBetween } from './metrics-text.ts';
import { cpuSeconds, memoryMiB } from './processes.ts';

/** A process of a target and what it is there for. */
export interface WatchedProcess {
  readonly role: string;
  readonly pid: number;
}

/** Where a write's time went, as means in microseconds of a frame or (answer) of a request. */
export interface LatencySplit {
  /** From the forming of a frame until it was durable in the primary's log. */
  readonly localLogUs: number;
  /** From the forming of a frame until the peer had acknowledged it. */
  readonly peerUs: number;
  /** From the forming of a frame until it was committed: the later of the two above. */
  readonly commitUs: number;
  /** From the receipt of a write to its answer. */
  readonly answerUs: number;
}

export interface Costs {
  /** CPU time, user and system, by process. */
  readonly cpuUsPerOperation: Readonly<Record<string, number>>;
  /** Resident memory by process at the end of the run. */
  readonly memoryMiB: Readonly<Record<string, number>>;
  /** Bytes written to the disk, by whomever, per byte of acknowledged writes. */
  readonly diskBytesPerByte: number | undefined;
  /** Syncs of both sites' logs per acknowledged write. */
  readonly syncsPerWrite: number | undefined;
  /** Records per group commit at the primary. */
  readonly writesPerCommit: number | undefined;
  /** 99th percentile of the event loop's delay in the worse of the two daemons. */
  readonly loopDelayP99Ms: number | undefined;
  readonly split: LatencySplit | undefined;
}

interface ProcessReading {
  readonly cpuSeconds: number;
}

export interface Reading {
  readonly processes: readonly (WatchedProcess & ProcessReading)[];
  /** Of each daemon, the primary's first; empty for peers. */
  readonly metrics: readonly MetricSums[];
}

/** Looks at the processes now. `scrape` gives the metrics of Casemate's daemons. */
export async function read(
  processes: readonly WatchedProcess[],
  scrape: (() => Promise<readonly MetricSums[]>) | undefined,
): Promise<Reading> {
  return {
    processes: processes.map((each) => ({
      ...each,
      cpuSeconds: cpuSeconds([each.pid]),
    })),
    metrics: (await scrape?.()) ?? [],
  };
}

/** CPU time of all processes together per operation, in microseconds. */
export function cpuUsPerOperation(before: Reading, after: Reading, operations: number): number {
  const sum = ({ processes }: Reading): number =>
    processes.reduce((total, each) => total + each.cpuSeconds, 0);
  return ((sum(after) - sum(before)) * 1e6) / Math.max(1, operations);
}

/** The costs of what was done between two readings, in which so much was written to the disk. */
export function costsBetween(
  before: Reading,
  after: Reading,
  figures: RunFigures & { readonly diskBytes: number | undefined },
): Costs {
  const cpu: Record<string, number> = {};
  const memory: Record<string, number> = {};
  after.processes.forEach((each, index) => {
    const earlier = before.processes[index];
    if (earlier === undefined || earlier.pid !== each.pid) return;
    const operations = Math.max(1, figures.operations);
    cpu[each.role] = ((each.cpuSeconds - earlier.cpuSeconds) * 1e6) / operations;
    memory[each.role] = memoryMiB(each.pid).nowMiB;
  });
  const { diskBytes, writtenBytes } = figures;
  return {
    cpuUsPerOperation: cpu,
    memoryMiB: memory,
    diskBytesPerByte:
      diskBytes !== undefined && writtenBytes > 0 ? diskBytes / writtenBytes : undefined,
    ...casemateCosts(before.metrics, after.metrics, figures),
  };
}

function casemateCosts(
  before: readonly MetricSums[],
  after: readonly MetricSums[],
  { writeOperations }: RunFigures,
): Pick<Costs, 'syncsPerWrite' | 'writesPerCommit' | 'loopDelayP99Ms' | 'split'> {
  const [primaryBefore] = before;
  const [primary] = after;
  const nothing = { syncsPerWrite: undefined, writesPerCommit: undefined, split: undefined };
  if (primary === undefined || primaryBefore === undefined) {
    return { ...nothing, loopDelayP99Ms: undefined };
  }
  const delays = after.map((sums) => sums.get('nodejs_eventloop_lag_p99_seconds') ?? 0);
  const loopDelayP99Ms = Math.max(...delays) * 1000;
  if (writeOperations === 0) return { ...nothing, loopDelayP99Ms };
  const syncs = after.reduce((sum, now, index) => {
    return sum + growth(before[index] ?? new Map(), now, 'casemate_log_syncs_total');
  }, 0);
  const commits = growth(primaryBefore, primary, 'casemate_log_commits_total');
  const records = growth(primaryBefore, primary, 'casemate_log_records_total');
  return {
    syncsPerWrite: syncs / writeOperations,
    writesPerCommit: commits > 0 ? records / commits : undefined,
    loopDelayP99Ms,
    split: latencySplit(primaryBefore, primary),
  };
}

function latencySplit(before: MetricSums, after: MetricSums): LatencySplit | undefined {
  const mean = (name: string): number | undefined => {
    const seconds = meanBetween(before, after, `casemate_${name}_duration_seconds`);
    return seconds === undefined ? undefined : seconds * 1e6;
  };
  const localLogUs = mean('group_write_local_log');
  const peerUs = mean('group_write_peer');
  const commitUs = mean('group_write_commit');
  const answerUs = mean('volume_write');
  if (
    localLogUs === undefined ||
    peerUs === undefined ||
    commitUs === undefined ||
    answerUs === undefined
  ) {
    return undefined;
  }
  return { localLogUs, peerUs, commitUs, answerUs };
}
