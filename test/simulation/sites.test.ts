/**
 * Whole sites, the witness and clients on a simulated clock, network and disks, through whatever a
 * few hundred seeds have in store for them (`sites/`). CASEMATE_SEEDS=n runs n seeds instead.
 */
import t from 'tap';
import { simulate } from './sites/simulate-process.ts';

const seedsDefault = 200;
const count = Number(process.env['CASEMATE_SEEDS'] ?? seedsDefault);
t.setTimeout(2 * 60_000 * Math.max(1, count / seedsDefault));

t.test('a seed is one run, exactly repeatable', async (t) => {
  for (const seed of ['3', '19']) {
    const [one, other] = await Promise.all([1, 2].map(() => simulate(['--seed', seed])));
    t.equal(one?.failed, false);
    t.match(one?.text, /is fine \(\d+/);
    t.equal(other?.text, one?.text);
  }
});

t.test('no seed breaks a promise, and all come back to two good copies', async (t) => {
  const { failed, text } = await simulate(['--seeds', String(count), '--cores', '1']);
  if (failed) t.fail(text);
  else t.comment(text);
  t.match(text, new RegExp(`^${count} seeds, `, 'm'), 'all seeds were run');
});
