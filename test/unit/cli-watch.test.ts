/** `status --watch`: drawn in place on a terminal, repeated elsewhere, colour only where wanted. */
import t from 'tap';
import { watch } from '../../daemon/cli/watch.ts';
import { CasemateError } from '../../daemon/errors.ts';

/** What is written when these texts (or errors) are seen one after the other. */
async function written(
  seen: readonly (string | Error)[],
  interactive: boolean,
  environment: Record<string, string> = {},
): Promise<string> {
  let output = '';
  let next = 0;
  const read = async (): Promise<string> => {
    const each = seen[next];
    next += 1;
    if (typeof each !== 'string') throw each;
    return each;
  };
  const write = (text: string): void => {
    output += text;
  };
  await watch(read, { write, interactive, environment }, async () => next < seen.length);
  return output;
}

const lost = 'peer  lux-2: NOT CONNECTED for 3 s\n';

t.test('without a terminal it is repeated as it is', async (t) => {
  t.equal(await written(['peer  well\n', lost], false), `peer  well\n\n${lost}\n`);
});

t.test('a terminal is redrawn in place, what is wrong in colour', async (t) => {
  const home = '\u001b[H\u001b[J';
  const red = `\u001b[1;31m${lost.trimEnd()}\u001b[0m\n`;
  t.equal(await written(['peer  well\n', lost], true), `${home}peer  well\n${home}${red}`);
  t.equal(await written([lost], true, { NO_COLOR: '1' }), `${home}${lost}`);
});

t.test('a daemon that does not answer is said, and asked again', async (t) => {
  const silent = new CasemateError('ERR_UNREACHABLE', 'no daemon answers');
  t.equal(
    await written([silent, 'peer  well\n'], false),
    'problem: no daemon answers\n\npeer  well\n\n',
  );
  await t.rejects(written([new Error('a bug')], false), { message: 'a bug' });
});
