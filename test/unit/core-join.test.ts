/** R16 to R18, R22 to R27, R32: joining, cutting and damage (H15 to H21, H31). */
import t from 'tap';
import { blankStore } from '../simulation/core-site.ts';
import { CorePair } from './core-pair.ts';

/** A alone in sync, B away. */
function alone(): CorePair {
  const pair = CorePair.settled();
  pair.crash(pair.b);
  pair.until(() => pair.value.inSync.length === 1 && pair.a.core.mayRead(pair.nowMs));
  return pair;
}

t.test('the peer is waited for before it is swapped in (R17, H16)', async (t) => {
  const pair = alone();
  pair.write(pair.a);
  pair.advance(500);
  pair.registered.delete('A');
  pair.start(pair.b);
  t.ok(pair.until(() => pair.a.swap?.name === 'add'));
  pair.syncing.delete('B');
  const waiting = pair.write(pair.a);
  pair.advance(2000);
  t.notOk(pair.answered.includes(waiting), 'a write under the wait needs both');
  pair.syncing.add('B');
  pair.advance(1000);
  t.ok(pair.answered.includes(waiting));
});

t.test('only the outcome of the add ends the wait (R17, H17)', async (t) => {
  const pair = alone();
  pair.registered.delete('A');
  pair.start(pair.b);
  t.ok(pair.until(() => pair.a.swap?.name === 'add'));
  pair.crash(pair.b);
  const waiting = pair.write(pair.a);
  pair.advance(30_000);
  t.notOk(pair.answered.includes(waiting), 'the add may win, then the peer may take over');
  pair.registered.add('A');
  t.ok(pair.until(() => pair.answered.includes(waiting)));
  t.same(
    pair.swaps.slice(-2).map(({ name }) => name),
    ['add', 'drop'],
  );
});

t.test('a slow peer is waited for ever more seldom (R17)', async (t) => {
  const pair = CorePair.settled();
  const times: number[] = [];
  const dropAndReturn = (): number => {
    pair.syncing.delete('B');
    pair.write(pair.a);
    pair.until(() => pair.value.inSync.length === 1);
    const droppedMs = pair.nowMs;
    pair.syncing.add('B');
    pair.until(() => pair.value.inSync.length === 2);
    return pair.nowMs - droppedMs;
  };
  for (let round = 0; round < 3; round += 1) {
    times.push(dropAndReturn());
    pair.advance(1000);
  }
  t.ok(
    times.every((ms, index) => index === 0 || ms > (times[index - 1] ?? 0) * 1.5),
    `each pause is longer: ${times.join(', ')} ms`,
  );
  pair.advance(pair.times.rejoinBackoffMsMax * 2);
  t.ok(dropAndReturn() < (times[2] ?? 0), 'after a long good time it begins anew');
});

t.test('a peer that keeps up under load is taken back', async (t) => {
  const pair = alone();
  pair.start(pair.b);
  t.ok(
    pair.until(() => {
      if (pair.a.core.view().takesWrites) pair.write(pair.a);
      return pair.value.inSync.length === 2;
    }),
  );
});

t.test(
  'a slow peer that is in sync is dropped after ackTimeoutMs, heartbeats or not (I10)',
  async (t) => {
    const pair = CorePair.settled();
    pair.syncing.delete('B');
    const slow = pair.write(pair.a);
    const before = pair.nowMs;
    t.ok(pair.until(() => pair.answered.includes(slow)));
    t.ok(pair.nowMs - before < pair.times.ackTimeoutMs + 1000);
    t.equal(pair.swaps.at(-1)?.name, 'drop');
  },
);

t.test('acknowledgements of an earlier session do not count (R16, H15)', async (t) => {
  const pair = CorePair.settled();
  pair.syncing.delete('B');
  const write = pair.write(pair.a);
  pair.advance(500);
  const session = pair.a.session ?? 0;
  pair.a.step({
    kind: 'message',
    session: session + 1000,
    message: { kind: 'ack', epoch: 2, durable: pair.a.log.end.sequence, number: 1, checkpoint: 0 },
  });
  t.notOk(pair.answered.includes(write));
});

t.test('an acknowledgement beyond what was sent ends the session', async (t) => {
  const pair = CorePair.settled();
  const session = pair.a.session ?? 0;
  pair.a.step({
    kind: 'message',
    session,
    message: { kind: 'ack', epoch: 2, durable: 1000, number: 1, checkpoint: 0 },
  });
  t.not(pair.a.session, session);
});

