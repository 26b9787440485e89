/**
 * The daemon as a process: orderly stops, wrong neighbours, the life of a volume by its command.
 */
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { TestPair } from '../support/pair.ts';
import { runOk } from '../support/run-command.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test('SIGTERM stops in order, and everything is there after a start', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'disk', '--size', '64MiB');
  const uri = pair.a.unixUri('disk');
  await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 5 1M 3M', uri]);
  for (const site of [pair.b, pair.a]) t.equal(await site.signal('SIGTERM'), 0, 'exit code 0');
  t.notOk(existsSync(pair.a.socketPath), 'the socket is gone');
  await pair.start();
  await pair.inSync('disk');
  const read = await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 5 1M 3M', uri]);
  t.match(read, /read 3145728\/3145728/);
  t.notMatch(read, /Pattern verification failed/);
});

t.test('a second daemon on the same data directory is refused', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  await pair.a.start();
  const second = await pair.a.tryCli('run');
  t.not(second.code, 0);
  t.match(`${second.stderr}${second.stdout}`, /in use|another/i, 'it says why');
});

t.test('a daemon whose API port is taken ends, and does not serve in part', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  const other = createServer().listen(Number(new URL(pair.a.apiUrl).port), '127.0.0.1');
  t.teardown(() => other.close());
  await once(other, 'listening');
  const refused = await pair.a.tryCli('run');
  t.not(refused.code, 0);
  t.match(refused.stderr, /ERR_API_LISTEN/);
  t.notOk(existsSync(pair.a.socketPath), 'nothing is left of its NBD server');
});

t.test('a peer of another cluster is refused, and both sites say so', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  const config = readFileSync(pair.b.configPath, 'utf8');
  writeFileSync(pair.b.configPath, config.replace('cluster = "test"', 'cluster = "other"'));
  await Promise.all([pair.a.start(), pair.b.start()]);
  for (const site of [pair.a, pair.b]) {
    const { a, b } = pair;
    await t.resolves(
      (async () => {
        for (;;) {
          const { peer } = await site.status();
          if (/test/.test(peer.problem ?? '') && /other/.test(peer.problem ?? '')) return;
          if (!a.running || !b.running) throw new Error('a site ended');
        }
      })(),
      `${site.name} names both clusters`,
    );
  }
});

t.test('a volume is created, grown while in use, listed and deleted on both sites', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.b.cli('volume', 'create', 'disk', '--size', '16MiB');
  for (const site of [pair.a, pair.b]) {
    t.match(await site.cli('volume', 'list'), /disk/);
    t.match(await runOk('nbdinfo', [site.tcpUri('disk')]), /export-size: 16777216/);
  }
  await pair.a.cli('volume', 'resize', 'disk', '--size', '48MiB');
  for (const site of [pair.a, pair.b]) {
    await site.until('disk', 'has grown', ({ volumes }) => volumes[0]?.sizeBytes === 48 * 2 ** 20);
    t.match(await runOk('nbdinfo', [site.unixUri('disk')]), /export-size: 50331648/);
  }
  const uri = pair.a.unixUri('disk');
  await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 9 40M 4M', uri]);
  await runOk('qemu-io', ['-f', 'raw', '-c', 'discard 40M 2M', uri]);
  const map = await runOk('nbdinfo', ['--map', uri]);
  t.match(map, /hole/, 'discarded space is a hole');
  t.not(
    (await pair.a.tryCli('volume', 'resize', 'disk', '--size', '1MiB')).code,
    0,
    'no shrinking',
  );
  t.not((await pair.a.tryCli('volume', 'create', 'disk', '--size', '1MiB')).code, 0, 'exists');
  await pair.a.cli('volume', 'create', 'second', '--size', '8MiB', '--group', 'disk');
  t.match(await pair.b.cli('volume', 'list'), /second/);
  await pair.b.cli('volume', 'delete', 'second', '--yes');
  await pair.a.cli('volume', 'delete', 'disk', '--yes');
  for (const site of [pair.a, pair.b]) {
    t.notMatch(await site.cli('volume', 'list'), /disk|second/);
    const left = readdirSync(join(site.dataDirectory, 'volumes')).filter((name) =>
      name.endsWith('.data'),
    );
    t.same(left, [], 'no data is left');
  }
});

t.test('TRIM frees space on both sites', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t) });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'disk', '--size', '64MiB');
  const uri = pair.a.unixUri('disk');
  await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 32M', uri]);
  const allocated = (site: typeof pair.a): number =>
    readdirSync(join(site.dataDirectory, 'volumes'))
      .filter((name) => name.endsWith('.data'))
      .reduce((sum, name) => {
        return sum + statSync(join(site.dataDirectory, 'volumes', name)).blocks * 512;
      }, 0);
  await runOk('qemu-io', ['-f', 'raw', '-c', 'discard 0 32M', uri]);
  await pair.a.until('disk', 'is applied', (group) => group.applied === group.end.sequence);
  await pair.b.until('disk', 'is applied', (group) => group.applied === group.end.sequence);
  for (const site of [pair.a, pair.b]) {
    t.ok(allocated(site) < 2 ** 20, `${site.name}: ${allocated(site)} bytes are left`);
  }
  await pair.settled('disk');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined);
});
