/** The end of a split: one side is given up, keeps what it had changed, and becomes a copy. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { guardedPair, servesAlone } from '../support/guarded-pair.ts';
import { freePorts, TestPair, type TestSite } from '../support/pair.ts';
import { run, runOk } from '../support/run-command.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

/** Runs qemu-io on an export or a file. */
async function io(target: string, ...commands: string[]): Promise<void> {
  const words = commands.flatMap((command) => ['-c', command]);
  const { code, stdout, stderr } = await run('qemu-io', ['-f', 'raw', ...words, target]);
  if (code !== 0) throw new Error(`qemu-io ${commands.join('; ')}: ${stdout}${stderr}`);
  // A pattern that does not fit is told on standard output.
  if (/verification failed/.test(stdout)) throw new Error(`${target}: ${stdout}`);
}

interface Cut {
  readonly pair: TestPair;
  readonly cable: TcpProxy;
}

/** Two sites without a witness whose cable can be cut; the volume `blocks` is in sync. */
async function cutPair(t: Test, options: readonly string[] = []): Promise<Cut> {
  const [port = 0] = await freePorts(1);
  const pair = await TestPair.make({
    directory: scratchDirectory(t),
    via: { a: port },
    tables: { replication: ['rejoinBackoffMs = 100', 'rejoinBackoffMsMax = 500'] },
  });
  const cable = await TcpProxy.listen(port);
  cable.upstreamPort = pair.ports.b;
  t.teardown(async () => {
    await pair.stop();
    await cable.close();
  });
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB', ...options);
  await pair.inSync('blocks');
  await io(pair.a.unixUri('blocks'), 'write -P 1 0 16M');
  await pair.settled('blocks');
  return { pair, cable };
}

/** Both sites are promoted by force while they are cut off, and written to; then they meet. */
async function split(t: Test): Promise<Cut> {
  const { pair, cable } = await cutPair(t);
  cable.become('cut');
  await pair.a.until('blocks', 'waits for its peer', ({ serves }) => !serves);
  for (const site of [pair.b, pair.a]) {
    await site.cli('promote', 'blocks', '--force', '--yes');
    await servesAlone(site);
  }
  await io(pair.a.unixUri('blocks'), 'write -P 10 1M 1M', 'write -P 11 20M 1M');
  await io(pair.b.unixUri('blocks'), 'write -P 20 1M 512k', 'write -P 21 30M 1M');
  cable.become('whole');
  await refused(pair);
  return { pair, cable };
}

async function refused(pair: TestPair): Promise<void> {
  for (const site of [pair.a, pair.b]) {
    await site.until('blocks', 'is split', ({ peer, wait }) => {
      return wait?.code === 'split' || (peer.state === 'refused' && /^split/.test(peer.text));
    });
  }
}

/** The directory that the command names. */
function keptIn(said: string): string {
  const directory = said.split('\n').find((line) => line.startsWith('  /'));
  if (directory === undefined) throw new Error(`no directory in: ${said}`);
  return directory.trim();
}

const mebibyte = 1024 * 1024;
const ofA = ['read -P 10 1M 1M', 'read -P 11 20M 1M', 'read -P 0 30M 1M'];
const ofB = ['read -P 20 1M 512k', 'read -P 1 1536k 512k', 'read -P 21 30M 1M', 'read -P 0 20M 1M'];

