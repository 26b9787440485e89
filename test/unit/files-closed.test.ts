/** Opening that finds no room, over and over, leaves no file open. */
import t, { type Test } from 'tap';
import { StageFiles } from '../../daemon/resync/stage-files.ts';
import type { DiskOperation } from '../../wal/disk-error.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const groupId = 'a'.repeat(32);

/** A disk, and how many files of it are open. */
async function countingDisk(): Promise<{ disk: SimulatedDisk; openFiles: () => number }> {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  const open = disk.open.bind(disk);
  let count = 0;
  disk.open = async (...parameters) => {
    const file = await open(...parameters);
    const close = file.close.bind(file);
    count += 1;
    file.close = async () => {
      count -= 1;
      await close();
    };
    return file;
  };
  return { disk, openFiles: () => count };
}

async function noneStaysOpen(
  t: Test,
  faults: readonly { operation: DiskOperation; pathContains: string; nth?: number }[],
  open: (disk: SimulatedDisk) => Promise<unknown>,
): Promise<void> {
  for (const fault of faults) {
    const { disk, openFiles } = await countingDisk();
    disk.inject({ ...fault, code: 'ENOSPC' });
    await t.rejects(open(disk), { code: 'ENOSPC' }, `${fault.operation} ${fault.pathContains}`);
    t.equal(openFiles(), 0);
  }
}

t.test("a volume's files", (t) => {
  const faults = [
    { operation: 'open', pathContains: '.data' },
    { operation: 'size', pathContains: '.data' },
    { operation: 'open', pathContains: '.checksums' },
    { operation: 'sync-directory', pathContains: '/volumes' },
  ] as const;
  return noneStaysOpen(t, faults, (disk) =>
    VolumeStore.open({
      disk,
      directory: '/volumes',
      name: 'v',
      sizeBytes: 8 * 4096,
      checksumCacheBytesMax: 0,
      applyConcurrency: 1,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: () => undefined,
      onStall: () => undefined,
      delay: () => Promise.resolve(),
    }),
  );
});

t.test('those of a stage', (t) => {
  const faults = [
    { operation: 'open', pathContains: '.stage' },
    { operation: 'size', pathContains: '.stage' },
    { operation: 'size', pathContains: '.data' },
  ] as const;
  return noneStaysOpen(t, faults, (disk) => {
    const directory = '/volumes';
    const merging = false;
    const noRoom = () => false;
    const files = new StageFiles({ disk, directory, groupId, merging, bytesMax: 0, noRoom });
    const path = `/volumes/${groupId}-1.data`;
    return files.disk.open(path, { create: true, durableWrites: false });
  });
});
