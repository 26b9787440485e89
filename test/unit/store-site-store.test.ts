import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import SQLite from 'better-sqlite3';
import t from 'tap';
import { SiteStore, type SiteStoreOptions } from '../../daemon/store/site-store.ts';

const id = (): string => randomBytes(16).toString('hex');

function options(directory: string, more: Partial<SiteStoreOptions> = {}): SiteStoreOptions {
  return { directory, cluster: 'lux', site: 'lux-1', eventsCountMax: 100, ...more };
}

/** Changes a closed store behind its back. */
function tamper(directory: string, sql: string): void {
  const database = new SQLite(`${directory}/store.sqlite`);
  database.exec(sql);
  database.close();
}

function newGroup(name: string) {
  return {
    groupId: id(),
    name,
    onPeerLoss: 'suspend' as const,
    preferredSite: undefined,
    createdAtMs: 1000,
  };
}

const flags = { inconsistent: false, split: false, damaged: false, resolving: false };

t.test('a new store makes an identity and keeps it', async (t) => {
  const directory = `${t.testdir()}/deep/data`;
  const first = SiteStore.open(options(directory));
  const { identity } = first;
  t.match(identity.storeId, /^[0-9a-f]{32}$/);
  t.equal(first.peerStoreId, undefined);
  const peer = id();
  first.setPeerStoreId(peer);
  first.close();
  const again = SiteStore.open(options(directory));
  t.same(again.identity, identity);
  t.equal(again.peerStoreId, peer);
  again.close();
});

t.test('nobody but the owner can read the store', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  store.createGroup(newGroup('vm'));
  t.equal(statSync(`${directory}/store.sqlite`).mode & 0o777, 0o600);
  t.equal(statSync(`${directory}/store.sqlite-wal`).mode & 0o777, 0o600);
  store.close();
});

t.test('a data directory of another site or cluster is refused, both values named', async (t) => {
  const directory = t.testdir();
  SiteStore.open(options(directory)).close();
  t.throws(() => SiteStore.open(options(directory, { site: 'lux-2' })), {
    code: 'ERR_STORE_IDENTITY',
    message: /site "lux-1".*"lux-2"/,
  });
  t.throws(() => SiteStore.open(options(directory, { cluster: 'ber' })), {
    code: 'ERR_STORE_IDENTITY',
    message: /cluster "lux".*"ber"/,
  });
  t.doesNotThrow(() => SiteStore.open(options(directory)).close(), 'and is still usable');
});

t.test('a second daemon on the same data directory is refused', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  t.throws(() => SiteStore.open(options(directory)), { code: 'ERR_STORE_IN_USE' });
  store.close();
});

t.test('a store of a newer format is refused, both formats named', async (t) => {
  const directory = t.testdir();
  SiteStore.open(options(directory)).close();
  tamper(directory, 'PRAGMA user_version = 7');
  t.throws(() => SiteStore.open(options(directory)), {
    code: 'ERR_STORE_VERSION',
    message: /format 7; .* up to \d+$/,
  });
});

t.test('a file that is no store is refused and left alone', async (t) => {
  const directory = t.testdir({ 'store.sqlite': 'x'.repeat(5000) });
  t.throws(() => SiteStore.open(options(directory)), { code: 'ERR_STORE_CORRUPT' });
  t.equal(readFileSync(`${directory}/store.sqlite`, 'utf8'), 'x'.repeat(5000));
  const other = t.testdir({});
  tamper(other, 'CREATE TABLE shopping (item TEXT)');
  t.throws(() => SiteStore.open(options(other)), { code: 'ERR_STORE_FOREIGN' });
});

t.test('damaged pages are found when the store is opened', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  for (let number = 0; number < 200; number++) store.createGroup(newGroup(`vm-${number}`));
  store.close();
  const path = `${directory}/store.sqlite`;
  const bytes = readFileSync(path);
  bytes.fill(0xff, 3 * 4096, bytes.length - 4096);
  writeFileSync(path, bytes);
  t.throws(() => SiteStore.open(options(directory)), { code: 'ERR_STORE_CORRUPT' });
});

