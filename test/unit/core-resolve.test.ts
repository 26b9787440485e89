/** The end of a split in the core (R36), and what it does to the acceptor that was forced alone. */
import t from 'tap';
import { SiteStore } from '../../daemon/store/site-store.ts';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { HelloMessage } from '../../replication/core/messages.ts';
import { sharesBase } from '../../replication/core/resolve.ts';
import { Acceptor } from '../../replication/register/acceptor.ts';
import type { SimulatedSite } from '../simulation/core-site.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { CorePair } from './core-pair.ts';

function forcedAt(pair: CorePair, site: SimulatedSite, epoch: number): GroupConfig {
  const store = `${site.name}0`;
  return {
    ...pair.value,
    epoch,
    epochId: `forced-${site.name}-${epoch}`,
    primary: store,
    inSync: [store],
    acceptors: [store],
    forced: site.log.end,
  };
}

/** Both sites were promoted by force while they were apart, and have answered writes since. */
function split(): CorePair {
  const pair = CorePair.settled();
  pair.linked = false;
  pair.registered.clear();
  for (const site of [pair.a, pair.b]) {
    site.step({ kind: 'forced', config: forcedAt(pair, site, site === pair.a ? 5 : 6) });
    pair.advance(1000);
    pair.write(site);
  }
  pair.advance(1000);
  pair.linked = true;
  pair.advance(2000);
  return pair;
}

/** The other side reigns above what the side that is given up knows; its register answers. */
function win(pair: CorePair, site: SimulatedSite, epoch: number): void {
  const config = forcedAt(pair, site, epoch);
  pair.value = config;
  site.step({ kind: 'forced', config });
  pair.registered.add(site.name);
}

for (const name of ['a', 'b'] as const) {
  t.test(`the side of ${name} is given up and becomes a copy of the other one`, async (t) => {
    const pair = split();
    const lost = pair[name];
    const kept = pair.peerOf(lost);
    t.equal(lost.core.view().peer.kind, 'refused');
    lost.step({ kind: 'resolving', keptAside: false });
    t.notOk(lost.core.view().reigning, 'its reign is over at once');
    t.notOk(lost.core.view().wantsSession, 'it meets nobody before its changes are kept');
    t.ok(lost.store.flags.resolving);
    pair.advance(5000);
    t.ok(kept.core.view().reigning);
    win(pair, kept, 9);
    lost.step({ kind: 'resolving', keptAside: true });
    t.ok(
      pair.until(() => pair.value.inSync.length === 2),
      'both are in sync',
    );
    pair.advance(2000);
    t.equal(lost.log.end.digest, kept.log.end.digest);
    t.notOk(lost.store.flags.resolving);
    t.same(pair.value.acceptors, ['A0', 'B0', 'W'], 'the mode is back');
    t.equal(pair.value.forced, undefined, 'it is a forced configuration no more');
    t.same(pair.cuts, [], 'nothing that was answered is cut');
  });
}

t.test('a side that is given up waits until the other one knows a newer epoch', async (t) => {
  const pair = split();
  pair.b.step({ kind: 'resolving', keptAside: true });
  pair.advance(20_000);
  t.ok(pair.a.core.view().reigning, 'the older epoch of the other side is not fenced by it');
  t.ok(pair.b.store.flags.resolving);
  t.equal(pair.b.store.stagedFrom, undefined, 'nor is it followed (R8)');
  win(pair, pair.a, 9);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
});

t.test('given up once, a site stays so over restarts, whatever the register says', async (t) => {
  const pair = split();
  pair.linked = false;
  pair.b.step({ kind: 'resolving', keptAside: false });
  pair.crash(pair.b);
  pair.registered.add('B');
  pair.value = forcedAt(pair, pair.b, 7);
  pair.start(pair.b);
  pair.advance(60_000);
  t.notOk(pair.b.core.view().reigning);
  t.equal(pair.b.core.view().waitReason?.code, 'resolving');
  t.notOk(
    pair.swaps.some(({ next }) => next.epoch > 7),
    'it proposes nothing',
  );
});

