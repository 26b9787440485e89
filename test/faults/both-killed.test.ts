/** Both sites are killed at once; whichever comes back first serves all that was acknowledged. */
import t from 'tap';
import { guardedPair, sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';

t.test('both sites are killed; each comes back first once', async (t) => {
  const { pair, journal } = await guardedPair(t);
  for (const [round, first] of [pair.a, pair.b].entries()) {
    const writer = startJournaledWrites({
      uri: pair.a.unixUri('blocks'),
      journal,
      seed: 30 + round,
      count: 100_000,
      depth: 8,
    });
    await writer.acknowledged(1000);
    await Promise.all([pair.a.signal('SIGKILL'), pair.b.signal('SIGKILL')]);
    await writer.ended;
    await first.start();
    await servesAlone(first);
    t.equal(await verifyJournal(first.unixUri('blocks'), journal), '', `${first.name} has all`);
    await (first === pair.a ? pair.b : pair.a).start();
    await pair.guarded('blocks');
  }
  await sameEverywhere(t, pair, journal);
});
