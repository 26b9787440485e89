/**
 * A pair gets a witness, and loses it again, while its volumes stay in use: the list of voters
 * changes only when both sites' configurations say the same, and what was acknowledged stays.
 */
import { join } from 'node:path';
import t from 'tap';
import { servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test('from two voters to three and back', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, witness: true });
  const { a, b, witness } = pair;
  for (const site of [a, b]) site.configure({});
  t.teardown(() => pair.stop());
  await Promise.all([witness.start(), a.start(), b.start()]);
  await a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  await pair.inSync('blocks');
  t.same((await a.group('blocks')).voters, ['lux-1', 'lux-2']);
  const journal = join(directory, 'journal');
  let seed = 40;
  const write = async (): Promise<void> => {
    seed += 1;
    const uri = a.unixUri('blocks');
    const writer = startJournaledWrites({ uri, journal, seed, count: 500, depth: 8 });
    t.equal((await writer.ended).code, 0);
  };
  await write();

  // One site has it, the other has not: nothing changes, and both values are named.
  await b.stop();
  b.configure(witness.siteTables());
  await b.start();
  await pair.inSync('blocks');
  await write();
  t.equal((await a.group('blocks')).voters.length, 2);
  const { problems } = await a.status();
  const differs = problems.find(({ code }) => code === 'witness-differs');
  t.match(differs?.text, /different witnesses: lux-1 has none, lux-2 has "lux-w"/);
  const refused = await a.tryCli('volume', 'create', 'more', '--size', '16MiB');
  t.match(refused.stderr, /lux-1 has none, lux-2 has "lux-w"[\s\S]*ERR_WITNESS_DIFFERS/);

  // Both have it: it votes, and one site is enough from now on.
  await a.stop();
  a.configure(witness.siteTables());
  await a.start();
  await pair.guarded('blocks');
  t.same((await a.group('blocks')).voters, ['lux-1', 'lux-2', 'lux-w']);
  await write();
  const primary = (await a.group('blocks')).role === 'primary' ? a : b;
  const other = primary === a ? b : a;
  await primary.signal('SIGKILL');
  await servesAlone(other);
  await primary.start();
  await pair.guarded('blocks');

  // It is gone for good: both sites take it out without its help.
  await witness.signal('SIGKILL');
  for (const site of [b, a]) {
    await site.stop();
    site.configure({});
    await site.start();
  }
  await pair.inSync('blocks');
  for (const site of [a, b]) {
    await site.until('blocks', 'has two voters again', ({ voters }) => voters.length === 2);
  }
  await write();
  t.equal(await verifyJournal(b.unixUri('blocks'), journal), '');
});
