/** Promotion by force: alone where nobody else decides, through the witness where there is one. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { GroupStatus } from '../../daemon/site-status.ts';
import { guardedPair, servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair, type TestSite } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { spoiledPair } from '../support/site-pair.ts';

let seed = 60;

async function write(t: Test, site: TestSite, journal: string): Promise<void> {
  seed += 1;
  const uri = site.unixUri('blocks');
  const writer = startJournaledWrites({ uri, journal, seed, count: 400, depth: 8 });
  t.equal((await writer.ended).code, 0);
}

t.test('a primary that waits for a lost peer can be made to go on', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '16MiB');
  const journal = join(directory, 'journal');
  await write(t, pair.a, journal);
  const refused = await pair.a.tryCli('promote', 'blocks', '--force', '--yes');
  t.match(refused.stderr, /ERR_ALREADY_PRIMARY/, 'not while it serves');
  await pair.b.signal('SIGKILL');
  await pair.a.until('blocks', 'waits for its peer', ({ serves }) => !serves);
  await pair.a.cli('promote', 'blocks', '--force', '--yes');
  await servesAlone(pair.a);
  await write(t, pair.a, journal);
  // The peer lacks nothing that was acknowledged elsewhere: it simply joins.
  await pair.b.start();
  await pair.inSync('blocks');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '');
});

t.test('with a witness, a site that is forced fences the other one', async (t) => {
  const { pair, journal } = await guardedPair(t);
  const [before, lost] = [journal, `${journal}-lost`];
  await write(t, pair.a, before);
  await pair.b.signal('SIGKILL');
  await servesAlone(pair.a);
  await write(t, pair.a, lost);
  await pair.a.signal('SIGKILL');
  await pair.b.start();
  const waiting = await pair.b.until('blocks', 'knows that it is not in sync', (group) => {
    return !group.serves && group.epoch > 2 && !group.inSyncSites.includes('lux-2');
  });
  t.match(waiting.wait?.text, /promote --force/);
  const shown = await pair.b.cli('promote', 'blocks', '--force', '--yes');
  t.match(shown, /what it lacks is lost/);
  await servesAlone(pair.b);
  t.equal((await pair.b.group('blocks')).voters.length, 3, 'the witness has voted for it');
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), before), '');
  // With the witness it could serve, had it not been fenced: it has writes that nobody else has.
  await pair.a.start();
  const fenced = await pair.a.until('blocks', 'is split', (group) => group.wait?.code === 'split');
  t.notOk(fenced.serves);
  t.ok((await pair.b.group('blocks')).serves);
});

t.test('of two operators who promote a site at once, one is told to look again', async (t) => {
  const { a, b } = await spoiledPair(t);
  await a.write('1');
  const isCommitted = ({ end, commit }: GroupStatus): boolean => end.sequence === commit;
  await b.until('has heard that it is committed', isCommitted);
  await a.stop();
  await pollUntil('the peer is lost', () => !b.site.peer.connected);
  const { confirmation, lastCommon, ownEnd } = await b.site.promotionEvidence('blocks');
  t.same(lastCommon, ownEnd, 'the point that was committed last');
  const both = [1, 2].map(() => b.site.forcePromote('blocks', confirmation));
  const told = (await Promise.allSettled(both)).flatMap((each) =>
    each.status === 'rejected' ? [each.reason] : [],
  );
  t.equal(told.length, 1);
  t.match(told[0], { code: 'ERR_CONFIG_CHANGED' });
  t.equal(await b.read(), '1');
  await b.write('2');
});
