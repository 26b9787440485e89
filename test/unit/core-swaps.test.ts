/** R8 to R15, R21: who reigns, and when. Scenarios of the protocol by their names (H1 to H14). */
import t from 'tap';
import { CorePair } from './core-pair.ts';

t.test('a primary that restarts keeps a healthy peer in sync (H8, R12)', async (t) => {
  const pair = CorePair.settled();
  t.equal(pair.value.epoch, 2);
  t.same(pair.value.inSync, ['A0', 'B0']);
  t.equal(pair.a.core.view().role, 'primary');
  t.equal(pair.b.core.view().peer.kind, 'in-sync');
  t.same(pair.answered, [1]);
  t.ok(pair.a.core.mayRead(pair.nowMs));
  t.notOk(pair.b.core.mayRead(pair.nowMs));
});

t.test('a restarted primary serves in a new epoch only (R10, H10)', async (t) => {
  const pair = CorePair.settled();
  pair.crash(pair.a);
  pair.registered.clear();
  pair.start(pair.a);
  pair.advance(2000);
  t.notOk(pair.a.core.view().takesWrites, 'nothing is taken before the win is known');
  t.equal(pair.a.core.view().waitReason?.code, 'swap-pending');
  pair.registered = new Set(['A', 'B']);
  t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
  t.equal(pair.a.core.view().config?.epoch, 3);
});

t.test(
  'reads wait for the commit of the epoch start, writes are taken before (R15, H7)',
  async (t) => {
    const pair = CorePair.settled();
    pair.crash(pair.a);
    pair.start(pair.a);
    pair.syncing.delete('B');
    t.ok(pair.until(() => pair.a.core.view().takesWrites));
    pair.advance(1000);
    t.notOk(pair.a.core.view().takesReads);
    t.equal(pair.a.core.view().waitReason?.code, 'epoch-start');
    pair.syncing.add('B');
    t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
  },
);

t.test('a silent primary is taken over from after graceMs, not before (R14)', async (t) => {
  const pair = CorePair.settled();
  pair.linked = false;
  pair.registered.delete('A');
  pair.advance(10_000);
  t.notOk(pair.b.core.view().reigning);
  t.notOk(pair.a.core.mayRead(pair.nowMs), 'the lease was over first, and the drop is pending');
  t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
  t.same(pair.value.inSync, ['B0']);
  t.notOk(pair.a.core.view().reigning && pair.a.core.mayRead(pair.nowMs));
});

t.test(
  'while a drop is pending nothing is answered and no session wanted (R11, R13, H5)',
  async (t) => {
    const pair = CorePair.settled();
    pair.registered.clear();
    pair.linked = false;
    pair.advance(200);
    const view = pair.a.core.view();
    t.equal(view.waitReason?.code, 'peer-lost');
    t.notOk(view.takesWrites);
    t.notOk(view.takesReads);
    t.notOk(view.wantsSession);
    pair.linked = true;
    pair.advance(3000);
    t.equal(pair.a.session, undefined, 'no session while its outcome is unknown');
    pair.registered.add('A');
    t.ok(
      pair.until(() => pair.a.core.view().peer.kind === 'in-sync'),
      'won, then added again',
    );
    t.same(pair.swaps.map(({ name }) => name).slice(-2), ['drop', 'add']);
  },
);

t.test(
  'a drop that lost to a takeover ends the reign (fenced), the tail is cut (R9, R22)',
  async (t) => {
    const pair = CorePair.settled();
    pair.syncing.delete('B');
    const lost = pair.write(pair.a);
    pair.receiving.delete('B');
    pair.advance(500);
    pair.linked = false;
    pair.registered.delete('A');
    pair.syncing.add('B');
    pair.receiving.add('B');
    t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
    const kept = pair.write(pair.b);
    pair.advance(1000);
    pair.registered.add('A');
    pair.linked = true;
    t.ok(pair.until(() => pair.a.core.view().peer.kind === 'in-sync'));
    t.ok(pair.cuts.some((cut) => cut.startsWith('A:')));
    t.notOk(pair.answered.includes(lost));
    t.ok(pair.answered.includes(kept));
    t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
  },
);

t.test('the session is closed before a takeover is sent (R13, H6)', async (t) => {
  const pair = CorePair.settled();
  pair.registered.delete('B');
  pair.a.paused = true;
  t.ok(pair.until(() => pair.b.swap?.name === 'takeover'));
  t.equal(pair.b.session, undefined);
  const acks = pair.sent.length;
  pair.a.paused = false;
  pair.advance(3000);
  t.notOk(
    pair.sent.slice(acks).some(({ from, packet }) => {
      return from === 'B' && packet.kind === 'message' && packet.message.kind === 'ack';
    }),
    'no acknowledgement leaves while it is pending',
  );
});

