/**
 * Sites that fail in part: a log that can't be written hands the volumes over (R33), a peer whose
 * disk stalls while its heartbeats go on leaves (I10), and an event loop that was late for its
 * lease answers no read (R19, R20); a log that the data files keep full makes writes wait (I9). Two
 * sites in one process, whose disks and clocks are spoiled.
 */
import t from 'tap';
import { metricsSnapshot } from '../../daemon/metrics-snapshot.ts';
import { SiteMetrics } from '../../metrics/site-metrics.ts';
import { type SpoiledSite, spoiledPair } from '../support/site-pair.ts';

function metricsOf({ site }: SpoiledSite): Promise<string> {
  return new SiteMetrics(() => metricsSnapshot(site, new Map())).text();
}

for (const code of ['EIO', 'ENOSPC']) {
  for (const onPeerLoss of ['suspend', 'preferred'] as const) {
    t.test(`${onPeerLoss}: the primary's log fails with ${code}: the other goes on`, async (t) => {
      const { a, b } = await spoiledPair(t, { onPeerLoss });
      await a.write('1');
      a.disk.fail('append-log', code);
      // Its place in history is not known any more, so nobody is told that it is there.
      let answered = false;
      const ignored = (): void => {
        answered = true;
      };
      a.write('2').then(ignored, ignored);
      const taken = await b.until('serves', ({ role, serves }) => role === 'primary' && serves);
      t.same(taken.inSyncSites, ['lux-2']);
      t.match(await b.read(), /1|2/, 'what was answered is there, or what followed');
      await b.write('3');
      t.equal(await b.read(), '3');
      const failed = await a.group();
      t.equal(failed.wait?.code, 'log-failed');
      t.equal(failed.serves, false);
      t.match((await a.site.status()).log.failed, new RegExp(code));
      t.match(a.events(), /disk-failed: .*writing the log failed/);
      t.match(b.events(), /group-swap: proposes handover .*the primary's log has failed/);
      t.notOk(answered, 'what the failed log did not take is not answered');
    });
  }
}

t.test('the disk of the secondary stalls: it leaves, and comes back', async (t) => {
  const { a, b } = await spoiledPair(t);
  await a.write('1');
  b.disk.stall('append-log');
  const before = a.site.clock.nowMs();
  await a.write('2');
  const waitedMs = a.site.clock.nowMs() - before;
  const { ackTimeoutMs } = a.site.config.replication;
  t.ok(waitedMs > ackTimeoutMs / 2, `the write waited ${waitedMs} ms`);
  const alone = await a.group();
  t.same(alone.inSyncSites, ['lux-1'], 'the peer has left the in-sync set');
  t.equal(b.site.peer.connected, true, 'although it is connected');
  t.match(a.events(), /group-swap: proposes drop .*no acknowledgement for/);
  b.disk.release();
  for (const site of [a, b]) {
    await site.until('is in sync again', ({ inSync, serves }) => inSync && serves);
  }
  await a.write('3');
  t.equal(await b.read(), '3');
});

for (const purpose of ['apply-data', 'sync-data'] as const) {
  t.test(`the data file of the primary fails, ${purpose}: the other goes on`, async (t) => {
    const { a, b } = await spoiledPair(t);
    a.disk.fail(purpose, 'EIO');
    await a.write('1');
    const taken = await b.until('serves', ({ role, serves }) => role === 'primary' && serves);
    t.same(taken.inSyncSites, ['lux-2']);
    t.equal(await b.read(), '1', 'what was answered is there');
    t.match(a.events(), /disk-failed: .*EIO/);
    t.equal((await a.group()).serves, false);
  });
}

t.test('the log of the secondary fails: it leaves, and says so', async (t) => {
  const { a, b } = await spoiledPair(t);
  b.disk.fail('append-log', 'EIO');
  await a.write('1');
  t.same((await a.group()).inSyncSites, ['lux-1']);
  t.equal((await b.group()).wait?.code, 'log-failed');
  t.match(b.events(), /disk-failed/);
});

t.test(
  'an event loop that comes late for its lease answers no read before it is renewed',
  async (t) => {
    const { a } = await spoiledPair(t);
    await a.write('1');
    const device = a.site.groups.find('blocks');
    const [group] = [...a.site.groups.all];
    if (device === undefined || group === undefined) throw new Error('the site has no volume');
    const target = Buffer.alloc(4096);
    t.ok(group.mayRead());
    // Nothing of the site runs in between, as if the process had been stopped for so long.
    a.lateMs = a.site.config.replication.leaseMs;
    t.notOk(group.mayRead());
    t.notOk(device.readNow(target, 0), 'not from memory');
    const late = a.read();
    t.equal(group.desk.heldRequests, 1, 'the read waits');
    t.equal(await late, '1', 'until the peer has answered, or is no longer needed');
  },
);

t.test('the log runs full while the data files lag: writes wait, and say why', async (t) => {
  const { a } = await spoiledPair(t);
  a.disk.stall('sync-data');
  const mebibyte = 1024 * 1024;
  const payload = [Buffer.alloc(mebibyte, 'x')];
  const writes = Array.from({ length: 80 }, () =>
    a.request({ command: 'write', lengthBytes: mebibyte, payload }),
  );
  const full = await a.until('is full', ({ wait }) => wait?.code === 'log-full');
  t.equal(full.serves, false);
  t.match(full.wait, { text: /limit of 64 MiB/, clears: /^by itself/ });
  t.match(a.events(), /log-full: the log is at its limit/);
  t.match(await metricsOf(a), /casemate_group_waiting.*log-full.* 1/);
  a.disk.release();
  t.same(new Set(await Promise.all(writes)), new Set([0]), 'all of them are answered');
  await a.until('serves again', ({ serves, wait }) => serves && wait === undefined);
  t.match(a.events(), /log-room/);
});

t.test('confirmed reads are answered by the word of the peer, not by the clock', async (t) => {
  const tables = { replication: ['reads = "confirmed"'] };
  const { a, b } = await spoiledPair(t, { tables, onPeerLoss: 'preferred' });
  await a.write('1');
  const [group] = [...a.site.groups.all];
  if (group === undefined) throw new Error('the site has no group');
  t.notOk(group.mayRead(), 'not even a read in memory, however fresh the lease is');
  t.same(await Promise.all([a.read(), a.read(), b.read()]), ['1', '1', '1'], 'at either site');
  const receivedAtMs = a.site.clock.nowMs();
  await a.read();
  t.ok(group.mayRead(receivedAtMs), 'what had come before the answer that is there is confirmed');
  t.notOk(group.mayRead(a.site.clock.nowMs()), 'what comes after it is not');
  await b.stop();
  t.equal(await a.read(), '1', 'once the other site has been dropped nobody is asked');
});