async function sameAtRest(t: Test, pair: TestPair): Promise<void> {
  await pair.settled('blocks');
  for (const site of [pair.a, pair.b]) {
    await site.until('blocks', 'has nothing staged', ({ resync }) => resync === undefined);
  }
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

async function becameCopy(site: TestSite): Promise<void> {
  await site.until('blocks', 'is a copy of the other side', ({ inSync, serves }) => {
    return inSync && serves;
  });
}

t.test('without a split nothing is given up', async (t) => {
  const { pair } = await cutPair(t);
  const well = await pair.a.tryCli('resolve', 'blocks', '--drop', 'lux-2', '--yes');
  t.match(well.stderr, /ERR_NOT_SPLIT/);
  const unknown = await pair.a.tryCli('resolve', 'blocks', '--drop', 'lux-3', '--yes');
  t.match(unknown.stderr, /ERR_NO_SUCH_SITE/);
  await pair.b.signal('SIGKILL');
  await pair.a.until('blocks', 'waits for its peer', ({ serves }) => !serves);
  const apart = await pair.a.tryCli('resolve', 'blocks', '--drop', 'lux-2', '--yes');
  t.match(apart.stderr, /ERR_PEER_NEEDED/);
});

t.test('the other side is given up, and keeps what it had changed', async (t) => {
  const { pair } = await split(t);
  const shown = await pair.a.until('blocks', 'shows both sides', ({ split }) => {
    return split?.there !== undefined;
  });
  const changed = (offset: number, length: number) => ({
    offsetBytes: offset * mebibyte,
    lengthBytes: length * mebibyte,
  });
  t.match(shown.split?.here, {
    site: 'lux-1',
    changedBytes: 2 * mebibyte,
    volumes: [{ name: 'blocks', extents: [changed(1, 1), changed(20, 1)], leftOutBytes: 0 }],
  });
  t.match(shown.split?.there, {
    site: 'lux-2',
    volumes: [{ name: 'blocks', extents: [changed(1, 0.5), changed(30, 1)] }],
  });
  const status = await pair.b.tryCli('status');
  t.match(status.stdout, /lux-1: .*2 MiB changed since record \d+\n.*1 MiB at 20 MiB/);
  const grow = await pair.a.tryCli('volume', 'resize', 'blocks', '--size', '80MiB');
  t.match(grow.stderr, /ERR_SPLIT/, 'the volumes stay what both sites have');
  const said = await pair.a.cli('resolve', 'blocks', '--drop', 'lux-2', '--yes');
  t.match(said, /lux-2: .* changed since/, 'what is given up is shown');
  await becameCopy(pair.b);
  await pair.inSync('blocks');
  for (const site of [pair.a, pair.b]) await io(site.unixUri('blocks'), ...ofA);
  const directory = keptIn(said);
  t.ok(directory.startsWith(pair.b.dataDirectory));
  await io(join(directory, 'blocks.raw'), ...ofB.slice(0, 1), 'read -P 21 30M 1M');
  const read = 'qemu-io -r -f raw -c "read -P 21 30M 1M" $uri';
  const file = join(directory, 'blocks.raw');
  const inside = await runOk('nbdkit', ['--readonly', 'file', file, '--run', read]);
  t.notMatch(inside, /verification failed/, 'nbdkit shows it too');
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'));
  t.match(manifest, { format: 1, volume: 'blocks', site: 'lux-2', holds: 'changes' });
  const { extents } = manifest;
  t.same(extents, [changed(1, 0.5), changed(30, 1)]);
  t.equal((await pair.a.group('blocks')).voters.length, 2, 'both sites decide again');
  // The pair works as before: the other site can take over and give back.
  await pair.a.cli('switchover', 'blocks');
  await io(pair.b.unixUri('blocks'), 'write -P 30 40M 1M');
  const again = await pair.b.tryCli('resolve', 'blocks', '--drop', 'lux-2', '--yes');
  t.match(again.stderr, /ERR_NOT_SPLIT/);
  await sameAtRest(t, pair);
});

t.test('the site where it is asked is given up, and is killed in the middle', async (t) => {
  const { pair } = await split(t);
  const said = await pair.a.cli('resolve', 'blocks', '--drop', 'lux-1', '--yes');
  await pair.a.signal('SIGKILL');
  const lonely = await pair.b.group('blocks');
  t.ok(lonely.serves, 'the other side goes on meanwhile');
  await pair.a.start();
  await becameCopy(pair.a);
  for (const site of [pair.a, pair.b]) await io(site.unixUri('blocks'), ...ofB);
  await io(join(keptIn(said), 'blocks.raw'), ...ofA.slice(0, 2));
  await pair.inSync('blocks');
  await sameAtRest(t, pair);
});

t.test('the preferred site can be the one that is given up', async (t) => {
  const { pair, cable } = await cutPair(t, ['--on-peer-loss', 'preferred']);
  cable.become('cut');
  await servesAlone(pair.a);
  await io(pair.a.unixUri('blocks'), 'write -P 10 1M 1M', 'write -P 11 20M 1M');
  await pair.b.cli('promote', 'blocks', '--force', '--yes');
  await servesAlone(pair.b);
  await io(pair.b.unixUri('blocks'), 'write -P 20 1M 512k', 'write -P 21 30M 1M');
  cable.become('whole');
  await refused(pair);
  await pair.b.cli('resolve', 'blocks', '--drop', 'lux-1', '--yes');
  await pair.inSync('blocks');
  await io(pair.a.unixUri('blocks'), ...ofB);
  t.same((await pair.b.group('blocks')).voters, ['lux-1'], 'the preferred site decides again');
  await pair.b.cli('switchover', 'blocks');
  await io(pair.a.unixUri('blocks'), 'write -P 30 40M 1M');
  await sameAtRest(t, pair);
});

t.test('with a witness, the site that was promoted by force can be given up', async (t) => {
  const { pair } = await guardedPair(t);
  await io(pair.a.unixUri('blocks'), 'write -P 1 0 16M');
  await pair.b.signal('SIGKILL');
  await servesAlone(pair.a);
  await io(pair.a.unixUri('blocks'), 'write -P 10 1M 1M', 'write -P 11 20M 1M');
  await pair.a.signal('SIGKILL');
  await pair.b.start();
  await pair.b.cli('promote', 'blocks', '--force', '--yes');
  await servesAlone(pair.b);
  await io(pair.b.unixUri('blocks'), 'write -P 20 1M 512k', 'write -P 21 30M 1M');
  await pair.a.start();
  await pair.a.until('blocks', 'is split and shows what it has', ({ wait, split }) => {
    const parts = split?.here.volumes[0]?.extents ?? [];
    return wait?.code === 'split' && parts.some(({ offsetBytes }) => offsetBytes === 20 * mebibyte);
  });
  await pair.a.cli('resolve', 'blocks', '--drop', 'lux-2', '--yes');
  await pair.a.signal('SIGKILL');
  await pair.a.start();
  await pair.guarded('blocks');
  for (const site of [pair.a, pair.b]) await io(site.unixUri('blocks'), ...ofA);
  await sameAtRest(t, pair);
});