t.test('a blank store under an old name is dropped, then joins as new (R2, H18)', async (t) => {
  const pair = CorePair.settled();
  pair.crash(pair.b);
  pair.b.store = blankStore('B1');
  pair.start(pair.b);
  t.ok(pair.until(() => pair.value.inSync.includes('B1')));
  t.same([...pair.value.inSync].sort(), ['A0', 'B1']);
  t.same(pair.value.acceptors, ['A0', 'B1', 'W'], 'and is listed as an acceptor (R5)');
  pair.advance(1000);
  t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
});

t.test('a blank store of the primary never makes the peer cut (H18)', async (t) => {
  const pair = CorePair.settled();
  const end = pair.b.log.end.sequence;
  pair.crash(pair.a);
  pair.a.store = blankStore('A1');
  pair.start(pair.a);
  t.ok(pair.until(() => pair.value.inSync.includes('A1')));
  t.equal(pair.value.primary, 'B0');
  t.same(pair.cuts, []);
  t.ok(pair.a.log.end.sequence > end);
});

t.test(
  'an in-sync site that lost its tail is dropped, repaired and in sync again (R24, H31)',
  async (t) => {
    const pair = CorePair.settled();
    pair.write(pair.a);
    pair.advance(3000);
    pair.linked = false;
    pair.crash(pair.b);
    pair.b.log.loseTail(1);
    pair.registered.clear();
    pair.start(pair.b);
    pair.registered.add('A');
    pair.linked = true;
    t.ok(pair.until(() => pair.value.inSync.length === 1));
    pair.registered.add('B');
    t.ok(pair.until(() => pair.a.core.view().peer.kind === 'in-sync'));
    pair.advance(1000);
    t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
  },
);

t.test('a member that hears that it lost records never takes over (R24, H31)', async (t) => {
  const pair = CorePair.settled();
  for (let count = 0; count < 3; count += 1) {
    pair.write(pair.a);
    pair.advance(3000);
  }
  pair.crash(pair.a);
  pair.crash(pair.b);
  pair.b.log.loseTail(2);
  pair.start(pair.a);
  pair.start(pair.b);
  t.ok(pair.until(() => pair.b.store.flags.damaged));
  pair.crash(pair.a);
  pair.advance(60_000);
  t.notOk(pair.b.core.view().reigning);
  pair.start(pair.a);
  t.ok(pair.until(() => pair.a.core.view().peer.kind === 'in-sync'));
  pair.advance(3000);
  t.notOk(pair.b.store.flags.damaged, 'whole again after it got them back');
  t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
});

t.test('a site that knows that it lost records never takes over (R24, R30)', async (t) => {
  const pair = CorePair.settled();
  pair.advance(3000);
  pair.b.store.checkpoint = pair.b.log.end;
  pair.crash(pair.b);
  pair.b.log.loseTail(1);
  pair.linked = false;
  pair.registered.delete('A');
  pair.start(pair.b);
  pair.advance(60_000);
  t.ok(pair.b.store.flags.damaged);
  t.equal(pair.b.core.view().waitReason?.code, 'damaged');
  t.notOk(pair.swaps.some(({ name }) => name === 'takeover'));
});

t.test(
  'different digests are noticed at the next heartbeat, nothing heals silently (R32)',
  async (t) => {
    const pair = CorePair.settled();
    const session = pair.b.session ?? 0;
    const { sequence } = pair.b.log.end;
    pair.b.step({
      kind: 'message',
      session,
      message: {
        kind: 'heartbeat',
        epoch: 2,
        number: 10_000,
        commit: sequence,
        sent: { sequence, digest: 'e'.repeat(32) },
        checkpoint: 0,
      },
    });
    t.ok(pair.b.store.flags.damaged);
    t.equal(pair.b.core.view().peer.kind, 'refused');
    t.ok(
      pair.until(() => pair.value.inSync.length === 1),
      'the primary drops it',
    );
  },
);

t.test('the primary notices a digest that differs in an acknowledgement (R32)', async (t) => {
  const pair = CorePair.settled();
  const session = pair.a.session ?? 0;
  const durable = pair.a.log.end.sequence;
  const digest = 'e'.repeat(32);
  pair.a.step({
    kind: 'message',
    session,
    message: { kind: 'ack', epoch: 2, durable, number: 1, checkpoint: 0, digest },
  });
  t.equal(pair.a.core.view().peer.kind, 'refused');
  t.ok(pair.until(() => pair.value.inSync.length === 1));
  t.ok(pair.trace.some((line) => line.includes('diverged')));
});

