/** The seams between lives, segments and writes, each with the one crash that would open it. */
import t from 'tap';
import { crc32c } from '../../wal/checksum.ts';
import {
  encodeEntryHeader,
  encodeLifeStartBody,
  entryKind,
  storeCrcSeed,
} from '../../wal/entry-format.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
  directory,
  openLog,
  overwrite,
  readAll,
  simulatedDisk,
  storeId,
  TestGroup,
  until,
} from '../support/wal-log-harness.ts';

const segmentBytes = 64 * 1024;
const slotOne = `${directory}/segment-000001`;
const slotTwo = `${directory}/segment-000002`;
const firstEntry = 8192;

async function logWith(frames: number): Promise<{ disk: SimulatedDisk; group: TestGroup }> {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  for (let count = 1; count <= frames; count += 1) {
    group.append(1000);
    await group.whenDurable(count);
  }
  await log.close();
  return { disk, group };
}

t.test('a life start counts only after the life that it names', async (t) => {
  for (const [previousLife, life, taken] of [
    [1, 2, true],
    [5, 9, false],
    [0, 1, false],
  ] as const) {
    const { disk } = await logWith(2);
    const offset = firstEntry + 2 * 4096;
    const seed = storeCrcSeed(storeId);
    const body = encodeLifeStartBody(previousLife);
    const header = Buffer.alloc(64);
    const place = { lsn: segmentBytes + offset, syncedLsn: 0, life };
    const facts = {
      kind: entryKind.lifeStart,
      bodyBytes: body.length,
      bodyCrc: crc32c(body, seed),
    };
    encodeEntryHeader(header, { ...place, ...facts }, seed);
    await overwrite(disk, slotOne, offset, Buffer.concat([header, body]));
    const { log, recovery } = await openLog(disk);
    // The first life start, two frames, and the forged one if it is taken.
    t.equal(recovery.report.entries, taken ? 4 : 3, `${life} after ${previousLife}`);
    await log.close();
  }
});

t.test('what recovery found in the page cache only is durable before it counts', async (t) => {
  const { disk: other, group } = await logWith(3);
  const { disk } = await logWith(2);
  const offset = firstEntry + 2 * 4096;
  const bytes = other.contentOf(slotOne).subarray(offset, offset + 4096);
  // A process that was killed left its last write in the page cache.
  await overwrite(disk, slotOne, offset, bytes, false);
  const { recovery } = await openLog(disk);
  t.equal(recovery.groups.get(group.groupId)?.end.sequence, 3);
  const after = disk.crash('nothing');
  const again = await openLog(after);
  t.equal(again.recovery.groups.get(group.groupId)?.end.sequence, 3, 'as it was told before');
  await again.log.close();
});

t.test('a torn beginning of a segment is a torn end, no damage', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { commitBytesMax: segmentBytes });
  const group = new TestGroup(log, 1);
  group.append(40_000);
  await group.whenDurable(1);
  await until(() => log.stats().spareSegments === 1);
  group.append(10_000);
  group.append(10_000);
  group.append(10_000);
  await group.whenDurable(4);
  t.equal(log.stats().segments, 2, 'the three went to the next segment');
  t.equal(log.stats().commits, 2, 'in one write with its header');
  await log.close();
  for (const lost of [0, 4096, 4096 + 12_288]) {
    const copy = simulatedDisk();
    await (await openLog(copy)).log.close();
    for (const path of [slotOne, slotTwo]) {
      await (await copy.open(path, { create: true, durableWrites: true })).close();
      await overwrite(copy, path, 0, disk.contentOf(path));
    }
    await overwrite(copy, slotTwo, lost, Buffer.alloc(4096));
    const { log: reopened, recovery } = await openLog(copy);
    const found = recovery.groups.get(group.groupId);
    t.equal(found?.damaged, undefined, `without the page at ${lost}`);
    t.equal(found?.end.sequence, lost <= 4096 ? 1 : 2);
    t.equal(recovery.report.lostRanges.length, 0);
    await reopened.close();
  }
});

t.test('a segment is not freed for one that is not durable yet', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  group.append(40_000);
  await group.whenDurable(1);
  await until(() => log.stats().spareSegments === 1 && disk.pendingCalls === 0);
  disk.hold('append-log');
  group.append(30_000);
  await until(() => log.stats().segments === 2);
  log.retain(group.groupId, { own: 1, peer: 1 });
  t.equal(log.stats().segments, 2, 'the log would be without any segment after a crash now');
  disk.release('append-log');
  await group.whenDurable(2);
  log.retain(group.groupId, { own: 1, peer: 1 });
  t.equal(log.stats().segments, 1);
  await log.close();
});

t.test('after a cut that is not durable yet only what is durable is read', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  const first = group.append(100);
  group.append(100);
  group.append(100);
  await group.whenDurable(3);
  disk.hold('append-log');
  group.cut({ sequence: 1, digest: first.digestAfter });
  group.append(200);
  await until(() => group.queued === 0);
  t.same(await log.readFrames(group.groupId, 1, 1000), [], 'the old frames are void');
  t.equal((await readAll(log, group.groupId, 0)).length, 1);
  disk.release('append-log');
  await group.whenDurable(5);
  t.equal((await readAll(log, group.groupId, 0)).length, 2);
  await log.close();
});
