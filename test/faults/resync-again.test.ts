/**
 * A resync that can't go on from where it was, and one without room for a stage: the copies are the
 * same all the same (R26), holes too.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { TestPair, type TestSite } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { run } from '../support/run-command.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const mebibyte = 1024 * 1024;
const smallLog = {
  log: [
    'sizeBytes = "64MiB"',
    'segmentBytes = "16MiB"',
    'checkpointBytes = "16MiB"',
    'checkpointMs = 200',
  ],
  replication: ['inFlightBytesMax = "16MiB"'],
  volumes: ['applyBacklogBytesMax = "16MiB"'],
};

function blocks(site: TestSite, ...commands: string[]): Promise<void> {
  return onVolume(site, 'blocks', ...commands);
}

async function onVolume(site: TestSite, volume: string, ...commands: string[]): Promise<void> {
  const parts = commands.flatMap((each) => ['-c', each]);
  const { code, stdout, stderr } = await run('qemu-io', [
    '-f',
    'raw',
    ...parts,
    site.unixUri(volume),
  ]);
  if (code !== 0 || /fail|error/i.test(stdout)) throw new Error(`${stdout}${stderr}`);
}

/** Writes more than the log has room for, over and over at one place. */
async function outrunTheLog(site: TestSite, pattern: number): Promise<void> {
  const commands = Array.from({ length: 12 }, (_, round) => `write -P ${pattern + round} 16M 8M`);
  await blocks(site, ...commands);
}

async function pairWithVolume(
  t: Test,
  resync: string[],
  prepare: (pair: TestPair) => Promise<void> = () => Promise.resolve(),
): Promise<TestPair> {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, tables: { ...smallLog, resync } });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB', '--on-peer-loss', 'preferred');
  await pair.inSync('blocks');
  await blocks(pair.a, 'write -P 1 0 2M');
  await prepare(pair);
  await pair.settled('blocks');
  await pair.b.signal('SIGKILL');
  return pair;
}

async function sameAtRest(t: Test, pair: TestPair): Promise<void> {
  await pair.settled('blocks');
  // What was staged moves into the data files in the background.
  const files = join(pair.b.dataDirectory, 'volumes');
  await pollUntil('nothing is staged any more', () => {
    return !readdirSync(files).some((name) => name.endsWith('.stage'));
  });
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

t.test('away for too long once more: what was a hole in the stage is one afterwards', async (t) => {
  const pair = await pairWithVolume(t, ['rateBytesMin = "2MiB"', 'rateBytesMax = "2MiB"']);
  await blocks(pair.a, 'discard 0 1M');
  await outrunTheLog(pair.a, 10);
  await pair.b.start();
  // The hole comes first.
  await pair.b.until('blocks', 'has the hole in its stage', ({ resync }) => {
    return resync !== undefined && resync.doneBytes > 2 * mebibyte;
  });
  await pair.b.signal('SIGKILL');
  await outrunTheLog(pair.a, 30);
  await pair.b.start();
  await pair.inSync('blocks');
  t.match(await pair.b.cli('events', '--limit', '100'), /: everything/, 'it began anew');
  await sameAtRest(t, pair);
});

t.test('without room for a stage the copy is inconsistent until it is done', async (t) => {
  const pair = await pairWithVolume(t, ['stageBytesMax = "1MiB"', 'rateBytesMin = "64MiB"']);
  await outrunTheLog(pair.a, 50);
  await pair.b.start();
  await pair.inSync('blocks');
  t.match(await pair.b.cli('events', '--limit', '100'), /no room for a stage/);
  await sameAtRest(t, pair);
});

t.test('a site that is being resynced can be forced back to its old image', async (t) => {
  const slowly = ['rateBytesMin = "2MiB"', 'rateBytesMax = "2MiB"'];
  const pair = await pairWithVolume(t, slowly, async ({ a }) => {
    await a.cli('volume', 'create', 'other', '--size', '4MiB', '--group', 'blocks');
    await onVolume(a, 'other', 'write -P 9 0 1M');
  });
  await outrunTheLog(pair.a, 60);
  await blocks(pair.a, 'write -P 80 0 2M');
  await pair.b.start();
  await pair.b.until(
    'blocks',
    'has copied something',
    ({ resync }) => (resync?.doneBytes ?? 0) > 0,
  );
  await pair.a.cli('volume', 'delete', 'other', '--yes');
  await pair.b.until('blocks', 'has kept that the other volume is gone', (group) => {
    return group.volumes.length === 1 && group.checkpoint.sequence === group.end.sequence;
  });
  await pair.a.signal('SIGKILL');
  const shown = await pair.b.cli('promote', 'blocks', '--force', '--yes');
  t.match(shown, /goes back to record/, 'the evidence says what it goes back to');
  await blocks(pair.b, 'read -P 1 0 2M');
  await onVolume(pair.b, 'other', 'read -P 9 0 1M');
  await blocks(pair.b, 'write -P 81 4M 1M', 'read -P 81 4M 1M');
  await pair.b.signal('SIGKILL');
  await pair.b.start();
  await pair.b.until('blocks', 'serves again', ({ serves }) => serves);
  await blocks(pair.b, 'read -P 1 0 2M', 'read -P 81 4M 1M');
});