t.test(
  'a log that does not reach back ends in a resync, and the sites in sync (R25)',
  async (t) => {
    const pair = alone();
    for (let count = 0; count < 5; count += 1) {
      pair.write(pair.a);
      pair.advance(500);
    }
    pair.a.store.logStart = pair.a.log.end.sequence;
    pair.start(pair.b);
    pair.syncing.delete('B');
    t.ok(pair.until(() => pair.b.core.view().peer.kind === 'resyncing'));
    pair.write(pair.a);
    pair.advance(20_000);
    t.equal(pair.a.core.view().peer.kind, 'resyncing');
    t.same(pair.value.inSync, ['A0'], 'a copy that is not complete is never in sync (H22)');
    t.ok(pair.a.core.mayRead(pair.nowMs), 'the primary goes on');
    pair.syncing.add('B');
    t.ok(pair.until(() => pair.value.inSync.length === 2));
    pair.advance(1000);
    t.equal(pair.b.log.end.digest, pair.a.log.end.digest);
  },
);

t.test('the base is kept from the drop to the add (R27)', async (t) => {
  const pair = alone();
  t.ok(pair.a.store.base !== undefined);
  t.equal(pair.a.log.digestAt(pair.a.store.base?.sequence ?? -1), pair.a.store.base?.digest);
  pair.start(pair.b);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
  pair.advance(1000);
  t.equal(pair.a.store.base, undefined);
});

t.test('a secondary applies no more than it has synced (R18, H21)', async (t) => {
  const pair = CorePair.settled();
  pair.syncing.delete('B');
  pair.write(pair.a);
  pair.until(() => pair.value.inSync.length === 1);
  pair.advance(5000);
  const { commit, durable } = pair.b.core.view();
  t.ok(commit <= durable);
});

t.test('the life that created a group reigns at once, and its peer joins (R39)', async (t) => {
  const pair = new CorePair({ inSync: ['A0'] });
  pair.registered.clear();
  pair.start(pair.a);
  pair.a.step({ kind: 'created', config: pair.value });
  pair.registered = new Set(['A', 'B']);
  pair.advance(500);
  t.ok(pair.a.core.mayRead(pair.nowMs));
  pair.start(pair.b);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
});

t.test(
  'a primary whose disk has lost the end of its log gets it from the peer (R30)',
  async (t) => {
    const pair = CorePair.settled();
    const written = pair.write(pair.a);
    pair.advance(500);
    t.ok(pair.answered.includes(written));
    const { end } = pair.a.log;
    pair.crash(pair.a);
    pair.a.log.loseTail(1);
    t.ok(pair.a.log.end.sequence < end.sequence, 'the answered record is gone here');
    pair.start(pair.a);
    t.ok(pair.until(() => pair.value.epoch > 1 && pair.a.core.mayRead(pair.nowMs)));
    t.same(pair.cuts, [], 'the peer cuts nothing');
    t.equal(pair.a.log.digestAt(end.sequence), end.digest);
    t.equal(pair.value.primary, 'A0');
    t.equal(pair.value.inSync.length, 2, 'and stays in sync');
  },
);

t.test('so it does when the peer wants no session, for it is about to take over', async (t) => {
  const pair = CorePair.settled();
  pair.write(pair.a);
  pair.advance(500);
  const { end } = pair.a.log;
  pair.crash(pair.a);
  pair.a.log.loseTail(1);
  pair.registered.delete('B');
  t.ok(pair.until(() => pair.b.swap?.name === 'takeover'));
  pair.start(pair.a);
  t.ok(
    pair.until(() => pair.a.core.mayRead(pair.nowMs)),
    'this site is faster',
  );
  t.equal(pair.a.log.digestAt(end.sequence), end.digest);
  pair.registered.add('B');
  t.ok(pair.until(() => pair.value.inSync.length === 2));
  t.same(pair.cuts, []);
});

t.test('a follower whose log has no room joins without what it has not taken in', async (t) => {
  const pair = CorePair.settled();
  const before = pair.b.log.end.sequence;
  pair.syncing.delete('B');
  const written = pair.write(pair.a);
  pair.until(() => pair.b.log.end.sequence > before);
  pair.b.logWaitsForRoom = true;
  pair.cutSession(pair.a);
  t.ok(
    pair.until(() => pair.b.core.view().joinedSession !== undefined),
    'it says hello',
  );
  t.same(pair.cuts, [`B:${before}`]);
  pair.b.logWaitsForRoom = false;
  pair.syncing.add('B');
  t.ok(pair.until(() => pair.answered.includes(written) && pair.value.inSync.length === 2));
});
