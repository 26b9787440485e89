/** R5: who votes changes by a swap of the primary, while both sites are in sync and go on. */
import t from 'tap';
import { CorePair } from './core-pair.ts';

t.test('a witness comes in and goes without a pause for anybody', async (t) => {
  const pair = CorePair.settled({ acceptors: ['A', 'B'] });
  for (const acceptors of [
    ['A', 'B', 'W'],
    ['A', 'B'],
  ]) {
    const { epoch } = pair.value;
    pair.acceptors = acceptors;
    pair.registered.clear();
    const reads = (): boolean => pair.a.core.mayRead(pair.nowMs);
    pair.advance(2000);
    t.ok(reads(), 'the primary serves while the swap is under way');
    const operation = pair.write(pair.a);
    pair.advance(500);
    t.ok(pair.answered.includes(operation));
    pair.registered = new Set(['A', 'B']);
    t.ok(pair.until(() => pair.value.epoch > epoch));
    t.equal(pair.value.acceptors.length, acceptors.length);
    t.same(pair.value.inSync, ['A0', 'B0']);
    pair.advance(4000);
    t.ok(reads());
    t.equal(pair.b.core.view().peer.kind, 'in-sync');
    t.equal(pair.b.core.view().config?.epoch, pair.value.epoch, 'the secondary knows it too');
  }
});

t.test('who votes does not change while one site is alone', async (t) => {
  const pair = CorePair.settled({ acceptors: ['A', 'B', 'W'] });
  pair.crash(pair.b);
  t.ok(pair.until(() => pair.value.inSync.length === 1));
  pair.acceptors = ['A', 'B'];
  pair.advance(10_000);
  t.equal(pair.value.acceptors.length, 3);
  pair.start(pair.b);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
  t.equal(pair.value.acceptors.length, 2, 'with the peer that comes back it does');
});

t.test('a peer that is lost while the voters change is dropped after the outcome', async (t) => {
  const pair = CorePair.settled({ acceptors: ['A', 'B'] });
  pair.registered.clear();
  pair.acceptors = ['A', 'B', 'W'];
  t.ok(pair.until(() => pair.a.swap !== undefined));
  pair.crash(pair.b);
  pair.advance(20_000);
  t.equal(pair.a.core.view().reigning, true);
  t.notOk(pair.a.core.mayRead(pair.nowMs), 'nothing is decided, nothing is answered');
  pair.registered = new Set(['A', 'B']);
  t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
  t.same(pair.value.inSync, ['A0']);
  t.equal(pair.value.acceptors.length, 3);
});
