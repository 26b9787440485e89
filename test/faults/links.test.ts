/**
 * The cable between two sites is cut or falls silent under load, their witness reaches both: the
 * primary goes on, the other one never answers beside it, no client sees an error.
 */
import { join } from 'node:path';
import t from 'tap';
import { cabledPair, writers } from '../support/cabled-pair.ts';
import { sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { verifyJournal } from '../support/journaled-writes.ts';

for (const state of ['cut', 'silent'] as const) {
  t.test(`the cable between the sites is ${state}: the primary goes on`, async (t) => {
    const cabled = await cabledPair(t);
    const { pair, cables } = cabled;
    const [atA, atB] = writers(cabled, 2500);
    await atA?.acknowledged(500);
    await atB?.acknowledged(500);
    cables.peer.become(state);
    await servesAlone(pair.a);
    await atA?.acknowledged(1500);
    const there = await pair.b.until('blocks', 'knows that it was left', (group) => {
      return !group.inSyncSites.includes('lux-2');
    });
    t.notOk(there.serves, 'the other site does not answer');
    cables.peer.become('whole');
    t.equal((await atA?.ended)?.code, 0);
    t.equal((await atB?.ended)?.code, 0, 'its client waited, and saw no error');
    t.equal(
      await verifyJournal(pair.a.unixUri('other'), join(cabled.directory, 'journal-other')),
      '',
    );
    await sameEverywhere(t, pair, join(cabled.directory, 'journal-blocks'));
  });
}
