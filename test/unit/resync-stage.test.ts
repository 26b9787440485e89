/** A stage and what a full disk, a full store and a crash may do to it (R26). */
import SQLite from 'better-sqlite3';
import t, { type Test } from 'tap';
import { makeStage, type Stage } from '../../daemon/resync/stage.ts';
import { mergeStage } from '../../daemon/resync/stage-merge.ts';
import { SiteStore, type StoredStage } from '../../daemon/store/site-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedDatabases } from '../simulation/sites/simulated-databases.ts';

const block = 4096;
const groupId = 'a'.repeat(32);
const dataPath = `/volumes/${groupId}-1.data`;
const point = (sequence: number) => ({ sequence, digest: `${sequence}`.padStart(32, '0') });
const row = {
  groupId,
  state: 'staged',
  full: false,
  from: point(50),
  reach: 50,
  startedAtMs: 0,
  checkpoint: point(50),
  epochHistory: [],
  volumes: [{ volume: 1, name: 'v', sizeBytes: 8 * block, removed: false }],
} as const;

interface Begun {
  readonly disk: SimulatedDisk;
  readonly store: SiteStore;
  readonly stage: Stage;
  inPlace: number;
  isStoreFull: boolean;
}

async function begin(t: Test, stageBytesMax = 1024 * block): Promise<Begun> {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  const { openDatabase } = new SimulatedDatabases();
  const options = { directory: '/volumes', cluster: 'c', site: 's', eventsCountMax: 10 };
  const store = SiteStore.open({ ...options, openDatabase });
  t.teardown(() => store.close());
  store.createGroup({
    groupId,
    name: 'g',
    onPeerLoss: 'suspend',
    preferredSite: undefined,
    createdAtMs: 0,
  });
  store.beginStage(row, []);
  const full = {
    goInPlace: (next: StoredStage) => {
      if (begun.isStoreFull) throw new SQLite.SqliteError('full', 'SQLITE_FULL');
      store.goInPlace(next);
    },
  };
  const begun: Begun = {
    disk,
    store,
    stage: makeStage(
      { disk, dataDirectory: '/volumes', store: full, resync: { stageBytesMax } },
      row,
      {
        isCurrent: () => true,
        wentInPlace: () => {
          begun.inPlace += 1;
        },
      },
    ),
    inPlace: 0,
    isStoreFull: false,
  };
  return begun;
}

async function openVolume({ stage }: Begun) {
  const file = await stage.files.disk.open(dataPath, { create: true, durableWrites: false });
  await file.resize(8 * block);
  return file;
}

t.test('without room the old image is given up only once the store has said so', async (t) => {
  const begun = await begin(t, 0);
  const file = await openVolume(begun);
  begun.isStoreFull = true;
  await file.write([Buffer.alloc(block, 7)], 0, 'apply-data');
  t.notOk(begun.stage.files.merging, 'the stage goes on for now');
  t.equal(begun.store.stage(groupId)?.state, 'staged');
  begun.isStoreFull = false;
  await file.write([Buffer.alloc(block, 7)], block, 'apply-data');
  t.equal(begun.store.stage(groupId)?.state, 'in-place');
  t.equal(begun.inPlace, 1);
  await file.close();
});

t.test('a disk that is full while a stage is merged is waited for', async (t) => {
  const begun = await begin(t);
  const { disk, stage, store } = begun;
  const file = await openVolume(begun);
  await file.write([Buffer.alloc(2 * block, 7)], 0, 'apply-data');
  stage.files.startMerging();
  disk.inject({ operation: 'apply-data', code: 'ENOSPC', times: 3 });
  let done = false;
  await mergeStage(stage, {
    context: {
      disk,
      store,
      delay: () => Promise.resolve(),
      exclusively: (task) => task(),
      checkpoint: async () => {
        await file.sync('sync-data');
        stage.files.take().kept();
        await stage.files.release();
      },
    },
    volumes: { table: () => [...row.volumes] },
    isOver: () => false,
    done: () => {
      done = true;
    },
  });
  t.ok(done);
  t.equal(store.stage(groupId), undefined);
  await file.close();
  const plain = await disk.open(dataPath, { create: false, durableWrites: false });
  const content = Buffer.alloc(2 * block);
  await plain.read(content, 0, 'read-data');
  t.ok(content.equals(Buffer.alloc(2 * block, 7)), 'what was staged is in the file');
  await plain.close();
  t.notOk((await disk.list('/volumes')).some((name) => name.endsWith('.stage')));
});

t.test('the end of a merge waits for room in the store, and is made anew', async (t) => {
  const begun = await begin(t);
  const { disk, stage, store } = begun;
  const file = await openVolume(begun);
  stage.files.startMerging();
  let attempts = 0;
  let waits = 0;
  const dropStage = store.dropStage.bind(store);
  store.dropStage = (group) => {
    attempts += 1;
    if (attempts < 3) throw new SQLite.SqliteError('full', 'SQLITE_FULL');
    dropStage(group);
  };
  await mergeStage(stage, {
    context: {
      disk,
      store,
      delay: async () => {
        waits += 1;
      },
      exclusively: (task) => task(),
      checkpoint: () => Promise.resolve(),
    },
    volumes: { table: () => [...row.volumes] },
    isOver: () => false,
    done: () => t.equal(attempts, 3),
  });
  t.ok(waits >= 2);
  t.equal(store.stage(groupId), undefined);
  await file.close();
});

t.test('a stage that was given up is remembered, without what was in it', async (t) => {
  const { store } = await begin(t);
  store.giveUpStage(row);
  t.equal(store.stage(groupId)?.state, 'dropped');
  t.notOk(store.logMarks().has(groupId), 'the log is looked at from the own checkpoint again');
  store.beginStage({ ...row, from: point(70), checkpoint: point(70) }, []);
  t.equal(store.stage(groupId)?.state, 'staged', 'another one takes its place');
});
