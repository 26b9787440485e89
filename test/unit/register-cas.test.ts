/** The register by hand: R4, R5, R11, R35, R39 and the traces H33 to H36. */
import t from 'tap';
import { compareBallots } from '../../replication/register/ballot.ts';
import {
  firstConfig,
  groupId,
  machine,
  nextConfig,
  RegisterCluster,
  stays,
} from './register-cluster.ts';

const three = ['A0', 'B0', 'W'];

t.test('a value is created by all its acceptors, or not at all (R39)', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  t.equal(await register.read(), undefined);
  cluster.down.add('W');
  const first = firstConfig(three);
  const created = register.swap(undefined, first);
  t.equal(await stays(created), 'open');
  cluster.down.clear();
  t.same(await created, { outcome: 'won' });
  t.same(await cluster.register('B0').read(), first);
});

t.test('of two swaps of one value one wins, the other hears which (R10)', async (t) => {
  const cluster = new RegisterCluster(three);
  const a = cluster.register('A0');
  const b = cluster.register('B0');
  const first = firstConfig(three);
  await a.swap(undefined, first);
  const byA = nextConfig(first);
  const byB = nextConfig(first, { primary: 'B0', inSync: ['B0'] });
  const [forA, forB] = await Promise.all([a.swap(first, byA), b.swap(first, byB)]);
  const outcomes = [forA.outcome, forB.outcome].sort();
  t.same(outcomes, ['lost', 'won']);
  const winner = forA.outcome === 'won' ? byA : byB;
  t.same(await a.read(), winner);
  for (const result of [forA, forB]) {
    if (result.outcome === 'lost') t.same(result.current, winner);
  }
});

t.test('any one of three acceptors may be down, not two', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  const first = firstConfig(three);
  await register.swap(undefined, first);
  cluster.down.add('B0');
  const second = nextConfig(first);
  t.same(await register.swap(first, second), { outcome: 'won' });
  cluster.down.add('W');
  await t.rejects(register.read(), { code: 'ERR_REGISTER_UNAVAILABLE' });
});

t.test(
  'an acceptor that stands still holds up nobody, whose ballots are behind either',
  async (t) => {
    const cluster = new RegisterCluster(three);
    const a = cluster.register('A0');
    const first = firstConfig(three);
    await a.swap(undefined, first);
    const second = nextConfig(first);
    await a.swap(first, second);
    cluster.silent.add('A0');
    const third = nextConfig(second, { primary: 'B0', inSync: ['B0'] });
    t.same(await cluster.register('B0').swap(second, third), { outcome: 'won' });
  },
);

t.test('what is settled is read without a write; what is half done is settled first', async (t) => {
  const cluster = new RegisterCluster(three);
  const a = cluster.register('A0');
  const first = firstConfig(three);
  await a.swap(undefined, first);
  const saves = (): number => cluster.machines.reduce((sum, { store }) => sum + store.saves, 0);
  const before = saves();
  cluster.down.add('W');
  for (const site of ['A0', 'B0']) t.same(await cluster.register(site).read(), first);
  t.equal(saves(), before);

  // A swap that got to one acceptor only, before its proposer died.
  const half = nextConfig(first);
  const ballot = { round: 50, storeId: 'A0', bootId: 'gone' };
  cluster.machine('B0').acceptor.prepare(groupId, ballot);
  cluster.machine('B0').acceptor.accept(groupId, ballot, half);
  t.same(await cluster.register('A0').read(), half, 'B0 is asked, so it counts');
  cluster.down.clear();
  cluster.down.add('B0');
  t.same(await cluster.register('A0').read(), half, 'and from then on without B0 as well');
});

t.test('a swap is repeated until its outcome is known (R11)', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  const first = firstConfig(three);
  await register.swap(undefined, first);
  cluster.down.add('B0');
  cluster.down.add('W');
  const second = nextConfig(first);
  const outcome = register.swap(first, second);
  t.equal(await stays(outcome), 'open');
  cluster.down.delete('W');
  t.same(await outcome, { outcome: 'won' });
});

t.test('a swap whose win was not heard of is won when it is sent again (R11)', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  const first = firstConfig(three);
  await register.swap(undefined, first);
  const second = nextConfig(first);
  await register.swap(first, second);
  t.same(await cluster.register('A0').swap(first, second), { outcome: 'won' });
});

