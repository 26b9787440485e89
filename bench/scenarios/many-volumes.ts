/** 64 volumes with one request in flight each, against one volume with 64: what sharing costs. */
import { type CasematePair, casemateName, mainVolume } from '../casemate.ts';
import { type RunFigures, runFio } from '../fio.ts';
import { cpuSeconds } from '../processes.ts';
import type { Session } from '../session.ts';

const volumeCount = 64;
const mebibyte = 2 ** 20;

/** Makes the volumes, writes each once in full, then lets the two loads take turns. */
export async function measureManyVolumes(session: Session, pair: CasematePair): Promise<void> {
  session.progress(`${volumeCount} volumes at QD1 each, 1 volume at QD${volumeCount}`);
  const { quick, rounds, seconds, volumeBytes } = session.settings;
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
    await session.settle();
    const before = cpuSeconds(pair.processIds());
    const figures = await session.profiles.during(job, run);
    const used = cpuSeconds(pair.processIds()) - before;
    const cpuUsPerOperation = (used * 1e6) / Math.max(1, figures.operations);
    session.results.add(job, casemateName, { ...figures, cpuUsPerOperation });
    session.progress(`  ${job}: ${Math.round(figures.operationsPerSecond)} IOPS`);
  };
  const workload = { pattern: 'randwrite', blockBytes: 4096 } as const;
  for (let round = 1; round <= rounds; round += 1) {
    await record('volumes-64', () =>
      runFio({ uris, workload: { ...workload, depth: 1 }, sizeBytes, seconds, directory }),
    );
    const main = { uris: [pair.uri(mainVolume)], sizeBytes: volumeBytes, seconds, directory };
    await record('volume-qd64', () =>
      runFio({ ...main, workload: { ...workload, depth: volumeCount } }),
    );
  }
}