t.test('what a restarted side had answered alone is committed before it is kept', async (t) => {
  const pair = split();
  const { end } = pair.b.log;
  pair.crash(pair.b);
  pair.linked = false;
  pair.start(pair.b);
  pair.b.step({ kind: 'resolving', keptAside: false });
  t.equal(pair.b.core.view().commit, end.sequence);
});

t.test('both sides given up refuse each other; one that is forced again is not', async (t) => {
  const pair = split();
  for (const site of [pair.a, pair.b]) site.step({ kind: 'resolving', keptAside: true });
  pair.advance(2000);
  for (const site of [pair.a, pair.b]) t.equal(site.core.view().peer.kind, 'refused');
  win(pair, pair.a, 9);
  t.notOk(pair.a.store.flags.resolving);
  t.ok(pair.until(() => pair.value.inSync.length === 2));
});

t.test('only a base that is in both histories says what differs', async (t) => {
  const point = (sequence: number, digest: string) => ({ sequence, digest });
  const shares = (own: ReturnType<typeof point> | undefined, theirs: HelloMessage['base']) => {
    const state = {
      base: own,
      flags: { damaged: false, inconsistent: false, split: false, resolving: true },
      pointAt: (sequence: number) => (sequence === 7 ? point(7, 'seven') : undefined),
    };
    return sharesBase(state, theirs);
  };
  t.ok(shares(point(5, 'five'), point(5, 'five')));
  t.notOk(shares(point(5, 'five'), point(5, 'other')));
  t.ok(shares(point(5, 'five'), point(7, 'seven')), 'this site has the newer one');
  t.notOk(shares(point(5, 'five'), point(7, 'other')));
  t.notOk(shares(point(5, 'five'), point(8, 'gone')), 'the log no longer reaches it');
  t.ok(shares(point(9, 'nine'), point(7, 'any')), 'the other side has to prove this one');
  t.notOk(shares(undefined, point(7, 'seven')));
  t.notOk(shares(point(5, 'five'), undefined));
});

t.test('the acceptor of a site that was forced alone hears others again', async (t) => {
  const id = (digit: string): string => digit.repeat(32);
  const newId = (): string => id('a');
  const options = { cluster: 'c', site: 's', eventsCountMax: 10, newId };
  const store = SiteStore.open({ directory: scratchDirectory(t), ...options });
  t.teardown(() => store.close());
  const groupId = id('9');
  store.createGroup({
    groupId,
    name: 'group',
    onPeerLoss: 'suspend',
    preferredSite: undefined,
    createdAtMs: 1,
  });
  const acceptor = new Acceptor({ storeId: id('a'), store: store.acceptors });
  const ballot = (round: number, storeId: string) => ({ round, storeId, bootId: id('1') });
  const config = (acceptors: string[]): GroupConfig => ({
    epoch: 3,
    epochId: id('3'),
    primary: id('a'),
    inSync: [id('a')],
    acceptors,
    leaseMs: 1,
    graceMs: 2,
    forced: { sequence: 4, digest: id('4') },
  });
  acceptor.accept(groupId, ballot(8, id('a')), config([id('a')]));
  t.equal(acceptor.prepare(groupId, ballot(9, id('b'))).kind, 'forced');
  store.beginResolve(groupId, { startedAtMs: 1, epoch: 3, keptAside: false });
  t.match(store.groups(), [{ flags: { resolving: true, split: false } }]);
  t.equal(acceptor.prepare(groupId, ballot(7, id('b'))).kind, 'blank', 'it counts as blank (R5)');
  const theirs = { ...config([id('b'), id('a')]), primary: id('b') };
  t.equal(acceptor.accept(groupId, ballot(7, id('b')), theirs).kind, 'refused', 'a promise stays');
  t.equal(acceptor.accept(groupId, ballot(9, id('b')), theirs).kind, 'accepted');
  store.beginResolve(groupId, { startedAtMs: 1, epoch: 3, keptAside: false });
  t.equal(acceptor.look(groupId, id('b')).kind, 'seen', 'only what was forced here is let go');
  store.setFlags(groupId, { split: false, damaged: false, inconsistent: false, resolving: false });
  t.equal(store.resolve(groupId), undefined);
});