t.test('primary by a swap of an earlier life: graceMs first (R14, H1)', async (t) => {
  const pair = CorePair.settled();
  const late = {
    ...pair.value,
    epoch: pair.value.epoch + 1,
    epochId: 'late',
    primary: 'B0',
    inSync: ['B0'],
  };
  pair.a.paused = true;
  pair.crash(pair.b);
  pair.value = late;
  pair.start(pair.b);
  pair.advance(12_000);
  t.notOk(pair.b.core.view().reigning, 'A may still read under its lease');
  t.equal(pair.b.core.view().waitReason?.code, 'grace');
  t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
  pair.a.paused = false;
  t.notOk(pair.a.core.mayRead(pair.nowMs));
});

t.test('a stopped primary does not read under a lease that is over (R19, H12)', async (t) => {
  const pair = CorePair.settled();
  pair.a.paused = true;
  t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
  t.notOk(pair.a.core.mayRead(pair.nowMs), 'the clock is read after the request');
  t.ok(pair.a.core.view().takesReads, 'although it knows of nothing');
});

t.test(
  'without a third acceptor nobody takes over, and a drop waits for the peer (R6)',
  async (t) => {
    const pair = CorePair.settled({ acceptors: ['A', 'B'] });
    pair.registered.clear();
    pair.crash(pair.a);
    pair.advance(60_000);
    t.notOk(pair.swaps.some(({ name }) => name === 'takeover'));
    t.match(pair.b.core.view().waitReason?.text, /promote --force/);
    pair.start(pair.a);
    pair.registered = new Set(['A', 'B']);
    t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
    t.same(pair.value.inSync, ['A0', 'B0'], 'restarted with its peer, nothing had to be dropped');
  },
);

t.test('the preferred site takes over alone, the other one never does (R6)', async (t) => {
  const pair = CorePair.settled({ acceptors: ['A'] });
  pair.registered.delete('B');
  pair.linked = false;
  t.ok(pair.until(() => pair.value.inSync.length === 1));
  t.same(pair.value.inSync, ['A0']);
  pair.advance(60_000);
  t.ok(pair.a.core.mayRead(pair.nowMs));
  t.notOk(pair.swaps.some(({ name }) => name === 'takeover'));
});

t.test('a switchover hands over at one sequence (R21)', async (t) => {
  const pair = CorePair.settled();
  pair.write(pair.a);
  pair.a.step({ kind: 'switchover' });
  t.notOk(pair.a.core.view().takesWrites);
  t.ok(pair.until(() => pair.trace.some((line) => line.includes('-> released'))));
  t.notOk(pair.a.core.mayRead(pair.nowMs), 'the lease ends with the release (H43)');
  t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
  t.same([...pair.value.inSync].sort(), ['A0', 'B0']);
  t.equal(pair.value.primary, 'B0');
  t.same(pair.cuts, []);
  t.ok(pair.until(() => pair.a.core.view().peer.kind === 'in-sync'));
});

t.test('a release that nobody takes is taken back (R21)', async (t) => {
  const pair = CorePair.settled();
  pair.a.step({ kind: 'switchover' });
  pair.receiving.delete('B');
  t.ok(pair.until(() => pair.trace.some((line) => line.includes('-> released'))));
  pair.cutSession(pair.a);
  pair.receiving.add('B');
  t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
  t.equal(pair.value.primary, 'A0');
});

t.test('a site whose log failed hands over at once (R33, H32)', async (t) => {
  const pair = CorePair.settled();
  const before = pair.nowMs;
  pair.a.step({ kind: 'logFailed' });
  t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
  t.ok(pair.nowMs - before < 2000, 'without waiting for graceMs');
  t.same(pair.value.inSync, ['B0']);
  t.equal(pair.a.core.view().waitReason?.code, 'log-failed');
  t.notOk(pair.a.core.view().wantsSession);
});

t.test(
  'lease and grace come from the configuration, whatever a site has set (R19, H14)',
  async (t) => {
    const pair = CorePair.settled();
    t.equal(pair.value.leaseMs, pair.times.leaseMs);
    t.ok(pair.value.graceMs >= pair.value.leaseMs * 1.25);
  },
);

t.test('a removed group stops for ever (R39)', async (t) => {
  const pair = CorePair.settled();
  pair.value = { ...pair.value, epoch: pair.value.epoch + 1, epochId: 'gone', removed: true };
  t.ok(pair.until(() => pair.a.core.view().waitReason?.code === 'removed'));
  t.notOk(pair.a.core.mayRead(pair.nowMs));
  t.notOk(pair.a.core.view().wantsSession);
});

t.test('a look at the register does not forestall a promotion by force (R35)', async (t) => {
  const pair = CorePair.settled();
  const { core, log } = pair.b;
  const config = {
    ...pair.value,
    epoch: pair.value.epoch + 1,
    epochId: 'forced',
    primary: 'B0',
    inSync: ['B0'],
    forced: log.end,
  };
  pair.b.step({ kind: 'forcing' });
  pair.b.step({ kind: 'registerRead', current: config });
  t.equal(core.view().config?.epoch, pair.value.epoch, 'the promotion itself has not heard of it');
  pair.b.step({ kind: 'forced', config });
  t.equal(core.view().config?.epochId, 'forced');
  t.equal(core.view().role, 'primary');
});
