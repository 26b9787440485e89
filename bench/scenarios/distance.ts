/**
 * How far apart the sites may be: 4 KiB writes with 0, 0.5 and 2 ms of round trip between them,
 * simulated by a proxy that delays every byte in both directions and limits nothing else. The
 * figures at 0 ms go through the proxy as well; what the proxy itself takes and could pass is
 * measured beside them.
 */
import { type CasematePair, casemateName, mainVolume } from '../casemate.ts';
import { withCosts } from '../costed-run.ts';
import { runFio } from '../fio.ts';
import { measureProxy } from '../proxy/proxy-figures.ts';
import type { Session } from '../session.ts';

export const distancesMs = [0, 0.5, 2] as const;
const mebibyte = 2 ** 20;

const loads = [
  { name: 'write-qd1', pattern: 'randwrite', blockBytes: 4096, depth: 1 },
  { name: 'write-qd32', pattern: 'randwrite', blockBytes: 4096, depth: 32 },
  { name: 'write-1m', pattern: 'write', blockBytes: mebibyte, depth: 8 },
] as const;

/** Name of a load's job at a distance. */
export const distanceJob = (load: string, milliseconds: number): string =>
  `distance-${milliseconds}ms-${load}`;

/** A pair of its own, compared at its end. */
export async function measureDistance(session: Session): Promise<void> {
  const { logBytes, quick, rounds, seconds, volumeBytes } = session.settings;
  await measureProxies(session);
  const pair = await session.startPair({ logBytes, throughProxy: true });
  const sizeBytes = Math.min(volumeBytes, 256 * mebibyte);
  await pair.createVolume({ name: mainVolume, sizeBytes });
  const run = (workload: (typeof loads)[number], runSeconds: number) =>
    runFio({
      uris: [pair.uri(mainVolume)],
      workload,
      sizeBytes,
      seconds: runSeconds,
      directory: session.directory,
    });
  for (const load of loads) await run(load, quick ? 1 : 3);
  for (let round = 1; round <= rounds; round += 1) {
    for (const milliseconds of distancesMs) {
      session.progress(`${milliseconds} ms between the sites (round ${round} of ${rounds})`);
      await pair.setRoundTrip(milliseconds);
      for (const load of quick ? loads.slice(0, 2) : loads) {
        await record(session, pair, distanceJob(load.name, milliseconds), () => run(load, seconds));
      }
    }
  }
  await pair.setRoundTrip(0);
  await session.finishPair('distance', pair);
}

async function record(
  session: Session,
  pair: CasematePair,
  job: string,
  run: () => ReturnType<typeof runFio>,
): Promise<void> {
  await session.settle();
  const sample = await withCosts(pair, run);
  session.results.add(job, casemateName, sample);
  session.progress(
    `  ${job}: ${Math.round(sample.operationsPerSecond)} IOPS, ` +
      `p50 ${Math.round(sample.latency.p50Us)} µs`,
  );
}

async function measureProxies(session: Session): Promise<void> {
  session.progress('the delaying proxy by itself');
  for (const milliseconds of distancesMs) {
    const figures = await measureProxy(milliseconds);
    session.results.setValue(`proxy-${milliseconds}ms`, {
      title: `the proxy's own round trip at ${milliseconds} ms`,
      unit: 'µs',
      value: figures.roundTripP50Us,
      note: `median of single bytes; it passes ${Math.round(figures.mebibytesPerSecond)} MiB/s`,
    });
  }
}
