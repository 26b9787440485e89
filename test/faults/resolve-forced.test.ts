/**
 * A side that is being given up is promoted by force after all, while what it held is still being
 * copied aside: it is nobody's copy any more, over restarts too. Two sites in one process.
 */
import t from 'tap';
import { pollUntil } from '../support/poll.ts';
import { type SpoiledSite, spoiledPair } from '../support/site-pair.ts';

async function force({ site }: SpoiledSite): Promise<void> {
  const { confirmation } = await site.promotionEvidence('blocks');
  await site.forcePromote('blocks', confirmation);
}

t.test('a force while a side is kept aside stands, over restarts', async (t) => {
  const { a, b } = await spoiledPair(t, { onPeerLoss: 'preferred' });
  await b.stop();
  await a.until('goes on alone', ({ serves }) => serves);
  await a.write('1');
  await a.stop();
  await b.start();
  await force(b);
  await b.until('serves alone', ({ serves }) => serves);
  await b.write('2');
  await a.start();
  await a.until('is split', ({ split }) => split?.there !== undefined);
  // Nothing waits to be applied here: what stalls is the copy.
  a.disk.stall('apply-data');
  const resolved = a.site.resolveSplit('blocks', 'lux-1');
  await pollUntil('its changes are being copied aside', () => a.disk.waiting > 0);
  await b.stop();
  await pollUntil('the peer is gone', () => !a.site.peer.connected);
  await force(a);
  await a.until('serves again', ({ serves }) => serves);
  const { dataDirectory } = a.site.config;
  a.disk.syncedDirectories.length = 0;
  a.disk.release();
  // The last step of the copy.
  await pollUntil('the copy has ended', () => {
    return a.disk.syncedDirectories.includes(dataDirectory);
  });
  await resolved;
  t.notMatch(a.events(), /resolve-kept-aside|resolve-done/);
  await a.write('3');
  await a.stop();
  await a.start();
  const again = await a.until('reigns, or is given up again', ({ serves, wait }) => {
    return serves || wait?.code === 'resolving';
  });
  t.ok(again.serves, 'it reigns as before');
  t.equal(await a.read(), '3');
});
