/**
 * What clients feel while a site that was away catches up: p99 of 4 KiB writes at QD8 before, and
 * in every second from the returning site's start until it is in sync again. The volume goes on
 * alone at the first site meanwhile (`preferred`).
 */
import { mainVolume } from '../casemate.ts';
import { casemateName } from '../casemate-names.ts';
import { type RunFigures, runFio } from '../fio.ts';
import { resyncJob } from '../scenario-jobs.ts';
import type { Session } from '../session.ts';
import { largest } from '../statistics.ts';

const mebibyte = 2 ** 20;
const windowsMax = 30;

/** Leaves `resync` (a quotient) in the results. A pair of its own, compared at its end. */
export async function measureResync(session: Session): Promise<void> {
  session.progress('latency while the peer catches up');
  const { logBytes, quick, volumeBytes } = session.settings;
  const pair = await session.startPair({ logBytes });
  const [, b] = pair.sites;
  await pair.createVolume({ name: mainVolume, sizeBytes: volumeBytes, onPeerLoss: 'preferred' });
  const base = { uris: [pair.uri(mainVolume)], directory: session.directory };
  const stream = { pattern: 'write', blockBytes: mebibyte, depth: 8 } as const;
  await runFio({ ...base, workload: stream, sizeBytes: volumeBytes });
  const window = (seconds: number): Promise<RunFigures> =>
    runFio({
      ...base,
      workload: { pattern: 'randwrite', blockBytes: 4096, depth: 8 },
      sizeBytes: volumeBytes,
      seconds,
    });
  const before = await window(quick ? 2 : 5);
  await b.signal('SIGKILL');
  // Half of the log, so that it still holds what the peer has missed.
  await runFio({ ...base, workload: stream, sizeBytes: Math.min(volumeBytes, logBytes / 2) });
  const started = b.start();
  started.catch(() => undefined);
  const during: RunFigures[] = [];
  for (let count = 0; count < windowsMax; count += 1) {
    during.push(await window(1));
    const group = (await pair.pair.a.status()).groups[0];
    if (group?.inSyncSites.length === 2) break;
  }
  await started;
  await pair.pair.inSync(mainVolume);
  for (const figures of during) {
    session.results.add(resyncJob, casemateName, { ...figures, cpuUsPerOperation: undefined });
  }
  const worstUs = largest(during.map(({ latency }) => latency.p99Us)) ?? 0;
  session.results.setValue('resync', {
    title: 'p99 while the peer catches up / before',
    unit: 'x',
    value: worstUs / before.latency.p99Us,
    note: `worst of ${during.length} windows of 1 s: ${Math.round(worstUs)} µs; before: ${Math.round(before.latency.p99Us)} µs`,
  });
  await session.finishPair('resync', pair);
}
