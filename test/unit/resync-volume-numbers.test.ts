/**
 * Volumes whose number another volume of this site has had (R26, R36): each side of a split may
 * have given it away, and the side that is given up keeps files that are nobody's any more.
 */
import t, { type Test } from 'tap';
import { GroupVolumes } from '../../daemon/volume/group-volumes.ts';
import { documentRecord } from '../../daemon/volume/record-payloads.ts';
import { recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { writeRecord } from '../simulation/volume-model.ts';
import { idleVolume } from '../support/idle-volume.ts';

const block = 4096;
const sizeBytes = 8 * block;
const groupId = 'a'.repeat(32);

async function newDisk(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/volumes');
  return disk;
}

function openStore(t: Test, disk: SimulatedDisk, volume: number, isNew: boolean) {
  return VolumeStore.open({
    disk,
    directory: '/volumes',
    name: `${groupId}-${volume}`,
    sizeBytes,
    isNew,
    checksumCacheBytesMax: 1024 * 1024,
    applyConcurrency: 2,
    nowMs: () => 0,
    onProgress: () => undefined,
    onFailure: (error) => t.fail(error.message),
    onStall: () => undefined,
    delay: () => Promise.resolve(),
  });
}

function groupVolumes(t: Test, disk: SimulatedDisk): GroupVolumes {
  const volumes = new GroupVolumes({
    openStore: (volume, _sizeBytes, { isNew }) => openStore(t, disk, volume, isNew),
    makeVolume: idleVolume,
    tableChanged: () => undefined,
    progressed: () => undefined,
    keepsFiles: () => false,
    failed: (error) => t.fail(String(error)),
  });
  t.teardown(() => volumes.close());
  return volumes;
}

/** Something that a volume of this number held, once. */
async function leaveFiles(t: Test, disk: SimulatedDisk, volume: number): Promise<void> {
  const store = await openStore(t, disk, volume, false);
  store.commit([writeRecord(Buffer.alloc(2 * block, 7), 0, volume)], 1);
  await store.idle();
  await store.sync();
  await store.close();
}

t.test('a volume that is added is empty, whatever files have its number', async (t) => {
  const disk = await newDisk();
  await leaveFiles(t, disk, 2);
  const volumes = groupVolumes(t, disk);
  await volumes.load([], 0);
  const frame = encodeFrame({
    groupId,
    epoch: 1,
    epochId: 'b'.repeat(32),
    firstSequence: 1,
    commit: 0,
    timeMs: 0,
    digestBefore: '0'.repeat(32),
    records: [documentRecord(recordKind.volumeAdd, 2, { volume: 2, name: 'new', sizeBytes })],
  });
  await new Promise<void>((resolve) => volumes.commit(frame, false, resolve));
  const store = volumes.byName('new')?.store;
  const content = Buffer.alloc(sizeBytes, 1);
  await store?.read(content, 0);
  t.ok(content.equals(Buffer.alloc(sizeBytes)), 'nothing of the other volume is seen');
  t.equal(
    (await store?.extents(0, sizeBytes))?.some(({ allocated }) => allocated),
    false,
  );
});

t.test('a volume has the name that the new history gives to its number', async (t) => {
  const volumes = groupVolumes(t, await newDisk());
  const named = (name: string) => [{ volume: 1, name, sizeBytes, removed: false }];
  await volumes.load(named('of-the-side-given-up'), 5);
  await volumes.replace(named('of-the-other-side'), 7);
  t.equal(volumes.byNumber(1)?.name, 'of-the-other-side');
  const before = volumes.byNumber(1);
  await volumes.replace(named('of-the-other-side'), 8);
  t.equal(volumes.byNumber(1), before, 'the clients of one that stays do');
});