t.test('a newer swap takes the place of an older one, cancel ends all', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  const first = firstConfig(three);
  await register.swap(undefined, first);
  cluster.down.add('B0');
  cluster.down.add('W');
  const older = register.swap(first, nextConfig(first));
  const newer = register.swap(first, nextConfig(first));
  cluster.down.clear();
  t.match(await newer, { outcome: /won|lost/ }, 'the older one may have won on its own');
  t.equal(await stays(older), 'open', 'but nothing is told of it');
  cluster.down.add('B0');
  cluster.down.add('W');
  const open = register.swap(firstConfig(three), nextConfig(first));
  register.cancel();
  await t.rejects(open, { code: 'ERR_REGISTER_CANCELLED' });
});

t.test('a blank acceptor does not vote (R5, H33)', async (t) => {
  const cluster = new RegisterCluster(three);
  const a = cluster.register('A0');
  const first = firstConfig(three);
  await a.swap(undefined, first);
  cluster.down.add('B0');
  await a.swap(first, nextConfig(first));
  cluster.replace('W', 'W1');
  cluster.down.clear();
  cluster.down.add('A0');
  const b = cluster.register('B0');
  await t.rejects(b.read(), { code: 'ERR_REGISTER_UNAVAILABLE' });
});

t.test('a replaced store is admitted by all that remain, then votes (R5)', async (t) => {
  const cluster = new RegisterCluster(three);
  const register = cluster.register('A0');
  const first = firstConfig(three);
  await register.swap(undefined, first);
  cluster.replace('B0', 'B1');
  const second = nextConfig(first, { acceptors: ['A0', 'B1', 'W'] });
  cluster.down.add('W');
  const outcome = register.swap(first, second);
  t.equal(await stays(outcome), 'open', 'without W the old B0 and W could still decide');
  cluster.down.clear();
  t.same(await outcome, { outcome: 'won' });
  cluster.down.add('A0');
  t.same(await cluster.register('B1').read(), second, 'B1 and W decide now');
});

t.test('a witness that is gone for good leaves with the consent of both sites (R5)', async (t) => {
  const cluster = new RegisterCluster(three);
  const a = cluster.register('A0');
  const first = firstConfig(three);
  await a.swap(undefined, first);
  cluster.down.add('W');
  cluster.down.add('B0');
  const two = nextConfig(first, { acceptors: ['A0', 'B0'] });
  const outcome = a.swap(first, two);
  t.equal(await stays(outcome), 'open', 'not by one site: the other one and W could still decide');
  cluster.down.delete('B0');
  t.same(await outcome, { outcome: 'won' });
  cluster.down.clear();
  cluster.down.add('A0');
  const b = cluster.register('B0');
  await t.rejects(b.read(), { code: 'ERR_REGISTER_UNAVAILABLE' }, 'B0 and W decide no more');
  cluster.down.clear();
  t.same(await b.read(), two);

  // It comes back, with all that it had promised: it is asked again only when it is let in.
  const three2 = nextConfig(two, { acceptors: three });
  t.same(await b.swap(two, three2), { outcome: 'won' });
  cluster.down.add('A0');
  t.same(await b.read(), three2, 'B0 and W decide again');
});

t.test('a witness comes in only while both sites and it agree (R5)', async (t) => {
  for (const away of three) {
    const cluster = new RegisterCluster(three);
    const me = away === 'A0' ? 'B0' : 'A0';
    const register = cluster.register(me);
    const first = firstConfig(['A0', 'B0'], me);
    await register.swap(undefined, first);
    cluster.down.add(away);
    const next = nextConfig(first, { acceptors: three });
    const outcome = register.swap(first, next);
    t.equal(await stays(outcome), 'open', `not without ${away}`);
    cluster.down.clear();
    t.same(await outcome, { outcome: 'won' });
  }
});

t.test('an acceptor is taken out only with its own consent (R5)', async (t) => {
  const cluster = new RegisterCluster(['A0', 'B0']);
  const register = cluster.register('A0');
  const first = firstConfig(['A0', 'B0']);
  await register.swap(undefined, first);
  cluster.down.add('B0');
  const alone = nextConfig(first, { acceptors: ['A0'] });
  const outcome = register.swap(first, alone);
  t.equal(await stays(outcome), 'open');
  cluster.down.clear();
  t.same(await outcome, { outcome: 'won' });
  cluster.down.add('B0');
  const next = nextConfig(alone);
  t.same(await register.swap(alone, next), { outcome: 'won' }, 'from then on A0 decides alone');
  cluster.down.clear();
  cluster.down.add('A0');
  await t.rejects(cluster.register('B0').read(), { code: 'ERR_REGISTER_UNAVAILABLE' });
});