t.test('groups keep their mode, flags and base', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  const group = { ...newGroup('vm'), onPeerLoss: 'preferred' as const, preferredSite: 'lux-2' };
  store.createGroup(group);
  const kept = { ...group, removed: false, founding: false };
  t.same(store.groups(), [{ ...kept, flags, base: undefined }]);
  const base = { sequence: 12, digest: id() };
  store.setBase(group.groupId, base);
  store.setFlags(group.groupId, { ...flags, split: true });
  store.close();
  const again = SiteStore.open(options(directory));
  t.match(again.groups(), [{ base, flags: { ...flags, split: true } }]);
  again.setBase(group.groupId, undefined);
  t.equal(again.groups()[0]?.base, undefined);
  t.throws(() => again.setFlags(id(), flags), /the store has no group/);
  again.close();
});

t.test('without its log every group is damaged, and stays so', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  t.equal(store.logLost(), 0, 'a new site has nothing to lose');
  const [kept, removed] = [newGroup('vm'), newGroup('gone')];
  for (const group of [kept, removed]) store.createGroup(group);
  store.removeGroup(removed.groupId);
  store.setFlags(kept.groupId, { ...flags, split: true });
  t.equal(store.logLost(), 1);
  store.close();
  const again = SiteStore.open(options(directory));
  const found = again.groups().find(({ groupId }) => groupId === kept.groupId);
  t.same(found?.flags, { ...flags, split: true, damaged: true });
  again.close();
});

t.test('a name is free again once its group is removed', async (t) => {
  const store = SiteStore.open(options(t.testdir()));
  const first = newGroup('vm');
  store.createGroup(first);
  t.throws(() => store.createGroup(newGroup('vm')), { code: 'ERR_GROUP_EXISTS' });
  store.removeGroup(first.groupId);
  store.createGroup({ ...newGroup('vm'), createdAtMs: 2000 });
  t.match(
    store.groups().map(({ removed }) => removed),
    [true, false],
  );
  store.close();
});

t.test(
  'a group that this site makes is known to be in the making until it is founded',
  async (t) => {
    const directory = t.testdir();
    const store = SiteStore.open(options(directory));
    const [mine, founded, theirs] = [newGroup('mine'), newGroup('founded'), newGroup('theirs')];
    store.createGroup(mine, true);
    store.createGroup(founded, true);
    store.createGroup(theirs);
    store.groupFounded(founded.groupId);
    store.close();
    const again = SiteStore.open(options(directory));
    const unfounded = (): string[] => {
      const left = again.groups().filter(({ founding }) => founding);
      return left.map(({ name }) => name);
    };
    t.strictSame(unfounded(), ['mine']);
    again.removeGroup(mine.groupId);
    t.strictSame(unfounded(), []);
    again.close();
  },
);

t.test('checkpoints of several groups are kept and replaced', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  const [one, two] = [newGroup('one'), newGroup('two')];
  for (const group of [one, two]) store.createGroup(group);
  const config = {
    epoch: 2,
    epochId: id(),
    primary: id(),
    inSync: [id()],
    acceptors: [id()],
    leaseMs: 2000,
    graceMs: 2600,
    forced: { sequence: 3, digest: id() },
  };
  const entry = {
    groupId: one.groupId,
    checkpoint: { sequence: 5, digest: id() },
    epochHistory: [{ epoch: 1, epochId: id(), firstSequence: 1 }],
    config: undefined,
    acknowledgedMark: 5,
    volumes: [
      { volume: 1, name: 'one', sizeBytes: 4096, removed: false },
      { volume: 2, name: 'old', sizeBytes: 512, removed: true },
    ],
  };
  const other = { ...entry, groupId: two.groupId, config, volumes: [] };
  store.saveCheckpoint([entry, other]);
  const moved = { ...entry, checkpoint: { sequence: 9, digest: id() }, acknowledgedMark: 9 };
  store.saveCheckpoint([{ ...moved, volumes: moved.volumes.slice(0, 1) }]);
  store.close();
  const again = SiteStore.open(options(directory));
  const loaded = again.loadCheckpoints();
  t.same(loaded.get(one.groupId), { ...moved, volumes: moved.volumes.slice(0, 1) });
  t.same(loaded.get(two.groupId), other);
  again.removeGroup(one.groupId);
  t.notOk(again.loadCheckpoints().has(one.groupId), 'a removed group has no checkpoint');
  again.close();
});

