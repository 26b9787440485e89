/** Named stories of what went wrong elsewhere; see `sites/scenarios.ts`. */
import t from 'tap';
import { scenarios } from './sites/scenarios.ts';
import { simulate } from './sites/simulate-process.ts';

t.setTimeout(2 * 60_000);

for (const { name } of scenarios) {
  t.test(name, async (t) => {
    const { failed, text } = await simulate(['--scenario', name]);
    t.notOk(failed, text.slice(0, 4000));
    t.match(text, /came as told/);
  });
}
