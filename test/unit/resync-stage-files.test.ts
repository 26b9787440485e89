/**
 * The files of a group's stage (R26): what becomes of those of a volume that is removed while the
 * others are copied.
 */
import t from 'tap';
import { StageFiles } from '../../daemon/resync/stage-files.ts';
import type { StoredChunk } from '../../daemon/store/site-store.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const block = 4096;
const groupId = 'a'.repeat(32);
const options = { create: true, durableWrites: false };

async function newDisk(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  return disk;
}

function stageFilesOn(disk: SimulatedDisk, merging: boolean): StageFiles {
  return new StageFiles({
    disk,
    directory: '/volumes',
    groupId,
    merging,
    bytesMax: 1024 * block,
    noRoom: () => true,
  });
}

/** Some blocks in the stage of a volume's data file, kept by the store. */
async function stageBlocks(files: StageFiles, volume: number) {
  const path = `/volumes/${groupId}-${volume}.data`;
  const file = await files.disk.open(path, options);
  await file.resize(8 * block);
  await file.write([Buffer.alloc(4 * block, 7)], 0, 'apply-data');
  await file.sync('sync-data');
  files.take().kept();
  return { path, file };
}

t.test('a volume that is removed does not keep the stage for ever', async (t) => {
  const disk = await newDisk();
  const files = stageFilesOn(disk, false);
  const { path, file } = await stageBlocks(files, 1);
  files.startMerging();
  await file.close();
  await files.disk.remove(path);
  t.notOk(await files.mergeSome());
  const taken = files.take();
  t.match(
    taken.chunks,
    [{ kind: 'stage-data', volume: 1, chunk: 0, bits: undefined }],
    'the store forgets what was staged of it',
  );
  taken.kept();
  t.notOk(files.hasUnsaved);
});

t.test('one that was removed in an earlier life does not either', async (t) => {
  const files = stageFilesOn(await newDisk(), true);
  const staged = new SparseSet();
  staged.add(0, 4);
  const chunks = staged.chunks().map((chunk): StoredChunk => {
    return { kind: 'stage-data', volume: 2, ...chunk };
  });
  files.load(chunks);
  t.ok(files.hasUnsaved);
  files.forget([
    { volume: 1, removed: false },
    { volume: 2, removed: true },
  ]);
  const taken = files.take();
  t.match(taken.chunks, [{ kind: 'stage-data', volume: 2, chunk: 0, bits: undefined }]);
  taken.kept();
  t.notOk(files.hasUnsaved);
});

t.test('nothing is moved in a file that is being closed', async (t) => {
  const files = stageFilesOn(await newDisk(), false);
  const { file } = await stageBlocks(files, 1);
  files.startMerging();
  // Begun before, it is waited for; begun after, it does nothing.
  const moving = files.mergeSome();
  const closing = file.close();
  await t.resolves(files.mergeSome());
  await t.resolves(moving);
  await closing;
  t.notOk(await files.mergeSome());
});
