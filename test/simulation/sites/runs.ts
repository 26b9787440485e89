/** Runs seeds, counts what they did, and cuts a failing one down to what it takes. */
import { type Action, type ActionKind, actionText, makePlan, type Plan } from './plan.ts';
import { type RunResult, SiteWorld } from './site-world.ts';

/** A shorter trace is looked for with at most so many runs. */
const shrinkRunsMax = 400;

export interface Tally {
  seeds: number;
  events: number;
  answered: number;
  /** Seeds with a resync. */
  resynced: number;
  compared: number;
  splitsEnded: number;
  simulatedMs: number;
  readonly faults: Map<ActionKind, number>;
  readonly excuses: Map<string, number>;
}

export function newTally(): Tally {
  return {
    seeds: 0,
    events: 0,
    answered: 0,
    resynced: 0,
    compared: 0,
    splitsEnded: 0,
    simulatedMs: 0,
    faults: new Map(),
    excuses: new Map(),
  };
}

export function addToTally(tally: Tally, result: RunResult): void {
  tally.seeds += 1;
  tally.events += result.events;
  tally.answered += result.answered;
  tally.resynced += result.resynced ? 1 : 0;
  tally.compared += result.compared;
  tally.splitsEnded += result.splitsEnded;
  tally.simulatedMs += result.simulatedMs;
  for (const [kind, count] of result.faults) {
    tally.faults.set(kind, (tally.faults.get(kind) ?? 0) + count);
  }
  const { excuse } = result;
  if (excuse !== undefined) tally.excuses.set(excuse, (tally.excuses.get(excuse) ?? 0) + 1);
}

export function tallyText(tally: Tally): string {
  const listed = (counts: ReadonlyMap<string, number>): string =>
    [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
  return [
    `${tally.seeds} seeds, ${tally.events} events, ${tally.answered} answers, ` +
      `${tally.compared} blocks compared, ${tally.resynced} with a resync, ` +
      `${tally.splitsEnded} splits ended, ` +
      `${Math.round(tally.simulatedMs / 1000)} simulated seconds`,
    `what happened: ${listed(tally.faults)}`,
    ...(tally.excuses.size === 0 ? [] : [`could not be in sync: ${listed(tally.excuses)}`]),
  ].join('\n');
}

export function planOf(seed: number): Plan {
  return makePlan(seed);
}

export function runPlan(plan: Plan): Promise<RunResult> {
  return new SiteWorld(plan).run();
}

/**
 * A plan with as few actions as can be found that fails in the same way: whole runs of actions are
 * left out, then ever shorter ones (Zeller and Hildebrandt, "Simplifying and isolating
 * failure-inducing input", IEEE TSE 28(2), 2002).
 */
export async function shrink(plan: Plan, kind: string): Promise<Plan> {
  let best = plan;
  let runs = 0;
  const fails = async (actions: readonly Action[]): Promise<boolean> => {
    runs += 1;
    const { violation } = await runPlan({ ...best, actions });
    return violation?.kind === kind;
  };
  for (let size = Math.ceil(best.actions.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let start = 0; start < best.actions.length; ) {
      if (runs >= shrinkRunsMax) return best;
      const actions = best.actions.filter((_, index) => index < start || index >= start + size);
      if (await fails(actions)) best = { ...best, actions };
      else start += size;
    }
  }
  return best;
}

/** Everything that is needed to look into a failing seed. */
export function failureText(plan: Plan, result: RunResult): string {
  const { volumes, checkpointMs, logSegments } = plan;
  return [
    `seed ${plan.seed}: ${result.violation?.message ?? 'no violation'}`,
    `  volumes ${JSON.stringify(volumes)}, checkpointMs ${checkpointMs}, segments ${logSegments}`,
    '  plan:',
    ...plan.actions.map((action) => `    ${actionText(action)}`),
    '  what happened:',
    ...result.notes.map((note) => `    ${note}`),
  ].join('\n');
}
