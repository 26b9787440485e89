/**
 * A file with a stage beside it (R26): reads show the newer state at every time, the old image
 * stays untouched until the stage counts, and whatever a crash leaves, each synced block is found.
 */
import t from 'tap';
import type { DiskFile } from '../../wal/disk.ts';
import { DiskError } from '../../wal/disk-error.ts';
import { LayeredFile } from '../../wal/layered-file.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const block = 4096;
const blocks = 600;
const sizeBytes = blocks * block;

interface Parts {
  readonly file: LayeredFile;
  readonly base: DiskFile;
  readonly stage: DiskFile;
  readonly staged: SparseSet;
  readonly layering: { merging: boolean; room: number };
}

async function open(disk: SimulatedDisk, merging: boolean, staged = new SparseSet()) {
  const made = { create: true, durableWrites: false };
  const base = await disk.open('/v.data', made);
  const stage = await disk.open('/v.data.stage', made);
  await base.resize(sizeBytes);
  await stage.resize(sizeBytes);
  const state = { merging, room: Number.POSITIVE_INFINITY };
  const file = new LayeredFile({
    base,
    stage,
    staged,
    layering: {
      get merging() {
        return state.merging;
      },
      exceeds: (bytes) => staged.size * block + bytes > state.room,
      full: async () => {
        state.merging = true;
        return true;
      },
    },
  });
  return { file, base, stage, staged, layering: state } satisfies Parts;
}

async function contentOf(file: Pick<DiskFile, 'read'>): Promise<Buffer> {
  const content = Buffer.alloc(sizeBytes);
  await file.read(content, 0, 'read-data');
  return content;
}

/** One random write or hole, in the file and in the model. */
async function change(random: SeededRandom, file: LayeredFile, model: Buffer): Promise<void> {
  const first = random.below(blocks - 20);
  const count = 1 + random.below(20);
  const [from, to] = [first * block, (first + count) * block];
  if (random.below(3) === 0) {
    model.fill(0, from, to);
    await file.punchHole(from, to - from);
    return;
  }
  const data = Buffer.alloc(to - from, 1 + random.below(255));
  data.copy(model, from);
  if (random.below(2) === 0) await file.write([data], from, 'apply-data');
  else await file.writeMany([{ offsetBytes: from, buffers: [data] }], 'apply-data');
}

function newDisk(random: SeededRandom): SimulatedDisk {
  return new SimulatedDisk({ random, runsByItself: true });
}

t.test('the old image stays; merged, the file is what was read all along', async (t) => {
  for (const seed of [1, 2, 3]) {
    const random = new SeededRandom(seed);
    const { file, base, staged, layering } = await open(newDisk(random), false);
    const old = Buffer.alloc(sizeBytes, 0xaa);
    await base.write([old], 0, 'apply-data');
    const model = Buffer.from(old);
    for (let step = 0; step < 40; step += 1) await change(random, file, model);
    t.ok((await contentOf(file)).equals(model), 'reads show the newer state');
    t.ok((await contentOf(base)).equals(old), 'nothing of the old image was touched (I6)');
    layering.merging = true;
    for (let step = 0; step < 20; step += 1) {
      await Promise.all([change(random, file, model), file.mergeSome()]);
      t.ok((await contentOf(file)).equals(model), 'while it is merged');
    }
    while (await file.mergeSome());
    t.equal(staged.size, 0);
    t.ok((await contentOf(base)).equals(model));
  }
});

t.test('holes in the stage are holes in the file, before and after', async (t) => {
  const { file, base, layering } = await open(newDisk(new SeededRandom(4)), false);
  await base.write([Buffer.alloc(8 * block, 7)], 0, 'apply-data');
  await file.punchHole(2 * block, 3 * block);
  const runs = [
    { offsetBytes: 0, lengthBytes: 2 * block, allocated: true },
    { offsetBytes: 2 * block, lengthBytes: 3 * block, allocated: false },
    { offsetBytes: 5 * block, lengthBytes: 3 * block, allocated: true },
  ];
  t.same(await file.extents(0, 8 * block), runs);
  layering.merging = true;
  while (await file.mergeSome());
  t.same(await base.extents(0, 8 * block), runs);
});

