/**
 * Whether a large volume costs more than a small one: sparse volumes of growing size, each made,
 * written to at random over its whole size, and looked at from outside.
 */
import { casemateName } from '../casemate-names.ts';
import { withCosts } from '../costed-run.ts';
import { runFio } from '../fio.ts';
import { memoryMiB } from '../processes.ts';
import type { Session } from '../session.ts';

const gibibyte = 2 ** 30;
const sizesGiB = [0.25, 1, 4, 8] as const;

const plotOf = (title: string, yTitle: string) =>
  ({
    group: 'growth',
    title,
    xTitle: 'GiB',
    yTitle,
    logarithmic: true,
    note: '',
  }) as const;

/** A pair of its own, compared at its end. */
export async function measureVolumeSize(session: Session): Promise<void> {
  const { logBytes, seconds } = session.settings;
  session.plan(sizesGiB.length);
  const pair = await session.startPair({ logBytes });
  for (const sizeGiB of sizesGiB) {
    session.progress(`a volume of ${sizeGiB} GiB`);
    const name = `size-${sizeGiB}`;
    const before = performance.now();
    await pair.createVolume({ name, sizeBytes: sizeGiB * gibibyte });
    const madeMs = performance.now() - before;
    const sample = await withCosts(session, pair, () =>
      runFio({
        uris: [pair.uri(name)],
        workload: { pattern: 'randwrite', blockBytes: 4096, depth: 32 },
        sizeBytes: sizeGiB * gibibyte,
        seconds,
        directory: session.directory,
      }),
    );
    const primaryMiB = memoryMiB(pair.sites[0].pid).nowMiB;
    const add = (title: string, unit: string, y: number): void => {
      const point = { line: casemateName, x: sizeGiB, y };
      session.results.addPoint(`volume-size ${unit}`, plotOf(title, unit), point);
    };
    add('Random writes QD32 over volume size', 'IOPS', sample.operationsPerSecond);
    add('Memory of the primary, volumes so far', 'MiB', primaryMiB);
    add('Making a volume, until in sync', 'ms', madeMs);
    session.progressRow(name, sample);
  }
  await session.finishPair('volume-size', pair);
}
