/**
 * A witness loses its disk: under its old name it has another store, which votes for nobody until
 * both sites have taken it in (R5, H33); then it decides as the old one did.
 */
import { rmSync } from 'node:fs';
import t from 'tap';
import { guardedPair, sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites } from '../support/journaled-writes.ts';

t.test('a witness with an empty disk is taken in anew', async (t) => {
  const { pair, journal } = await guardedPair(t);
  const { a, b, witness } = pair;
  const writer = startJournaledWrites({
    uri: a.unixUri('blocks'),
    journal,
    seed: 90,
    count: 4000,
    depth: 8,
  });
  await writer.acknowledged(500);
  await witness.signal('SIGKILL');
  rmSync(witness.dataDirectory, { recursive: true });
  const { epoch } = await a.group('blocks');
  await witness.start();
  await a.until('blocks', 'has taken it in', (group) => group.epoch > epoch);
  await pair.guarded('blocks');
  t.match(await a.cli('events', '--json'), /witness lux-w has another store now/);
  await b.signal('SIGKILL');
  await servesAlone(a);
  await writer.acknowledged(2500);
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await b.start();
  await sameEverywhere(t, pair, journal);
});
