/** The simulator finds what it is there for: each mutation is noticed within some seeds. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { mutations } from './sites/mutations.ts';
import { simulate } from './sites/simulate-process.ts';

const seedsMax = 300;
const mutate = fileURLToPath(new URL('./sites/mutate.js', import.meta.url));

t.setTimeout(170_000);

for (const { name, breaks, scenario, from = 1 } of mutations) {
  t.test(`noticed: ${breaks}`, async (t) => {
    const seeds = ['--from', String(from), '--seeds', String(seedsMax)];
    const args =
      scenario === undefined ? [...seeds, '--cores', '1', '--whole'] : ['--scenario', scenario];
    const { failed, text } = await simulate(args, ['--import', mutate], name);
    const found = /^seed \d+(?: fails)?: .*$/m.exec(text)?.[0];
    t.ok(failed && found, `${name} is noticed within ${seedsMax} seeds`);
    t.comment(found?.slice(0, 160) ?? text.slice(0, 400));
  });
}