t.test('the dirty map is kept with a checkpoint and goes with its base (R27)', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory));
  const group = newGroup('vm');
  const { groupId } = group;
  store.createGroup(group);
  const base = { sequence: 3, digest: id() };
  store.setBase(groupId, base);
  const bits = new Uint8Array(4096).fill(5);
  const entry = {
    groupId,
    checkpoint: { sequence: 5, digest: id() },
    epochHistory: [],
    config: undefined,
    acknowledgedMark: 5,
    volumes: [],
  };
  const chunk = (number: number, content: Uint8Array | undefined) =>
    ({ kind: 'dirty', volume: 1, chunk: number, bits: content }) as const;
  store.saveCheckpoint([{ ...entry, chunks: [chunk(0, bits), chunk(7, bits)] }]);
  store.saveCheckpoint([{ ...entry, chunks: [chunk(0, undefined)] }]);
  t.throws(() => {
    const foreign = { ...entry, groupId: id() };
    store.saveCheckpoint([{ ...entry, chunks: [chunk(7, undefined)] }, foreign]);
  }, /FOREIGN KEY/);
  store.close();
  const again = SiteStore.open(options(directory));
  t.same(again.groups()[0]?.base, base);
  const loaded = again.loadExtents(groupId, 'dirty');
  t.equal(loaded.length, 1, 'an empty chunk is gone, and a failed transaction changes nothing');
  t.equal(loaded[0]?.chunk, 7);
  t.same(Uint8Array.from(loaded[0]?.bits ?? []), bits);
  again.setBase(groupId, { sequence: 9, digest: id() });
  t.same(again.loadExtents(groupId, 'dirty'), [], 'a new base begins with an empty map');
  again.close();
});

t.test('a checkpoint is kept for all groups or for none', async (t) => {
  const store = SiteStore.open(options(t.testdir()));
  const group = newGroup('vm');
  store.createGroup(group);
  const entry = {
    groupId: group.groupId,
    checkpoint: { sequence: 5, digest: id() },
    epochHistory: [],
    config: undefined,
    acknowledgedMark: 5,
    volumes: [],
  };
  t.throws(() => store.saveCheckpoint([entry, { ...entry, groupId: id() }]), /FOREIGN KEY/);
  t.equal(store.loadCheckpoints().size, 0);
  store.close();
});

const damages: readonly [what: string, sql: string][] = [
  ['JSON cut short', `UPDATE checkpoint SET epoch_history = '[{"epoch":1'`],
  ['JSON of another shape', `UPDATE checkpoint SET epoch_history = '[{"epoch":"1"}]'`],
  ['a configuration without members', `UPDATE checkpoint SET config = '{"epoch":1}'`],
  ['a digest that is none', `UPDATE checkpoint SET digest = 'zz'`],
];

for (const [what, sql] of damages) {
  t.test(`a stored value that does not fit is a typed error: ${what}`, async (t) => {
    const directory = t.testdir();
    const store = SiteStore.open(options(directory));
    const group = newGroup('vm');
    store.createGroup(group);
    store.saveCheckpoint([
      {
        groupId: group.groupId,
        checkpoint: { sequence: 5, digest: id() },
        epochHistory: [],
        config: undefined,
        acknowledgedMark: 5,
        volumes: [],
      },
    ]);
    store.close();
    tamper(directory, sql);
    const again = SiteStore.open(options(directory));
    t.throws(() => again.loadCheckpoints(), { code: 'ERR_STORE_CORRUPT' });
    again.close();
  });
}

