/** A run of a load together with what it cost the target's processes. */
import { costsBetween, cpuUsPerOperation, read } from './costs.ts';
import type { RunFigures } from './fio.ts';
import type { Sample } from './jobs.ts';
import type { Target } from './target.ts';

/** Does `run` and gives its figures with the costs of the target's processes meanwhile. */
export async function withCosts(
  target: Pick<Target, 'processes' | 'scrape'>,
  run: () => Promise<RunFigures>,
): Promise<Sample> {
  const scrape = target.scrape?.bind(target);
  const before = await read(target.processes(), scrape);
  const figures = await run();
  const after = await read(target.processes(), scrape);
  return {
    ...figures,
    cpuUsPerOperation: cpuUsPerOperation(before, after, figures.operations),
    costs: costsBetween(before, after, figures),
  };
}