t.test('what was forced at one site hears nobody else, and can be left again (R35)', async (t) => {
  const cluster = new RegisterCluster(['A0', 'B0']);
  const a = cluster.register('A0');
  const b = cluster.register('B0');
  const first = firstConfig(['A0', 'B0']);
  await a.swap(undefined, first);
  cluster.down.add('A0');
  const forced = nextConfig(first, {
    primary: 'B0',
    inSync: ['B0'],
    acceptors: ['B0'],
    forced: { sequence: 7, digest: 'd' },
  });
  await b.force(forced);
  t.same(await b.read(), forced);
  cluster.down.clear();
  await t.rejects(a.read(), { code: 'ERR_REGISTER_UNAVAILABLE' }, 'B0 does not help A0');
  const again = nextConfig(forced);
  t.same(await b.swap(forced, again), { outcome: 'won' }, 'B0 goes on alone');
  const both = nextConfig(again, { inSync: ['B0', 'A0'], acceptors: ['A0', 'B0'] });
  t.same(await b.swap(again, both), { outcome: 'won' });
  t.same(await a.read(), both, 'both know it now');
});

t.test('a swap that only the forced site could let win is lost (R35)', async (t) => {
  const cluster = new RegisterCluster(['A0', 'B0']);
  const a = cluster.register('A0');
  const b = cluster.register('B0');
  const first = firstConfig(['A0', 'B0']);
  await a.swap(undefined, first);
  cluster.down.add('B0');
  const drop = a.swap(first, nextConfig(first, { inSync: ['A0'] }));
  t.equal(await stays(drop), 'open', 'in doubt: it may be won later');
  const forced = nextConfig(first, {
    primary: 'B0',
    inSync: ['B0'],
    acceptors: ['B0'],
    forced: { sequence: 7, digest: 'd' },
  });
  await b.force(forced);
  cluster.down.clear();
  t.same(await drop, { outcome: 'lost', current: forced }, 'and hears of the force');
});

t.test('an older history at the other site never comes back when force is left', async (t) => {
  const cluster = new RegisterCluster(['A0', 'B0']);
  const a = cluster.register('A0');
  const b = cluster.register('B0');
  const first = firstConfig(['A0']);
  await a.swap(undefined, first);
  let newest = first;
  // The preferred site has gone on for a long time, at ever higher ballots.
  for (let count = 0; count < 20; count += 1) {
    const next = nextConfig(newest);
    await a.swap(newest, next);
    newest = next;
  }
  const forced = nextConfig(first, {
    primary: 'B0',
    acceptors: ['B0'],
    forced: { sequence: 7, digest: 'd' },
  });
  await b.force(forced);
  const both = nextConfig(forced, { acceptors: ['A0', 'B0'] });
  t.same(await b.swap(forced, both), { outcome: 'won' });
  t.same(await a.read(), both);
});

t.test('an acceptor answers after its state was saved, and takes each ballot once', async (t) => {
  const { acceptor, store } = machine('A0');
  const ballot = (round: number) => ({ round, storeId: 'A0', bootId: 'boot' });
  const value = firstConfig(['A0']);
  t.equal(acceptor.prepare(groupId, ballot(1)).kind, 'blank');
  t.equal(store.saves, 0);
  t.equal(acceptor.accept(groupId, ballot(1), firstConfig(['B0'])).kind, 'blank');
  t.equal(acceptor.accept(groupId, ballot(2), value).kind, 'accepted');
  t.equal(store.saves, 1);
  t.equal(acceptor.prepare(groupId, ballot(2)).kind, 'refused', 'only above its promise (H36)');
  t.equal(acceptor.prepare(groupId, ballot(3)).kind, 'promise');
  t.equal(store.saves, 2);
  t.equal(acceptor.accept(groupId, ballot(2), value).kind, 'refused');
  store.state = { promised: 'nonsense' };
  t.throws(() => acceptor.prepare(groupId, ballot(4)), { code: 'ERR_ACCEPTOR_STATE' });
});

t.test('ballots are ordered by round, site, life', async (t) => {
  const ballot = (round: number, storeId: string, bootId: string) => ({ round, storeId, bootId });
  t.ok(compareBallots(ballot(1, 'B', 'x'), ballot(2, 'A', 'x')) < 0);
  t.ok(compareBallots(ballot(2, 'B', 'x'), ballot(2, 'A', 'y')) > 0);
  t.ok(compareBallots(ballot(2, 'A', 'x'), ballot(2, 'A', 'y')) < 0);
  t.equal(compareBallots(ballot(2, 'A', 'x'), ballot(2, 'A', 'x')), 0);
  t.ok(compareBallots(undefined, ballot(0, 'A', 'x')) < 0);
});
