/**
 * Power loss below the daemon: random writes, zeroes and trims of several groups and volumes go
 * through the production log and volume stores on a simulated disk; the power goes at a random
 * step, during recovery too, and any subset of the unsynced sectors survives; then the site starts
 * again on what is left, and goes on. Checked at each start: nothing acknowledged is missing, what
 * is there is a prefix of what was issued, without a hole, byte for byte, and every checksum holds.
 *
 * CASEMATE_SEEDS=n runs n seeds instead of the default; CASEMATE_SEED=n only that one.
 */
import t from 'tap';
import { GroupStory, PowerLossSite } from './power-loss-site.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimulatedDisk } from './simulated-disk.ts';

/** About 4.5 power losses each. */
const seedsDefault = 300;
/** For all seeds of a default run on a busy machine; more seeds get more. */
const timeoutMs = 10 * 60_000;
const blockBytes = 4096;

interface Tally {
  powerLosses: number;
  duringRecovery: number;
  acknowledged: number;
  /** Records that survived although nobody had heard that they would. */
  unacknowledgedKept: number;
  unacknowledgedLost: number;
}

function makeStories(random: SeededRandom): GroupStory[] {
  return Array.from({ length: 1 + random.below(3) }, (_, group) => {
    const volumes = 1 + random.below(2);
    const sizes = Array.from(
      { length: volumes },
      () => (6 + random.below(10)) * blockBytes + random.pick([0, 0, 512, 1000]),
    );
    return new GroupStory(`${group + 1}`.repeat(32), sizes);
  });
}

/** Starts the site; undefined: the power went before it was up. */
async function startOrFail(
  disk: SimulatedDisk,
  stories: readonly GroupStory[],
  random: SeededRandom,
): Promise<PowerLossSite | undefined> {
  const starting = PowerLossSite.start(disk, stories, random);
  if (!random.chance(0.25)) return disk.run(starting);
  let site: PowerLossSite | undefined;
  let failure: unknown;
  starting.then(
    (started) => {
      site = started;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  for (let steps = random.below(250); steps > 0 && site === undefined; steps -= 1) {
    await disk.step();
    if (failure !== undefined) throw failure;
  }
  return site;
}

async function runSeed(seed: number, tally: Tally): Promise<void> {
  const random = new SeededRandom(seed);
  const stories = makeStories(random);
  let disk = new SimulatedDisk({ random, coldReadProbability: random.pick([0.05, 0.5]) });
  await disk.run(disk.makeDirectory('/site'));
  await disk.run(disk.syncDirectory('/'));
  const rounds = 3 + random.below(4);
  for (let round = 0; round < rounds; round += 1) {
    const site = await startOrFail(disk, stories, random);
    if (site === undefined) tally.duringRecovery += 1;
    else {
      tally.unacknowledgedKept += site.keptRecords;
      const busy = 0.1 + random.below(9) / 10;
      for (let steps = random.below(400); steps > 0; steps -= 1) {
        if (random.chance(busy)) site.act();
        await disk.step();
      }
      site.assertHealthy();
    }
    const issued = stories.map((story) => story.issued.length);
    disk = disk.crash();
    tally.powerLosses += 1;
    for (const [index, story] of stories.entries()) {
      tally.unacknowledgedLost += (issued[index] ?? 0) - story.acknowledged;
    }
  }
  const last = await disk.run(PowerLossSite.start(disk, stories, random));
  last.assertHealthy();
  for (const story of stories) tally.acknowledged += story.acknowledged;
}

const only = process.env['CASEMATE_SEED'];
const count = Number(process.env['CASEMATE_SEEDS'] ?? seedsDefault);
t.setTimeout(timeoutMs * Math.max(1, count / seedsDefault));

t.test('what was acknowledged survives every loss of power', async (t) => {
  const seeds =
    only === undefined ? Array.from({ length: count }, (_, n) => n + 1) : [Number(only)];
  const tally: Tally = {
    powerLosses: 0,
    duringRecovery: 0,
    acknowledged: 0,
    unacknowledgedKept: 0,
    unacknowledgedLost: 0,
  };
  for (const seed of seeds) {
    try {
      await runSeed(seed, tally);
    } catch (error) {
      const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
      t.fail(`seed ${seed}; repeat with CASEMATE_SEED=${seed}\n${words}`);
      return;
    }
  }
  t.comment(JSON.stringify(tally));
  if (only !== undefined) return;
  t.ok(tally.duringRecovery > 0, 'the power was lost during recovery, too');
  t.ok(tally.acknowledged > 10 * count, 'there was something to lose');
  t.ok(tally.unacknowledgedLost > 0 && tally.unacknowledgedKept > 0, 'some was on its way');
});
