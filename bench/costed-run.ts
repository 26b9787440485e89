/** A run of a load together with what it cost the target's processes and the disk. */
import { costsBetween, cpuUsPerOperation, read } from './costs.ts';
import type { RunFigures } from './fio.ts';
import type { Sample } from './jobs.ts';
import type { Session } from './session.ts';
import type { Target } from './target.ts';

/**
 * Does `run` and gives its figures with its costs: those of what is left to be done in the
 * background included, and nothing of what earlier runs had left.
 */
export async function withCosts(
  session: Session,
  target: Pick<Target, 'processes' | 'scrape' | 'settled'>,
  run: () => Promise<RunFigures>,
): Promise<Sample> {
  const scrape = target.scrape?.bind(target);
  await target.settled?.();
  await session.settle();
  const writtenBefore = session.traffic.writtenBytes();
  const before = await read(target.processes(), scrape);
  const figures = await run();
  await target.settled?.();
  const after = await read(target.processes(), scrape);
  await session.settle();
  const writtenAfter = session.traffic.writtenBytes();
  const diskBytes =
    writtenBefore === undefined || writtenAfter === undefined
      ? undefined
      : writtenAfter - writtenBefore;
  return {
    ...figures,
    cpuUsPerOperation: cpuUsPerOperation(before, after, figures.operations),
    costs: costsBetween(before, after, { ...figures, diskBytes }),
  };
}
