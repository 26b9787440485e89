/**
 * The randomized model of one group, see core-world.ts. CASEMATE_SEEDS runs that many seeds,
 * CASEMATE_FIRST_SEED says where they begin.
 */
import t from 'tap';
import { CoreWorld } from './core-world.ts';

const seeds = Number(process.env['CASEMATE_SEEDS'] ?? 600);
const firstSeed = Number(process.env['CASEMATE_FIRST_SEED'] ?? 0);

t.setTimeout(60_000 + seeds * 1000);

t.test('two cores keep every promise under random faults and come together again', async (t) => {
  let unavailable = 0;
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    const world = new CoreWorld(seed);
    try {
      if (world.run() === 'unavailable') unavailable += 1;
    } catch (error) {
      t.comment(world.trace.slice(-60).join('\n'));
      t.comment(world.describe());
      const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      t.fail(`seed ${seed} (CASEMATE_FIRST_SEED=${seed} CASEMATE_SEEDS=1): ${text}`);
      return;
    }
  }
  t.comment(
    `${seeds} seeds from ${firstSeed}; the only in-sync store was replaced: ${unavailable}`,
  );
  t.ok(unavailable * 20 <= Math.max(seeds, 20), 'nearly all runs end with both sites in sync');
});

t.test('the same seed gives the same run', async (t) => {
  const first = new CoreWorld(17);
  const second = new CoreWorld(17);
  first.run();
  second.run();
  t.same(first.trace, second.trace);
});
