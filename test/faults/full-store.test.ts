/**
 * No room where something has to be kept before anything else happens (I9): a site whose store is
 * full stops and says so, and after a restart with room all is well; a resync waits for its files.
 */
import { rmSync } from 'node:fs';
import SQLite from 'better-sqlite3';
import t from 'tap';
import { pollUntil } from '../support/poll.ts';
import { spoiledPair } from '../support/site-pair.ts';

const mebibyte = 1024 * 1024;

t.test('a base that finds no room in the store stops the site in clear words', async (t) => {
  const { a, b } = await spoiledPair(t, { onPeerLoss: 'preferred' });
  await a.write('1');
  a.site.store.setBase = () => {
    throw new SQLite.SqliteError('database or disk is full', 'SQLITE_FULL');
  };
  await b.stop();
  const stopped = await a.until('stops', ({ wait }) => wait?.code === 'log-failed');
  t.notOk(stopped.serves);
  t.match(a.site.failure, /the store has no room .* then restart the daemon/);
  await a.stop();
  await a.start();
  await a.until('goes on alone', ({ serves }) => serves);
  t.equal(await a.read(), '1');
  await a.write('2');
  await b.start();
  await b.until('is in sync', ({ inSync }) => inSync);
  t.equal(await b.read(), '2');
});

t.test('a blank site whose disk is full waits for room to begin its resync', async (t) => {
  const tables = { log: ['checkpointMs = 100'] };
  const { a, b } = await spoiledPair(t, { onPeerLoss: 'preferred', tables });
  const { id } = await a.group();
  await pollUntil('the log has let go of how the volume was made', async () => {
    const payload = [Buffer.alloc(mebibyte, '1')];
    await a.request({ command: 'write', lengthBytes: mebibyte, payload });
    return (a.site.log.firstSequence(id) ?? 0) > 3;
  });
  const { dataDirectory } = b.site.config;
  await b.stop();
  await a.until('goes on alone', ({ serves }) => serves);
  rmSync(dataDirectory, { recursive: true });
  b.disk.fail('write-checksums', 'ENOSPC');
  await b.start();
  await pollUntil('it says that it has no room, or fails', () => {
    return /disk-full|disk-failed/.test(b.events());
  });
  t.equal(b.site.failure, undefined);
  b.disk.mend();
  await b.until('is in sync', ({ inSync, serves }) => inSync && serves);
  t.equal(await b.read(), '1');
});
