/** Two operators who end a split at the same moment, one at each site (R36). */
import { existsSync } from 'node:fs';
import t, { type Test } from 'tap';
import { pollUntil } from '../support/poll.ts';
import { type SpoiledSite, spoiledPair } from '../support/site-pair.ts';

/** Each site has written what the other one lacks, and they have met. */
async function split(t: Test): Promise<{ readonly a: SpoiledSite; readonly b: SpoiledSite }> {
  const tables = { replication: ['rejoinBackoffMs = 100', 'rejoinBackoffMsMax = 500'] };
  const pair = await spoiledPair(t, { onPeerLoss: 'preferred', tables });
  const { a, b } = pair;
  await b.stop();
  await a.until('goes on alone', ({ serves, inSync }) => serves && !inSync);
  await a.write('a', 1);
  await a.stop();
  await b.start();
  const { confirmation } = await b.site.promotionEvidence('blocks');
  await b.site.forcePromote('blocks', confirmation);
  await b.write('b', 2);
  await a.start();
  for (const site of [a, b]) {
    await site.until('is split', ({ peer, wait }) => {
      return wait?.code === 'split' || (peer.state === 'refused' && /^split/.test(peer.text));
    });
  }
  return pair;
}

async function isOneAgain({ a, b }: Awaited<ReturnType<typeof split>>): Promise<void> {
  for (const site of [a, b]) {
    await site.until('is in sync again', ({ serves, inSync }) => serves && inSync);
  }
}

function countOf(site: SpoiledSite, code: string): number {
  return site.site.events({ limit: 100 }).filter((event) => event.code === code).length;
}

t.test('both sides are not given up, whoever asks for it', async (t) => {
  const pair = await split(t);
  const { a, b } = pair;
  const asked = await Promise.allSettled([
    a.site.resolveSplit('blocks', 'lux-1'),
    b.site.resolveSplit('blocks', 'lux-2'),
  ]);
  t.ok(countOf(a, 'resolve-begun') + countOf(b, 'resolve-begun') <= 1);
  for (const outcome of asked) {
    if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'ERR_RESOLVING' });
  }
  if (asked.every(({ status }) => status === 'rejected')) {
    await a.site.resolveSplit('blocks', 'lux-2');
  }
  await isOneAgain(pair);
});

t.test('one side that is given up twice is given up once', async (t) => {
  const pair = await split(t);
  const { a, b } = pair;
  const answers = await Promise.all([
    a.site.resolveSplit('blocks', 'lux-1'),
    a.site.resolveSplit('blocks', 'lux-1'),
    b.site.resolveSplit('blocks', 'lux-1'),
  ]);
  t.equal(countOf(a, 'resolve-begun'), 1);
  t.equal(new Set(answers.map(({ directory }) => directory)).size, 1);
  const [first] = answers;
  await pollUntil('what it held is kept aside', () => countOf(a, 'resolve-kept-aside') > 0);
  t.ok(first !== undefined && existsSync(first.directory));
  await isOneAgain(pair);
  t.equal(await a.read(2), 'b');
});
