/**
 * The secondary or the witness is killed under load: the primary goes on after a stall, or without
 * noticing. Nobody helps, no client sees an error, nothing that was acknowledged is lost.
 */
import t from 'tap';
import { guardedPair, sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites } from '../support/journaled-writes.ts';

t.test('the secondary is killed: a stall, then the primary goes on alone', async (t) => {
  const { pair, journal } = await guardedPair(t);
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 22,
    count: 9000,
    depth: 16,
  });
  for (let round = 1; round <= 2; round++) {
    await writer.acknowledged(round * 3000 - 2000);
    const before = await pair.a.group('blocks');
    await pair.b.signal('SIGKILL');
    await servesAlone(pair.a);
    const after = await pair.a.group('blocks');
    t.ok(after.epoch > before.epoch, 'in a new epoch');
    await writer.acknowledged(round * 3000);
    await pair.b.start();
    await pair.guarded('blocks');
  }
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await sameEverywhere(t, pair, journal);
});

t.test(
  'the witness is killed: nothing happens to clients, and it is missed in words',
  async (t) => {
    const { pair, journal } = await guardedPair(t);
    const writer = startJournaledWrites({
      uri: pair.a.unixUri('blocks'),
      journal,
      seed: 23,
      count: 6000,
      depth: 16,
    });
    await writer.acknowledged(1000);
    const before = await pair.a.group('blocks');
    await pair.witness.signal('SIGKILL');
    for (const site of [pair.a, pair.b]) {
      await site.until('blocks', 'serves', ({ serves }) => serves);
    }
    await writer.acknowledged(4000);
    const { problems, witness } = await pair.a.status();
    t.equal(witness?.connected, false);
    t.same(
      problems.map(({ code }) => code),
      ['witness-disconnected'],
    );
    t.match(await pair.a.cli('status'), /lux-w at .*NOT CONNECTED/);
    // Without the peer as well nobody may go on; the witness's return is enough.
    await pair.b.signal('SIGKILL');
    const says = /the witness lux-w does not answer either/;
    await pair.a.until('blocks', 'waits for both', ({ wait }) => says.test(wait?.text ?? ''));
    await pair.witness.start();
    await servesAlone(pair.a);
    t.equal((await writer.ended).code, 0, 'the client saw no error');
    t.ok((await pair.a.group('blocks')).epoch > before.epoch);
    await pair.b.start();
    await sameEverywhere(t, pair, journal);
  },
);
