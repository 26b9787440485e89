/**
 * 1, 8 and 64 volumes with one request in flight each, and one volume with 64: how cost grows with
 * volumes, and what sharing one log costs. One fio process; each volume has a connection of its
 * own.
 */
import { type CasematePair, mainVolume } from '../casemate.ts';
import { casemateName } from '../casemate-names.ts';
import { withCosts } from '../costed-run.ts';
import { type RunFigures, runFio } from '../fio.ts';
import { oneVolumeJob, volumeCounts } from '../scenario-jobs.ts';
import type { Session } from '../session.ts';

const volumeCount = Math.max(...volumeCounts);
const mebibyte = 2 ** 20;

/** Makes the volumes, writes each once in full, then lets the loads take turns. */
export async function measureManyVolumes(session: Session, pair: CasematePair): Promise<void> {
  const { quick, rounds, seconds, volumeBytes } = session.settings;
  session.plan(rounds * (volumeCounts.length + 1));
  session.progress(`${volumeCount} volumes at QD1 each, 1 volume at QD${volumeCount}`);
  const sizeBytes = (quick ? 4 : 16) * mebibyte;
  const names = Array.from({ length: volumeCount }, (_, index) => `many-${index}`);
  for (const name of names) await pair.createVolume({ name, sizeBytes });
  const uris = names.map((name) => pair.uri(name));
  const { directory } = session;
  await runFio({
    uris,
    workload: { pattern: 'write', blockBytes: mebibyte, depth: 1 },
    sizeBytes,
    directory,
  });
  const record = async (job: string, run: () => Promise<RunFigures>): Promise<void> => {
    const sample = await withCosts(session, pair, () => session.profiles.during(job, run));
    session.results.add(job, casemateName, sample);
    session.progressRow(job, sample);
  };
  const workload = { pattern: 'randwrite', blockBytes: 4096 } as const;
  for (let round = 1; round <= rounds; round += 1) {
    for (const count of volumeCounts) {
      const some = { uris: uris.slice(0, count), sizeBytes, seconds, directory };
      await record(`volumes-${count}`, () =>
        runFio({ ...some, workload: { ...workload, depth: 1 } }),
      );
    }
    const main = { uris: [pair.uri(mainVolume)], sizeBytes: volumeBytes, seconds, directory };
    await record(oneVolumeJob, () =>
      runFio({ ...main, workload: { ...workload, depth: volumeCount } }),
    );
  }
}
