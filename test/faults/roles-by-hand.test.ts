/** Switchover and forced promotion by an operator, and the split that force can cause. */
import { join } from 'node:path';
import t from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test('switchover under load, there and back: a pause, no error', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  const journals = [join(directory, 'journal-a'), join(directory, 'journal-b')] as const;
  await pair.a.cli('volume', 'create', 'other', '--size', '64MiB', '--group', 'blocks');
  // One client at each site, on volumes of the same group.
  const writers = [
    startJournaledWrites({
      uri: pair.a.unixUri('blocks'),
      journal: journals[0],
      seed: 1,
      count: 3500,
      depth: 8,
    }),
    startJournaledWrites({
      uri: pair.b.unixUri('other'),
      journal: journals[1],
      seed: 2,
      count: 3500,
      depth: 8,
    }),
  ] as const;
  for (const [round, site] of [pair.b, pair.a, pair.b].entries()) {
    for (const writer of writers) await writer.acknowledged((round + 1) * 700);
    await pair.a.cli('switchover', 'blocks');
    await site.until('blocks', 'is primary here', (group) => {
      return group.role === 'primary' && group.serves && group.inSync;
    });
  }
  for (const writer of writers) t.same((await writer.ended).code, 0, 'no client saw an error');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journals[0]), '');
  t.equal(await verifyJournal(pair.a.unixUri('other'), journals[1]), '');
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
});

t.test('force while the other side goes on: split, seen and said by both', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '16MiB', '--on-peer-loss', 'preferred');
  const write = async (site: typeof pair.a, seed: number): Promise<void> => {
    const writer = startJournaledWrites({
      uri: site.unixUri('blocks'),
      journal: join(directory, `journal-${seed}`),
      seed,
      count: 500,
      depth: 4,
    });
    t.equal((await writer.ended).code, 0);
  };
  await write(pair.a, 1);
  // The preferred site goes on alone; then the other one is forced, without knowing that.
  await pair.b.signal('SIGKILL');
  await write(pair.a, 2);
  await pair.a.signal('SIGKILL');
  await pair.b.start();
  const shown = await pair.b.cli('promote', 'blocks', '--force', '--yes');
  t.match(shown, /may have/i, 'the evidence says what may be lost');
  await write(pair.b, 3);
  await pair.a.start();
  for (const site of [pair.a, pair.b]) {
    await site.until('blocks', 'refuses the other side', (group) => {
      return group.peer.state === 'refused' && /split/i.test(group.peer.text);
    });
    const status = await site.status();
    t.ok(
      status.problems.some(({ text }) => /split/i.test(text)),
      `${site.name} says so`,
    );
  }
  t.notOk((await pair.a.group('blocks')).serves, 'the side that was forced out does not serve');
  t.ok((await pair.b.group('blocks')).serves, 'the forced side keeps what it does');
});
