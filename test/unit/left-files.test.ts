/** What a crash has left of the files of removed volumes and groups (R39, R40). */
import t from 'tap';
import { SiteStore } from '../../daemon/store/site-store.ts';
import { sweepLeftFiles } from '../../daemon/volume/left-files.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedDatabases } from '../simulation/sites/simulated-databases.ts';

const [there, gone, staged] = ['a', 'b', 'c'].map((digit) => digit.repeat(32)) as [
  string,
  string,
  string,
];
const checkpoint = { sequence: 9, digest: '9'.repeat(32) };
const volumes = [
  { volume: 1, name: 'one', sizeBytes: 4096, removed: false },
  { volume: 2, name: 'two', sizeBytes: 4096, removed: true },
];

t.test('only what is certainly of nothing is removed, and groups are set aside', async (t) => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  const { openDatabase } = new SimulatedDatabases();
  const options = { directory: '/', cluster: 'c', site: 's', eventsCountMax: 10 };
  const store = SiteStore.open({ ...options, openDatabase });
  t.teardown(() => store.close());
  for (const groupId of [there, gone, staged]) {
    const fields = { onPeerLoss: 'suspend', preferredSite: undefined, createdAtMs: 0 } as const;
    store.createGroup({ groupId, name: groupId.slice(0, 2), ...fields });
    const entry = { groupId, checkpoint, epochHistory: [], config: undefined, volumes };
    store.saveCheckpoint([{ ...entry, acknowledgedMark: 9 }]);
  }
  const at = { checkpoint, from: checkpoint, reach: 9, epochHistory: [] };
  store.beginStage(
    { groupId: staged, state: 'in-place', full: true, startedAtMs: 0, volumes, ...at },
    [],
  );
  store.removeGroup(gone);
  const files = [there, gone, staged, 'd'.repeat(32)].flatMap((groupId) =>
    [1, 2, 3].flatMap((volume) => [`${groupId}-${volume}.data`, `${groupId}-${volume}.checksums`]),
  );
  for (const file of [...files, `${there}-2.data.mine`, 'notes']) {
    const made = await disk.open(`/volumes/${file}`, { create: true, durableWrites: false });
    await made.close();
  }
  const events: string[] = [];
  await sweepLeftFiles({
    disk,
    store,
    dataDirectory: '/volumes',
    event: (...said) => events.push(said.join(' ')),
  });
  const left = new Set((await disk.list('/volumes')).filter((name) => name !== 'removed'));
  const missing = files.filter((file) => !left.has(file)).sort();
  const ofGone = files.filter((file) => file.startsWith(gone)).sort();
  t.same(missing, [`${there}-2.checksums`, `${there}-2.data`, ...ofGone]);
  t.ok(left.has('notes') && left.has(`${there}-2.data.mine`));
  t.same((await disk.list('/volumes/removed')).sort(), ofGone);
  t.equal(events.length, missing.length);
});
