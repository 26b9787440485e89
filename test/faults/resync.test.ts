/**
 * A site that was away for longer than the log reaches is resynced (R26): while clients write, with
 * each side killed in the middle, onto an old copy and onto an empty disk; and it is never taken
 * for whole before it is.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair, type TestSite } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { run } from '../support/run-command.ts';
import { differenceAtRest, isStaging } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const mebibyte = 1024 * 1024;
const smallLog = {
  log: [
    'sizeBytes = "64MiB"',
    'segmentBytes = "16MiB"',
    'checkpointBytes = "16MiB"',
    'checkpointMs = 500',
  ],
  replication: ['inFlightBytesMax = "16MiB"'],
  volumes: ['applyBacklogBytesMax = "16MiB"'],
};
const quickly = ['rateBytesMin = "256MiB"'];
/** Slow enough for a test to act in the middle. */
const slowly = ['rateBytesMin = "8MiB"', 'rateBytesMax = "8MiB"'];

async function pairWithVolume(
  t: Test,
  tables: Record<string, string[]>,
): Promise<{ pair: TestPair; directory: string }> {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, tables: { ...smallLog, ...tables } });
  t.teardown(() => pair.stop());
  await pair.start();
  const options = ['--size', '192MiB', '--on-peer-loss', 'preferred'];
  await pair.a.cli('volume', 'create', 'blocks', ...options);
  await pair.inSync('blocks');
  return { pair, directory };
}

/** Writes more than the log has room for, a pattern of its own into each 8 MiB. */
async function outrunTheLog(site: TestSite, pattern: number, fromMebibytes: number): Promise<void> {
  const commands: string[] = [];
  for (let at = fromMebibytes; at < fromMebibytes + 128; at += 8) {
    commands.push('-c', `write -P ${pattern + at / 8} ${at}M 8M`);
  }
  const { code, stdout, stderr } = await run('qemu-io', [
    '-f',
    'raw',
    ...commands,
    site.unixUri('blocks'),
  ]);
  if (code !== 0) throw new Error(`qemu-io: ${stdout}${stderr}`);
}

async function alone(site: TestSite): Promise<void> {
  await site.until('blocks', 'goes on alone', ({ serves, inSyncSites }) => {
    return serves && inSyncSites.length === 1;
  });
}

/** Waits until the site has copied something of a resync, and not all. */
async function inTheMiddle(site: TestSite): Promise<void> {
  await site.until('blocks', 'is in the middle of a resync', ({ resync }) => {
    return (
      resync?.direction === 'to-here' &&
      resync.doneBytes > 0 &&
      resync.doneBytes < resync.totalBytes
    );
  });
}

async function resyncsCompleted(site: TestSite): Promise<number> {
  const text = await (await fetch(`${site.apiUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith('casemate_group_resyncs_completed'));
  return Number(line?.split(' ').at(-1));
}

async function sameAtRest(t: Test, pair: TestPair): Promise<void> {
  await pair.settled('blocks');
  // What was staged moves into the data files in the background.
  await pollUntil('nothing is staged any more', () => !isStaging(pair.b));
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

t.test('what has changed meanwhile is copied while clients write', async (t) => {
  const { pair, directory } = await pairWithVolume(t, { resync: quickly });
  await outrunTheLog(pair.a, 1, 0);
  await pair.inSync('blocks');
  await pair.b.signal('SIGKILL');
  await alone(pair.a);
  await outrunTheLog(pair.a, 101, 16);
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 3,
    count: 4000,
    depth: 8,
  });
  await writer.acknowledged(200);
  await pair.b.start();
  await pair.inSync('blocks');
  t.equal(await resyncsCompleted(pair.b), 1, 'by a resync');
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await pair.a.cli('switchover', 'blocks');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '', 'all of it at lux-2');
  await sameAtRest(t, pair);
});

t.test('each side is killed in the middle, and it goes on from where it was', async (t) => {
  const { pair } = await pairWithVolume(t, { resync: slowly });
  await outrunTheLog(pair.a, 1, 0);
  await pair.inSync('blocks');
  await pair.b.signal('SIGKILL');
  await alone(pair.a);
  await outrunTheLog(pair.a, 101, 32);
  await pair.b.start();
  await inTheMiddle(pair.b);
  await pair.b.signal('SIGKILL');
  await pair.b.start();
  await inTheMiddle(pair.b);
  await pair.a.signal('SIGKILL');
  await pair.b.until('blocks', 'does not serve', ({ serves }) => !serves);
  await pair.a.start();
  await pair.inSync('blocks');
  await sameAtRest(t, pair);
});

t.test('an empty disk gets everything, and holes stay holes', async (t) => {
  const { pair } = await pairWithVolume(t, { resync: quickly });
  await outrunTheLog(pair.a, 1, 0);
  await pair.inSync('blocks');
  await pair.b.signal('SIGKILL');
  await alone(pair.a);
  await outrunTheLog(pair.a, 51, 0);
  rmSync(pair.b.dataDirectory, { recursive: true });
  await pair.b.start();
  await pair.inSync('blocks');
  const { allocatedBytes = 0 } = (await pair.b.group('blocks')).volumes[0] ?? {};
  t.ok(allocatedBytes < 130 * mebibyte, `${allocatedBytes} bytes are allocated`);
  await sameAtRest(t, pair);
});
