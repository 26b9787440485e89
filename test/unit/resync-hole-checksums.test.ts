/**
 * A full resync mends holes whose checksums are those of data (R26): a crash has kept the hole in
 * the data file, and not what was written of it in the checksums.
 */
import t from 'tap';
import type { BulkCall, BulkCallResult } from '../../daemon/resync/bulk-calls.ts';
import { copySome } from '../../daemon/resync/extent-copy.ts';
import { findWanted } from '../../daemon/resync/find-wanted.ts';
import { ResyncPace } from '../../daemon/resync/resync-pace.ts';
import { WantedExtents } from '../../daemon/resync/wanted-extents.ts';
import { DirtyMap } from '../../replication/resync/dirty-map.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { writeRecord } from '../simulation/volume-model.ts';

const extent = 64 * 1024;
const sizeBytes = 4 * extent;
const groupId = '0'.repeat(32);

t.test('a hole that both sites have is read as zeros afterwards', async (t) => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  const open = () =>
    VolumeStore.open({
      disk,
      directory: '/volumes',
      name: 'v',
      sizeBytes,
      checksumCacheBytesMax: 1024 * 1024,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => t.fail(error.message),
      onStall: () => undefined,
      delay: () => Promise.resolve(),
    });
  const before = await open();
  before.commit([writeRecord(Buffer.alloc(8192, 7), extent)], 1);
  await before.idle();
  await before.sync();
  await before.close();
  const file = await disk.open('/volumes/v.data', { create: false, durableWrites: false });
  await file.punchHole(extent, 8192);
  await file.close();

  const store = await open();
  t.teardown(() => store.close());
  const content = Buffer.alloc(sizeBytes, 1);
  await t.rejects(store.read(content, 0), 'nobody can tell what it was');
  const ask: BulkCall = (_method, parameters) => {
    const answer =
      'extents' in parameters ? holes(parameters.extents.length) : { chunks: [], nextChunk: null };
    // The type of the answer follows from the method, which the parameters tell.
    return Promise.resolve(answer) as ReturnType<BulkCall> as never;
  };
  const wanted = new WantedExtents(0);
  await findWanted(wanted, {
    group: {
      groupId,
      volumes: { byNumber: () => ({ store }) },
      changes: { map: new DirtyMap() },
      view: { resolving: false },
    },
    source: { knowsChanges: false, volumes: [{ volume: 1, name: 'v', sizeBytes, removed: false }] },
    full: true,
    ask,
    staged: undefined,
  });
  const pace = new ResyncPace({ concurrency: 1, nowMs: () => 0, delay: () => Promise.resolve() });
  const site = { pace, ask, stageBytesMax: 0 };
  const copied = () =>
    copySome({
      groupId,
      site,
      wanted,
      full: true,
      inPlace: () => true,
      store: () => store,
      committedThrough: () => 1,
      copied: () => undefined,
    });
  while (await copied());
  await store.read(content, 0);
  t.ok(content.equals(Buffer.alloc(sizeBytes)));
});

function holes(count: number): BulkCallResult<'resyncExtents'> {
  return { upTo: 1, reach: 1, rateBytes: 1e9, extents: Array(count).fill({ kind: 'hole' }) };
}
