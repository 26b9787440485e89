/**
 * The secondary is killed and comes back, again and again, under load: clients only wait, nothing
 * is lost, and afterwards both sites hold the same data, byte for byte.
 */
import { join } from 'node:path';
import t from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test('suspend: writes wait while the secondary is away, then go on', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 7,
    count: 8000,
    depth: 16,
  });
  for (let round = 1; round <= 3; round++) {
    await writer.acknowledged(round * 1500);
    await pair.b.signal('SIGKILL');
    const waiting = await pair.a.until('blocks', 'waits for its peer', (group) => !group.serves);
    t.ok(waiting.wait?.text, 'it says why');
    const why = await pair.a.tryCli('why', 'blocks');
    t.match(why.stdout, /suspended|waits/i, 'and so does `why`');
    await pair.b.start();
    await pair.inSync('blocks');
  }
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '');
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
});

t.test('preferred: the preferred site goes on alone and the other one catches up', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB', '--on-peer-loss', 'preferred');
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.tcpUri('blocks'),
    journal,
    seed: 8,
    count: 14_000,
    depth: 16,
  });
  let written = 0;
  for (let round = 1; round <= 3; round++) {
    written += 2000;
    await writer.acknowledged(written);
    await pair.b.signal('SIGKILL');
    const alone = await pair.a.until('blocks', 'goes on alone', (group) => {
      return group.serves && group.inSyncSites.length === 1;
    });
    t.notOk(alone.inSync, 'and does not pretend to be in sync');
    written += 2000;
    await writer.acknowledged(written);
    await pair.b.start();
    await pair.inSync('blocks');
  }
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await pair.inSync('blocks');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '');
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
});

t.test('a peer that is stopped, not dead, delays writes and then leaves', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '16MiB', '--on-peer-loss', 'preferred');
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 9,
    count: 5000,
    depth: 8,
  });
  await writer.acknowledged(1000);
  await pair.b.signal('SIGSTOP');
  await pair.a.until('blocks', 'goes on alone', (group) => {
    return group.serves && group.inSyncSites.length === 1;
  });
  await writer.acknowledged(3000);
  await pair.b.signal('SIGCONT');
  t.equal((await writer.ended).code, 0);
  await pair.inSync('blocks');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '');
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
});
