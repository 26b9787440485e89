/**
 * A file system that runs full under the data files: writes wait, nothing is lost or answered that
 * is not safe, and when there is room again everything goes on (I9). Needs root, for a small tmpfs.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const mebibyte = 1024 * 1024;
const isRoot = process.getuid?.() === 0;

t.test('the disk of one site runs full and gets room again', { skip: !isRoot }, async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({
    directory,
    tables: {
      log: ['sizeBytes = "64MiB"', 'checkpointBytes = "8MiB"', 'commitBytesMax = "1MiB"'],
      replication: ['inFlightBytesMax = "4MiB"'],
      volumes: ['applyBacklogBytesMax = "4MiB"', 'memoryBytesMax = "16MiB"'],
    },
  });
  mkdirSync(pair.a.dataDirectory, { recursive: true });
  await runOk('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'casemate-test', pair.a.dataDirectory]);
  t.teardown(async () => {
    await pair.stop();
    await runOk('umount', [pair.a.dataDirectory]);
  });
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  const ballast = join(pair.a.dataDirectory, 'ballast');
  writeFileSync(ballast, Buffer.alloc(60 * mebibyte));
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 3,
    count: 30_000,
    depth: 16,
  });
  const full = await pair.a.until('blocks', 'says that its disk is full', (group) => {
    return group.wait?.code === 'disk-full';
  });
  t.match(full.wait?.text, /full/);
  rmSync(ballast);
  t.equal((await writer.ended).code, 0, 'the client saw a pause, no error');
  await pair.inSync('blocks');
  t.equal(await verifyJournal(pair.a.unixUri('blocks'), journal), '');
});