t.test(
  'what an acceptor promised is there after a restart, before its group is known',
  async (t) => {
    const directory = t.testdir();
    const store = SiteStore.open(options(directory));
    const groupId = id();
    t.equal(store.acceptors.load(groupId), undefined);
    const first = { promised: { round: 1, storeId: id(), bootId: id() } };
    store.acceptors.save(groupId, first);
    const second = { promised: { round: 2, storeId: id(), bootId: id() } };
    store.acceptors.save(groupId, second);
    store.close();
    const again = SiteStore.open(options(directory));
    t.same(again.acceptors.load(groupId), second);
    again.close();
    tamper(directory, "UPDATE acceptor SET state = '{'");
    const damaged = SiteStore.open(options(directory));
    t.throws(() => damaged.acceptors.load(groupId), { code: 'ERR_STORE_CORRUPT' });
    damaged.close();
  },
);

t.test('forced promotions are kept with what was given up', async (t) => {
  const store = SiteStore.open(options(t.testdir()));
  const group = newGroup('vm');
  store.createGroup(group);
  const promotion = { atMs: 5, epoch: 3, end: { sequence: 7, digest: id() }, text: 'peer lost' };
  store.recordForcedPromotion(group.groupId, promotion);
  t.same(store.forcedPromotions(group.groupId), [promotion]);
  store.close();
});

t.test('events are listed newest first, and only so many are kept', async (t) => {
  const directory = t.testdir();
  const store = SiteStore.open(options(directory, { eventsCountMax: 10 }));
  for (let number = 1; number <= 25; number++) {
    const group = number % 2 === 0 ? 'vm' : undefined;
    store.events.append({ atMs: number, level: 'warn', code: 'peer-lost', group, text: 'gone' });
  }
  t.match(store.events.list({ limit: 2 }), [
    { number: 25, atMs: 25, group: undefined },
    { number: 24, group: 'vm', level: 'warn', code: 'peer-lost', text: 'gone' },
  ]);
  t.equal(store.events.list({ limit: 100 }).length, 10);
  store.close();
  const again = SiteStore.open(options(directory));
  again.events.append({ atMs: 1, level: 'info', code: 'x', group: undefined, text: 'y' });
  t.equal(again.events.list({ limit: 1 })[0]?.number, 26, 'numbers go on');
  again.close();
});

t.test('events of a version that did not know who asked are kept, and go on', async (t) => {
  const directory = t.testdir();
  // Format 1, as that version made it.
  const old = new SQLite(`${directory}/events.sqlite`);
  old.exec(`CREATE TABLE event (
       number INTEGER PRIMARY KEY AUTOINCREMENT,
       at_ms INTEGER NOT NULL,
       level TEXT NOT NULL,
       code TEXT NOT NULL,
       group_name TEXT,
       text TEXT NOT NULL
     ) STRICT;
     INSERT INTO event VALUES (7, 5, 'info', 'started', NULL, 'as it was');
     PRAGMA application_id = ${0x43_73_6d_45};
     PRAGMA user_version = 1;`);
  old.close();
  const store = SiteStore.open(options(directory));
  const by = { who: 'token ops', role: 'operate' as const, from: '10.0.0.9' };
  const event = { level: 'info' as const, code: 'operator-action', group: undefined, text: 'x' };
  store.events.append({ ...event, atMs: 9, by });
  t.same(store.events.list({ limit: 10 }), [
    { ...event, number: 8, atMs: 9, by },
    { number: 7, atMs: 5, level: 'info', code: 'started', group: undefined, text: 'as it was' },
  ]);
  store.close();
});

t.test('damaged events do not keep a site from starting, and a copy is kept', async (t) => {
  const directory = t.testdir({ 'events.sqlite': 'x'.repeat(5000) });
  const store = SiteStore.open(options(directory));
  t.same(store.events.list({ limit: 10 }), []);
  t.equal(readFileSync(`${directory}/events.sqlite.damaged`, 'utf8'), 'x'.repeat(5000));
  store.close();
});
