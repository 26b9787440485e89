/**
 * Memory of the primary when clients write as fast as they can and the peer has stalled: the
 * secondary is stopped (SIGSTOP) in the middle of the load and goes on after a while. What the
 * primary holds then is what its limits allow (I9).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type CasematePair, mainVolume, memoryLimitBytes } from '../casemate.ts';
import { runFio } from '../fio.ts';
import { memoryMiB } from '../processes.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;
const beforeStallMs = 1000;
const stallMs = 4000;
const sampleMs = 50;
const loadSeconds = 3;

/** Leaves `memory-loaded` and `memory-stalled` in the results; the pair is in sync afterwards. */
export async function measureMemory(session: Session, pair: CasematePair): Promise<void> {
  session.progress('memory under load with a stalled peer');
  const [primary, secondary] = pair.sites;
  const load = runFio({
    uris: Array.from({ length: 4 }, () => pair.uri(mainVolume)),
    workload: { pattern: 'randwrite', blockBytes: mebibyte, depth: 64 },
    sizeBytes: session.settings.volumeBytes,
    seconds: loadSeconds,
    directory: session.directory,
  });
  // Looked at below; a failure must not count as unhandled while the peer is stopped.
  load.catch(() => undefined);
  const loadedMiB = await largestMemory(primary.pid, beforeStallMs);
  let stalledMiB: number;
  await secondary.signal('SIGSTOP');
  try {
    stalledMiB = await largestMemory(primary.pid, stallMs);
  } finally {
    await secondary.signal('SIGCONT');
  }
  await load;
  await pair.pair.inSync(mainVolume);
  const limitMiB = memoryLimitBytes / mebibyte;
  session.results.setValue('memory-loaded', {
    title: 'memory of the primary under load',
    unit: 'MiB',
    value: loadedMiB,
    note: '1 MiB random writes, 4 connections with 64 in flight each',
  });
  session.results.setValue('memory-stalled', {
    title: 'memory above the limit, peer stalled',
    unit: 'MiB',
    value: stalledMiB - limitMiB,
    note: `${Math.round(stalledMiB)} MiB resident at most, less volumes.memoryBytesMax (${limitMiB} MiB)`,
  });
}

async function largestMemory(pid: number, forMs: number): Promise<number> {
  const end = performance.now() + forMs;
  let largestMiB = 0;
  while (performance.now() < end) {
    largestMiB = Math.max(largestMiB, memoryMiB(pid).nowMiB);
    await delay(sampleMs);
  }
  return largestMiB;
}
