/**
 * How far apart the sites may be: 4 KiB writes with 0, 0.5 and 2 ms of round trip between them,
 * simulated by a proxy that delays every byte in both directions and limits nothing else. The
 * figures at 0 ms go through the proxy as well; what the proxy itself takes and could pass is
 * measured beside them.
 */
import { type CasematePair, mainVolume } from '../casemate.ts';
import { casemateName } from '../casemate-names.ts';
import { withCosts } from '../costed-run.ts';
import { runFio } from '../fio.ts';
import { measureProxy } from '../proxy/proxy-figures.ts';
import { distanceJob, distanceLoads, distancesMs } from '../scenario-jobs.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;

/** A pair of its own, compared at its end. */
export async function measureDistance(session: Session): Promise<void> {
  const { logBytes, quick, rounds, seconds, volumeBytes } = session.settings;
  session.plan(0);
  await measureProxies(session);
  const pair = await session.startPair({ logBytes, throughProxy: true });
  const sizeBytes = Math.min(volumeBytes, 256 * mebibyte);
  await pair.createVolume({ name: mainVolume, sizeBytes });
  const run = (workload: (typeof distanceLoads)[number], runSeconds: number) =>
    runFio({
      uris: [pair.uri(mainVolume)],
      workload,
      sizeBytes,
      seconds: runSeconds,
      directory: session.directory,
    });
  for (const load of distanceLoads) await run(load, quick ? 1 : 3);
  for (let round = 1; round <= rounds; round += 1) {
    for (const milliseconds of distancesMs) {
      session.progress(`${milliseconds} ms between the sites (round ${round} of ${rounds})`);
      await pair.setRoundTrip(milliseconds);
      for (const load of quick ? distanceLoads.slice(0, 2) : distanceLoads) {
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
  const sample = await withCosts(session, pair, run);
  session.results.add(job, casemateName, sample);
  session.progressRow(job, sample);
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
