/**
 * The simulator as a program: `npm run simulate -- --seed N` runs one seed and tells what happened,
 * `--seeds N` runs N seeds on all cores (`--from M`: the first one), and ends at the first that
 * fails, with the shortest trace that shows it (`--whole`: without looking for a shorter one;
 * `--keep-going`: counts on).
 */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addToTally, failureText, newTally, planOf, runPlan, shrink, tallyText } from './runs.ts';
import { planOfScenario, scenarios } from './scenarios.ts';

const reportEverySeeds = 500;
const scenarioSeeds = 5;

async function runOne(seed: number, shorten: boolean): Promise<boolean> {
  const plan = planOf(seed);
  const result = await runPlan(plan);
  if (result.violation === undefined) {
    const tally = newTally();
    addToTally(tally, result);
    say(`seed ${seed} is fine (${result.fingerprint})\n${tallyText(tally)}`);
    return true;
  }
  say(`seed ${seed} fails: ${result.violation.message}`);
  const shortest = shorten ? await shrink(plan, result.violation.kind) : plan;
  say(failureText(shortest, await runPlan(shortest)));
  return false;
}

/** A named scenario with several seeds: has each of them to end as it should. */
async function runScenario(name: string): Promise<boolean> {
  const scenario = scenarios.find((each) => each.name === name);
  if (scenario === undefined) throw new Error(`there is no scenario "${name}"`);
  const { seeds = scenarioSeeds } = scenario;
  for (let seed = 1; seed <= seeds; seed += 1) {
    const plan = planOfScenario(scenario, seed);
    const result = await runPlan(plan);
    const ended = result.excuse ?? (result.splitsEnded > 0 ? 'split-ended' : 'in-sync');
    const isMissing = scenario.resyncs === true && !result.resynced;
    const wrong = isMissing ? 'without a resync' : scenario.wrongWith?.(result.resyncs);
    if (result.violation === undefined && ended === scenario.ends && wrong === undefined) continue;
    say(`it ended: ${ended}${wrong ? `, but ${wrong}` : ''}\n${failureText(plan, result)}`);
    return false;
  }
  say(`${seeds} seeds, all came as told`);
  return true;
}

/** Every `step`-th seed from `from` on; goes on after a failure only if asked to. */
async function runMany(options: {
  from: number;
  seeds: number;
  step: number;
  keepGoing: boolean;
  whole: boolean;
}): Promise<boolean> {
  const { from, seeds, step, keepGoing, whole } = options;
  const tally = newTally();
  let fine = true;
  for (let seed = from; seed < from + seeds; seed += step) {
    const result = await runPlan(planOf(seed));
    addToTally(tally, result);
    if (result.violation !== undefined) {
      fine = false;
      say(`seed ${seed} fails: ${result.violation.message.split('\n')[0]}`);
      if (!keepGoing) {
        if (!whole) await runOne(seed, true);
        break;
      }
    }
    if (tally.seeds % reportEverySeeds === 0) say(tallyText(tally));
  }
  say(tallyText(tally));
  return fine;
}

function runOnAllCores(args: readonly string[], cores: number): Promise<boolean> {
  const program = fileURLToPath(import.meta.url);
  const one = (core: number): Promise<boolean> =>
    new Promise((resolve) => {
      const child = fork(program, [...args, '--core', String(core), '--cores', String(cores)]);
      child.on('exit', (code) => resolve(code === 0));
    });
  return Promise.all(Array.from({ length: cores }, (_, core) => one(core))).then((results) =>
    results.every((fine) => fine),
  );
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    scenario: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    cores: { type: 'string' },
    core: { type: 'string' },
    'keep-going': { type: 'boolean', default: false },
    whole: { type: 'boolean', default: false },
  },
});

let fine: boolean;
if (values.scenario !== undefined) {
  fine = await runScenario(values.scenario);
} else if (values.seed !== undefined) {
  fine = await runOne(Number(values.seed), !values.whole);
} else {
  const cores = Number(values.cores ?? availableParallelism());
  if (values.core === undefined && cores > 1) {
    fine = await runOnAllCores(process.argv.slice(2), cores);
  } else {
    fine = await runMany({
      from: Number(values.from) + Number(values.core ?? 0),
      seeds: Number(values.seeds) - Number(values.core ?? 0),
      step: cores,
      keepGoing: values['keep-going'],
      whole: values.whole,
    });
  }
}
process.exitCode = fine ? 0 : 1;
