/**
 * The store finds no room for what a group has to keep before anything else happens: that site
 * stops and says so, the other one goes on, and after a restart with room all is well (I9).
 */
import SQLite from 'better-sqlite3';
import t from 'tap';
import { spoiledPair } from '../support/site-pair.ts';

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
