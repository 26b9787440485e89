/**
 * The main promise, on real processes with real input: the primary is killed in the middle of
 * everything, the other site is promoted by force, and what it serves has every acknowledged write
 * byte for byte, and a file system that was copied in whole passes its check and every hash.
 */
import { join } from 'node:path';
import t from 'tap';
import { makeExt4Image, verifyExt4Copy } from '../support/ext4-image.ts';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { runOk } from '../support/run-command.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const mebibyte = 1024 * 1024;

t.test('the primary is killed while clients write; the other site has everything', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  const image = await makeExt4Image(directory, 192 * mebibyte, 3000);
  t.ok(image.files.size >= 2000, `a few thousand real files (${image.files.size})`);
  await pair.a.cli('volume', 'create', 'files', '--size', '192MiB');
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');

  // The image is copied in whole while another client writes, then more is written.
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 1,
    count: 1_000_000,
    depth: 16,
  });
  await writer.acknowledged(500);
  await runOk('nbdcopy', ['--flush', image.path, pair.a.tcpUri('files')]);
  await writer.acknowledged(3000);
  await pair.a.signal('SIGKILL');
  const ended = await writer.ended;
  t.equal(ended.code, 3, `the client saw the server go away: ${ended.output}`);

  const refused = await pair.b.tryCli('promote', 'files', '--yes');
  t.not(refused.code, 0, 'a promotion without --force is refused');
  for (const volume of ['files', 'blocks']) {
    const shown = await pair.b.cli('promote', volume, '--force', '--yes');
    t.match(shown, /on both sites +up to record/, 'the evidence is shown');
    const group = await pair.b.group(volume);
    t.equal(group.role, 'primary');
    t.ok(group.serves);
  }
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '', 'every acknowledged write');
  const copy = join(directory, 'copy.ext4');
  await runOk('nbdcopy', [pair.b.tcpUri('files'), copy]);
  t.equal(await verifyExt4Copy(image, copy, directory), image.files.size, 'every file is whole');

  t.test('it returns, gives up what was never acknowledged, and is in sync again', async (t) => {
    await pair.a.start();
    await pair.inSync('files');
    await pair.inSync('blocks');
    t.equal((await pair.a.group('blocks')).role, 'secondary');
    const events = await pair.b.cli('events', '--json');
    t.match(events, /forced-promotion/, 'the promotion is recorded');
    // Either site serves: here the returned one passes requests on.
    t.equal(await verifyJournal(pair.a.unixUri('blocks'), journal), '');
    await pair.settled('files');
    await pair.settled('blocks');
    await pair.stop();
    t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
  });
});

t.test('the primary is killed and started again, over and over, under load', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  const journal = join(directory, 'journal');
  for (let round = 1; round <= 3; round++) {
    const writer = startJournaledWrites({
      uri: pair.a.unixUri('blocks'),
      journal,
      seed: round,
      count: 1_000_000,
      depth: 32,
    });
    await writer.acknowledged(1000);
    await pair.a.signal('SIGKILL');
    t.equal((await writer.ended).code, 3);
    await pair.a.start();
    await pair.inSync('blocks');
    t.equal(await verifyJournal(pair.a.unixUri('blocks'), journal), '', `round ${round}`);
  }
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
});
