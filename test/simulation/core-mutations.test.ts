/**
 * The model can fail: each mutation breaks one rule around the cores, and the checks must see it
 * within a bounded number of seeds.
 */
import t from 'tap';
import type { Mutation } from './core-faults.ts';
import { CoreWorld } from './core-world.ts';

const seedsMax = 3000;

const mutations: readonly { readonly mutation: Mutation; readonly breaks: string }[] = [
  { mutation: 'reads-without-lease', breaks: 'R19: reads are answered without a lease' },
  {
    mutation: 'reads-before-epoch-start',
    breaks: 'R15: serves before its epoch start is committed',
  },
  { mutation: 'acks-before-sync', breaks: 'R16: acknowledges what is not synced' },
  { mutation: 'cut-not-kept', breaks: 'R29: a cut is not durable' },
  { mutation: 'forgets-grace', breaks: 'R14: the start does not count as an acknowledgement' },
  { mutation: 'short-grace', breaks: 'R19: graceMs is shorter than leaseMs' },
  { mutation: 'answers-without-waiting', breaks: 'R17: the joining peer is not waited for' },
  { mutation: 'answers-while-dropping', breaks: 'R11: commits alone before the drop has won' },
  { mutation: 'applies-uncommitted', breaks: 'R18: applies what is not committed' },
  { mutation: 'assumes-swaps-won', breaks: 'R15: reigns before the win is known' },
  { mutation: 'blank-under-old-name', breaks: 'R2: a blank store under the name of the old one' },
  {
    mutation: 'solo-tail-is-committed',
    breaks: 'R23: recovery applies all that a site wrote alone, although it waited for its peer',
  },
  { mutation: 'never-reads-register', breaks: 'R9: nobody reads the register' },
];

/** The first seed that shows a violation, with its text. */
function firstViolation(mutation: Mutation): string | undefined {
  for (let seed = 0; seed < seedsMax; seed += 1) {
    try {
      new CoreWorld(seed, mutation).run();
    } catch (error) {
      return `seed ${seed}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return undefined;
}

for (const { mutation, breaks } of mutations) {
  t.test(`noticed: ${breaks}`, async (t) => {
    const violation = firstViolation(mutation);
    t.ok(violation, `${mutation} is noticed within ${seedsMax} seeds`);
    t.comment(violation?.slice(0, 160) ?? '');
  });
}
