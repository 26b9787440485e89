/**
 * A site loses its cables: the primary to both others, then another site takes over and it never
 * answers beside it; or only the one to the witness, then nothing happens.
 */
import { join } from 'node:path';
import t from 'tap';
import { cabledPair, writers } from '../support/cabled-pair.ts';
import { sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { verifyJournal } from '../support/journaled-writes.ts';

t.test('the primary is cut off from both: the other site takes over', async (t) => {
  const cabled = await cabledPair(t);
  const { pair, cables } = cabled;
  const [atA, atB] = writers(cabled, 2500);
  await atA?.acknowledged(500);
  await atB?.acknowledged(500);
  cables.peer.become('silent');
  cables.a.become('silent');
  await servesAlone(pair.b);
  await atB?.acknowledged(1500);
  t.notOk((await pair.a.group('blocks')).serves, 'the former primary does not answer');
  cables.peer.become('whole');
  cables.a.become('whole');
  t.equal((await atA?.ended)?.code, 0, 'its client waited, and saw no error');
  t.equal((await atB?.ended)?.code, 0);
  t.equal(
    await verifyJournal(pair.a.unixUri('other'), join(cabled.directory, 'journal-other')),
    '',
  );
  await sameEverywhere(t, pair, join(cabled.directory, 'journal-blocks'));
});

t.test('a cable to the witness is cut: nobody notices but the operator', async (t) => {
  const cabled = await cabledPair(t);
  const { pair, cables } = cabled;
  const [atA, atB] = writers(cabled, 3000);
  await atA?.acknowledged(500);
  const { epoch } = await pair.a.group('blocks');
  cables.a.become('cut');
  await pair.a.until('blocks', 'serves', ({ serves }) => serves);
  t.equal((await atA?.ended)?.code, 0);
  t.equal((await atB?.ended)?.code, 0);
  t.equal((await pair.a.group('blocks')).epoch, epoch);
  const { problems } = await pair.a.status();
  t.same(
    problems.map(({ code }) => code),
    ['witness-disconnected'],
  );
  cables.a.become('whole');
  await pair.connected();
  await sameEverywhere(t, pair, join(cabled.directory, 'journal-blocks'));
});
