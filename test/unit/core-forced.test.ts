/** Promotion by force in two production cores: what is a split, and what is not (R35). */
import t from 'tap';
import { blankStore } from '../simulation/core-site.ts';
import { CorePair } from './core-pair.ts';

/** B was promoted by force while A went on alone with records of its own. */
function forced(): CorePair {
  const pair = CorePair.settled();
  pair.linked = false;
  pair.registered.delete('B');
  pair.until(() => pair.a.core.mayRead(pair.nowMs) && pair.value.inSync.length === 1);
  pair.write(pair.a);
  pair.advance(1000);
  pair.b.step({
    kind: 'forced',
    config: {
      ...pair.value,
      epoch: (pair.b.core.view().config?.epoch ?? 0) + 1,
      epochId: 'forced',
      primary: 'B0',
      inSync: ['B0'],
      acceptors: ['B0'],
      forced: pair.b.log.end,
    },
  });
  pair.advance(1000);
  return pair;
}

t.test(
  'two sites that serve when they meet keep what they do and refuse each other (R35)',
  async (t) => {
    const pair = forced();
    t.ok(pair.b.core.mayRead(pair.nowMs));
    pair.write(pair.b);
    pair.linked = true;
    pair.advance(20_000);
    for (const site of [pair.a, pair.b]) {
      t.ok(site.core.view().reigning, `${site.name} goes on`);
      t.equal(site.core.view().peer.kind, 'refused');
    }
    t.same(pair.cuts, []);
  },
);

t.test(
  'a starting site that hears of a forced epoch beyond the fork is split (R35, H39)',
  async (t) => {
    const pair = forced();
    pair.crash(pair.a);
    pair.linked = true;
    pair.start(pair.a);
    pair.advance(30_000);
    t.ok(pair.a.store.flags.split);
    t.equal(pair.a.core.view().waitReason?.code, 'split');
    t.notOk(pair.a.core.view().reigning);
    t.ok(pair.b.core.mayRead(pair.nowMs), 'the forced configuration reigns');
    t.same(pair.cuts, [], 'nothing that was answered is cut (R23, H19)');
  },
);

t.test('a site that answered nothing beyond the force point just joins (R23)', async (t) => {
  const pair = CorePair.settled();
  pair.crash(pair.a);
  pair.registered.clear();
  pair.b.step({
    kind: 'forced',
    config: {
      ...pair.value,
      epoch: pair.value.epoch + 1,
      epochId: 'forced',
      primary: 'B0',
      inSync: ['B0'],
      acceptors: ['B0'],
      forced: pair.b.log.end,
    },
  });
  pair.value = pair.b.core.view().config ?? pair.value;
  pair.advance(2000);
  pair.registered.add('B');
  pair.start(pair.a);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
  t.same([...pair.value.acceptors].sort(), ['A0', 'B0'], 'neither can decide without the other');
  pair.advance(1000);
  t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
  t.same(pair.value.acceptors, ['A0', 'B0', 'W'].sort(), 'the mode is back');
});

t.test(
  'a site that was fenced by the force joins, whatever epoch the forced site is in (R35)',
  async (t) => {
    const pair = CorePair.settled();
    pair.linked = false;
    const config = { ...pair.value, primary: 'B0', inSync: ['B0'], acceptors: ['B0'] };
    pair.b.step({
      kind: 'forced',
      config: { ...config, epoch: config.epoch + 1, epochId: 'forced', forced: pair.b.log.end },
    });
    pair.value = pair.b.core.view().config ?? pair.value;
    pair.a.step({ kind: 'registerRead', current: pair.value });
    t.same(pair.a.core.view().config?.primary, 'B0');
    pair.registered.delete('A');
    pair.crash(pair.b);
    pair.start(pair.b);
    t.ok(pair.until(() => pair.b.core.mayRead(pair.nowMs)));
    t.ok(pair.value.epoch > (pair.a.core.view().config?.epoch ?? 0), 'it reigns in a newer one');
    pair.linked = true;
    t.ok(
      pair.until(() => pair.value.inSync.includes('A0')),
      'it joins',
    );
    pair.advance(1000);
    t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
  },
);

t.test(
  'a blank site that knows of the force, but has nothing yet, is no split (R35)',
  async (t) => {
    const pair = CorePair.settled();
    pair.crash(pair.b);
    pair.b.store = blankStore('B1');
    const config = { ...pair.value, primary: 'A0', inSync: ['A0'], acceptors: ['A0'] };
    pair.registered.clear();
    pair.a.step({
      kind: 'forced',
      config: { ...config, epoch: config.epoch + 1, epochId: 'forced', forced: pair.a.log.end },
    });
    pair.value = pair.a.core.view().config ?? pair.value;
    pair.registered.add('A').add('B');
    pair.syncing.delete('B');
    pair.start(pair.b);
    t.ok(pair.until(() => pair.b.core.view().config?.forced !== undefined));
    t.equal(pair.b.core.view().commit, 0);
    pair.linked = false;
    pair.advance(1000);
    pair.crash(pair.b);
    pair.syncing.add('B');
    pair.linked = true;
    pair.start(pair.b);
    t.ok(
      pair.until(() => pair.value.inSync.includes('B1')),
      'it joins',
    );
    pair.advance(1000);
    t.equal(pair.a.log.end.digest, pair.b.log.end.digest);
  },
);

t.test('an operator who promotes a split site by force clears the mark', async (t) => {
  const pair = forced();
  pair.crash(pair.a);
  pair.linked = true;
  pair.start(pair.a);
  t.ok(pair.until(() => pair.a.store.flags.split));
  const config = { ...pair.value, epoch: 9, epochId: 'again', acceptors: ['A0'] };
  pair.a.step({ kind: 'forced', config: { ...config, forced: pair.a.log.end } });
  t.notOk(pair.a.store.flags.split);
  t.ok(pair.until(() => pair.a.core.mayRead(pair.nowMs)));
});