t.test('without room the stage is given up, and what was written is there', async (t) => {
  const { file, staged, layering } = await open(newDisk(new SeededRandom(5)), false);
  layering.room = 4 * block;
  await file.write([Buffer.alloc(4 * block, 1)], 0, 'apply-data');
  t.notOk(layering.merging);
  await file.write([Buffer.alloc(block, 2)], 9 * block, 'apply-data');
  t.ok(layering.merging, 'the owner was asked');
  t.equal(staged.size, 4);
  const content = await contentOf(file);
  t.equal(content[0], 1);
  t.equal(content[9 * block], 2);
});

t.test('where blocks are is kept as of the last sync, in pieces', async (t) => {
  const { file, staged, stage, layering } = await open(newDisk(new SeededRandom(6)), false);
  await file.write([Buffer.alloc(2 * block, 3)], 0, 'apply-data');
  t.same(file.syncedChanges().chunks, [], 'nothing is promised before the sync');
  await file.sync('sync-data');
  await file.write([Buffer.alloc(block, 4)], 50 * block, 'apply-data');
  const changes = file.syncedChanges();
  const kept = new SparseSet();
  for (const { chunk, bits } of changes.chunks) if (bits !== undefined) kept.load(chunk, bits);
  t.same([...kept.runs()], [{ first: 0, end: 2 }], 'the later block is not among them');
  file.kept(changes);
  layering.merging = true;
  while (await file.mergeSome());
  t.equal(staged.size, 0);
  t.ok(
    (await contentOf(stage)).some((byte) => byte !== 0),
    'the store still names the stage',
  );
  await file.sync('sync-data');
  file.kept(file.syncedChanges());
  await file.release();
  t.notOk(
    (await stage.extents(0, sizeBytes)).some(({ allocated }) => allocated),
    'room again',
  );
});

t.test(
  'a file that is closed waits for what gives up room, and nothing begins after it',
  async (t) => {
    const { file, stage, layering } = await open(newDisk(new SeededRandom(7)), false);
    await file.write([Buffer.alloc(block, 3)], 0, 'apply-data');
    await file.write([Buffer.alloc(block, 3)], 300 * block, 'apply-data');
    layering.merging = true;
    await file.mergeSome();
    await file.mergeSome();
    await file.sync('sync-data');
    const changes = file.syncedChanges();
    file.kept(changes);
    let punching = 0;
    let closedWhilePunching = false;
    const { punchHole, close } = stage;
    stage.punchHole = async (...range) => {
      punching += 1;
      await punchHole.apply(stage, range);
      punching -= 1;
    };
    stage.close = async () => {
      closedWhilePunching ||= punching > 0;
      await close.apply(stage);
    };
    const writing = file.write([Buffer.alloc(block, 4)], 0, 'apply-data');
    const releasing = file.release();
    await Promise.all([file.close(), writing, releasing]);
    t.notOk(closedWhilePunching);
  },
);

t.test('a hole in the stage that finds no room is made later', async (t) => {
  const { file, stage, layering } = await open(newDisk(new SeededRandom(8)), false);
  await file.write([Buffer.alloc(block, 3)], 0, 'apply-data');
  layering.merging = true;
  await file.mergeSome();
  await file.sync('sync-data');
  const { punchHole } = stage;
  stage.punchHole = () => Promise.reject(new DiskError('ENOSPC', stage.path, 'apply-data'));
  file.kept(file.syncedChanges());
  await file.release();
  const isAllocated = async (): Promise<boolean> =>
    (await stage.extents(0, sizeBytes)).some(({ allocated }) => allocated);
  t.ok(await isAllocated());
  stage.punchHole = punchHole.bind(stage);
  await file.release();
  t.notOk(await isAllocated());
});
