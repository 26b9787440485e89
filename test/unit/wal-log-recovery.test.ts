/**
 * Recovery against forged and damaged logs: what is at the end is cut off and said, what is in the
 * middle is damage and said, and nothing old is ever taken for new.
 */
import t from 'tap';
import { crc32c } from '../../wal/checksum.ts';
import { encodeEntryHeader, entryKind, storeCrcSeed } from '../../wal/entry-format.ts';
import type { HistoryPoint } from '../../wal/frame.ts';
import { recordKind } from '../../wal/frame.ts';
import type { Log, LogMarks, RecoveredLogGroup } from '../../wal/log.ts';
import type { LogRecovery } from '../../wal/log-types.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
  bytesOf,
  directory,
  groupIdOf,
  marksOf,
  openLog,
  overwrite,
  readAll,
  recordOf,
  simulatedDisk,
  start,
  storeId,
  TestGroup,
} from '../support/wal-log-harness.ts';

const segmentBytes = 64 * 1024;
const slotOne = `${directory}/segment-000001`;
/** Where the first entry of a new log goes, in its file: after the header and the life start. */
const firstEntry = 8192;

/** A log of one group with so many frames, each of one page (1000 bytes) in its own commit. */
async function smallLog(frames: number, lengthBytes = 1000) {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  const points: HistoryPoint[] = [start];
  for (let count = 1; count <= frames; count += 1) {
    group.append(lengthBytes);
    points.push(group.end);
    await group.whenDurable(count);
  }
  await log.close();
  return { disk, group, points };
}

async function reopen(disk: SimulatedDisk, marks?: ReadonlyMap<string, LogMarks>) {
  const { log, recovery } = await openLog(disk, marks === undefined ? {} : { marks });
  const group = recovery.groups.get(groupIdOf(1));
  return { log, recovery, group };
}

function endOf(group: RecoveredLogGroup | undefined): number {
  return group?.end.sequence ?? 0;
}

/** An entry header as this store would write it, for a life of our choice. */
function entryHeader(fields: {
  lsn: number;
  syncedLsn?: number;
  life?: number;
  bodyBytes?: number;
  store?: string;
}): Buffer {
  const page = Buffer.alloc(64);
  const { lsn, syncedLsn = 0, life = 1, bodyBytes = 1200, store = storeId } = fields;
  const kind = entryKind.frame;
  encodeEntryHeader(
    page,
    { kind, lsn, syncedLsn, life, bodyBytes, bodyCrc: 0 },
    storeCrcSeed(store),
  );
  return page;
}

t.test('a new log: nothing in it, and it says so', async (t) => {
  const disk = simulatedDisk();
  const first = await reopen(disk);
  t.equal(first.recovery.report.created, true);
  await first.log.close();
  const second = await reopen(disk, marksOf([[groupIdOf(1), start]]));
  t.equal(second.recovery.report.created, false);
  t.same(second.group, {
    end: start,
    firstSequence: 1,
    epochs: [],
    lastEpochStart: undefined,
    lastFrameCommit: 0,
    lastFrameTimeMs: 0,
    damaged: undefined,
  });
  await second.log.close();
});

t.test('a log that is made where there has been one has lost what it held', async (t) => {
  const marks = marksOf([[groupIdOf(1), { sequence: 8, digest: '8'.repeat(32) }]]);
  const disk = simulatedDisk();
  let told = 0;
  const missing = (): void => {
    told += 1;
  };
  disk.inject({ operation: 'write-superblock', code: 'EIO' });
  await t.rejects(openLog(disk, { marks, missing }), { code: 'ERR_LOG_CREATE' });
  t.equal(told, 1, 'before it is made');
  const { log, recovery } = await openLog(disk, { marks, missing });
  t.equal(told, 2, 'and again, for it was not made');
  t.match(recovery.groups.get(groupIdOf(1))?.damaged, /the log was gone/);
  t.same(recovery.report.damagedGroups, [groupIdOf(1)]);
  await log.close();
  await (await openLog(disk, { marks, missing })).log.close();
  t.equal(told, 2, 'the log is there');
});

t.test('what was appended is recovered: end, epochs, commit point, time', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  group.append(100, 5000);
  group.epoch = 2;
  const epochStart = recordOf(30, 9, recordKind.epochStart);
  group.appendRecords([recordOf(10, 4), epochStart]);
  group.append(700);
  await group.whenDurable();
  await log.close();
  const recovered = await reopen(disk);
  t.same(recovered.group, {
    end: group.end,
    firstSequence: 1,
    epochs: [{ epoch: 2, epochId: `${'e'.repeat(31)}2`, firstSequence: 4 }],
    lastEpochStart: epochStart.payload[0],
    lastFrameCommit: 4,
    lastFrameTimeMs: 1_000_004,
    damaged: undefined,
  });
  const frames = await readAll(recovered.log, group.groupId, 0);
  t.same(frames.map(bytesOf), [...group.made.values()].map(bytesOf));
  await recovered.log.close();
});

t.test('truncated at every sector, a log recovers to a prefix and says why', async (t) => {
  const { disk, points } = await smallLog(6, 5000);
  const content = disk.contentOf(slotOne);
  // Each entry takes two pages; the log ends at a page boundary.
  const usedBytes = firstEntry + 6 * 8192;
  for (let length = 4096 + 512; length <= usedBytes; length += 512) {
    const { disk: copy } = await smallLog(0);
    await overwrite(copy, slotOne, 0, Buffer.from(content).fill(0, length));
    const { log, recovery, group } = await reopen(copy);
    // A frame is whole when its last byte that is not padding is there.
    const frames = points.length - 1;
    let whole = 0;
    while (whole < frames && firstEntry + whole * 8192 + 5250 <= length) whole += 1;
    const end = endOf(group);
    if (end !== whole && end !== whole + 1) t.fail(`${length}: ${end}, not ${whole}`);
    if (end > 0) t.equal(group?.end.digest, points[end]?.digest, `${length}: a prefix`);
    const torn = length > firstEntry && end < frames && length - firstEntry - end * 8192 > 0;
    if (torn) t.equal(recovery.report.tornTail, true, `${length}: said to be torn`);
    t.equal(group?.damaged, undefined);
    await log.close();
  }
});

t.test('below what was acknowledged or checkpointed, a short log is damage', async (t) => {
  const cases: [string, LogMarks, RegExp | undefined][] = [
    ['nothing known', { checkpoint: start, acknowledgedMark: 0 }, undefined],
    ['acknowledged what is there', { checkpoint: start, acknowledgedMark: 2 }, undefined],
    ['acknowledged more', { checkpoint: start, acknowledgedMark: 3 }, /3 was acknowledged/],
  ];
  for (const [name, marks, words] of cases) {
    const { disk } = await smallLog(3);
    await overwrite(disk, slotOne, firstEntry + 2 * 4096, Buffer.alloc(4096));
    const { log, recovery, group } = await reopen(disk, new Map([[groupIdOf(1), marks]]));
    t.equal(endOf(group), 2, name);
    if (words === undefined) t.equal(group?.damaged, undefined, name);
    else t.match(group?.damaged, words, name);
    t.equal(recovery.report.damagedGroups.length, words === undefined ? 0 : 1);
    await log.close();
  }
  const { disk, points } = await smallLog(3);
  await overwrite(disk, slotOne, firstEntry + 2 * 4096, Buffer.alloc(4096));
  const checkpoint = points[3] ?? start;
  const { log, group } = await reopen(disk, marksOf([[groupIdOf(1), checkpoint]]));
  t.match(group?.damaged, /below the checkpoint 3/);
  await log.close();
});

t.test('another history than that of the checkpoint is damage', async (t) => {
  const { disk, points } = await smallLog(3);
  const checkpoint = { sequence: 2, digest: 'ab'.repeat(16) };
  const wrong = await reopen(disk, marksOf([[groupIdOf(1), checkpoint]]));
  t.match(wrong.group?.damaged, /history of the checkpoint/);
  await wrong.log.close();
  const right = await reopen(disk, marksOf([[groupIdOf(1), points[2] ?? start]]));
  t.equal(right.group?.damaged, undefined);
  await right.log.close();
});

t.test('forged tails are cut off', async (t) => {
  const tail = firstEntry + 3 * 4096;
  const lsn = segmentBytes + tail;
  const otherBytes = Buffer.alloc(20_000, 'garbage');
  const { disk: other } = await smallLog(4);
  const realEntry = other.contentOf(slotOne).subarray(tail, tail + 4096);
  const flipped = Buffer.from(realEntry);
  flipped[700] = (flipped[700] ?? 0) ^ 1;
  const wrongHeader = Buffer.from(realEntry);
  wrongHeader[63] = (wrongHeader[63] ?? 0) ^ 1;
  const cases: [string, Buffer][] = [
    ['nothing', Buffer.alloc(4096)],
    ['garbage', otherBytes],
    ['length zero', entryHeader({ lsn, bodyBytes: 0 })],
    ['length beyond the segment', entryHeader({ lsn, bodyBytes: segmentBytes })],
    ['length huge', entryHeader({ lsn, bodyBytes: 0xffff_ffff })],
    ['a header alone', entryHeader({ lsn })],
    ['a payload with a wrong bit', flipped],
    ['a header with a wrong bit', wrongHeader],
    ['the first sector only', Buffer.concat([realEntry.subarray(0, 512), Buffer.alloc(3584)])],
    ['all but the first sector', Buffer.concat([Buffer.alloc(512), realEntry.subarray(512)])],
    ['an entry for another place (an earlier lap)', entryHeader({ lsn: lsn - segmentBytes })],
    ['an entry of another store', entryHeader({ lsn, store: 'ab'.repeat(16) })],
    ['an entry of another life', entryHeader({ lsn, life: 9 })],
  ];
  for (const [name, bytes] of cases) {
    const { disk, points } = await smallLog(3);
    await overwrite(disk, slotOne, tail, bytes);
    const { log, group } = await reopen(disk);
    t.equal(endOf(group), 3, name);
    t.equal(group?.end.digest, points[3]?.digest, name);
    t.equal(group?.damaged, undefined, name);
    await log.close();
  }
  const { disk } = await smallLog(3);
  await overwrite(disk, slotOne, tail, realEntry);
  const { log, group } = await reopen(disk);
  t.equal(endOf(group), 4, 'and the real entry is taken');
  await log.close();
});

t.test('what a torn write left behind is never read later', async (t) => {
  // Five entries in one write, of which the power cut keeps all but the first.
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  group.append(1000);
  await group.whenDurable();
  const before = group.end;
  for (let count = 0; count < 5; count += 1) group.append(1000);
  await group.whenDurable();
  await log.close();
  t.equal(log.stats().commits, 2, 'the five were one write');
  const torn = firstEntry + 4096;
  await overwrite(disk, slotOne, torn, Buffer.alloc(4096));
  const second = await reopen(disk, marksOf([[group.groupId, before]]));
  t.equal(endOf(second.group), 1);
  t.equal(second.recovery.report.tornTail, true);
  t.equal(second.group?.damaged, undefined, 'a torn write is no damage');
  // Entries of the same size go where the torn ones were, so that old ones become reachable.
  for (const appended of [0, 1, 2, 3]) {
    const copy = simulatedDisk();
    const file = disk.contentOf(slotOne);
    await (await openLog(copy)).log.close();
    await overwrite(copy, slotOne, 0, file);
    const third = await reopen(copy);
    t.equal(endOf(third.group), 1, 'the old entries are still cut off');
    const next = new TestGroup(third.log, 1, third.group?.end, 500);
    for (let count = 0; count < appended; count += 1) next.append(1000);
    await next.whenDurable();
    await third.log.close();
    const fourth = await reopen(copy);
    t.same(fourth.group?.end, next.end, `after ${appended} new entries`);
    t.equal(fourth.group?.damaged, undefined);
    await fourth.log.close();
  }
  await second.log.close();
});

t.test('damage in the middle is told from a torn end, and names its group', async (t) => {
  const damageAt = async (offset: number): Promise<{ log: Log; recovery: LogRecovery }> => {
    const disk = simulatedDisk();
    const { log } = await openLog(disk);
    const [one, two] = [new TestGroup(log, 1), new TestGroup(log, 2)];
    for (let count = 1; count <= 3; count += 1) {
      one.append(1000);
      await one.whenDurable(count);
      two.append(1000);
      await two.whenDurable(count);
    }
    await log.close();
    disk.corrupt(slotOne, offset);
    const marks = marksOf([
      [one.groupId, start],
      [two.groupId, start],
      [groupIdOf(3), start],
    ]);
    return openLog(disk, { marks });
  };
  // The entries: one, two, one, two, one, two.
  const payload = await damageAt(firstEntry + 2 * 4096 + 900);
  const group = payload.recovery.groups.get(groupIdOf(1));
  t.equal(endOf(group), 1);
  t.match(group?.damaged, /records 2 to 2 are missing before the frame at position/);
  const others = [2, 3].map((number) => payload.recovery.groups.get(groupIdOf(number)));
  t.equal(endOf(others[0]), 3, 'the other group lost nothing');
  t.same(
    others.map((other) => other?.damaged),
    [undefined, undefined],
  );
  t.match(payload.recovery.report.text, /damage in 1 place .*damaged groups/);
  await payload.log.close();
  const header = await damageAt(firstEntry + 2 * 4096 + 8);
  t.match(header.recovery.groups.get(groupIdOf(1))?.damaged, /missing/);
  t.equal(header.recovery.groups.get(groupIdOf(2))?.damaged, undefined, 'it went on without a gap');
  const silent = header.recovery.groups.get(groupIdOf(3))?.damaged;
  t.match(silent, /damaged from position/, 'it could have been a group of which nothing follows');
  await header.log.close();
  const last = await damageAt(firstEntry + 4 * 4096 + 8);
  t.match(last.recovery.groups.get(groupIdOf(1))?.damaged, /damaged from position/);
  await last.log.close();
});

t.test('a damaged group is mended by a cut, and by an append with a cut of its own', async (t) => {
  for (const withCut of [true, false]) {
    const { disk, points } = await smallLog(5);
    disk.corrupt(slotOne, firstEntry + 2 * 4096 + 900);
    const second = await reopen(disk);
    t.equal(endOf(second.group), 2);
    t.match(second.group?.damaged, /missing/);
    const again = new TestGroup(second.log, 1, second.group?.end, 50);
    if (withCut) again.cut(points[2] ?? start);
    // Both in one write: a second cut would void the first of them.
    again.append(1000);
    again.append(1000);
    await again.whenDurable();
    await second.log.close();
    const third = await reopen(disk);
    t.equal(third.group?.damaged, undefined);
    t.same(third.group?.end, again.end);
    await third.log.close();
  }
});

t.test('damage below the checkpoint is none of the group', async (t) => {
  const { disk, points } = await smallLog(5);
  disk.corrupt(slotOne, firstEntry + 4096 + 900);
  const { log, group } = await reopen(disk, marksOf([[groupIdOf(1), points[3] ?? start]]));
  t.equal(group?.damaged, undefined);
  t.equal(endOf(group), 5);
  t.equal(group?.firstSequence, 3, 'readable from after the damage');
  await log.close();
});

t.test('cuts: later records are void, before and after a restart', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  const other = new TestGroup(log, 2);
  const kept = group.append(1000);
  group.append(1000);
  other.append(500);
  await group.whenDurable();
  group.cut({ sequence: 1, digest: kept.digestAfter });
  await group.whenDurable();
  await log.close();
  const second = await reopen(disk);
  t.same(second.group?.end, { sequence: 1, digest: kept.digestAfter });
  t.equal(second.recovery.groups.get(other.groupId)?.end.sequence, 1, 'frames of others stay');
  const next = new TestGroup(second.log, 1, second.group?.end, 70);
  const replaced = next.append(800);
  await next.whenDurable();
  t.same((await readAll(second.log, group.groupId, 0)).map(bytesOf), [kept, replaced].map(bytesOf));
  next.cut({ sequence: 900, digest: '9'.repeat(32) });
  next.append(100);
  await next.whenDurable();
  t.equal(second.log.firstSequence(group.groupId), 901, 'a history that begins anew');
  await t.rejects(second.log.readFrames(group.groupId, 1, 1000), { code: 'ERR_LOG_NOT_RETAINED' });
  await second.log.close();
  const checkpoint = { sequence: 900, digest: '9'.repeat(32) };
  const third = await reopen(disk, marksOf([[group.groupId, checkpoint]]));
  t.same(third.group?.end, next.end);
  t.equal(third.group?.damaged, undefined);
  await third.log.close();
});

t.test('an overlap without a cut is damage', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  const first = group.append(1000);
  group.append(1000);
  await group.whenDurable();
  const tail = firstEntry + 2 * 4096;
  group.cut({ sequence: 1, digest: first.digestAfter });
  await group.whenDurable();
  group.append(900);
  await group.whenDurable();
  await log.close();
  // The cut is lost, as if the disk had never got it: an entry of a group nobody knows instead.
  const lifeless = new TestGroup(log, 9);
  const strange = lifeless.formFrame([recordOf(100, 1)]);
  const lsn = segmentBytes + tail;
  const bytes = Buffer.concat([
    entryHeader({ lsn, syncedLsn: lsn, bodyBytes: strange.sizeBytes }),
    ...strange.bytes,
  ]);
  await overwrite(disk, slotOne, tail, bytes);
  const { log: reopened, group: recovered } = await reopen(disk);
  t.match(recovered?.damaged, /although the log reaches 2, uncut/);
  t.equal(endOf(recovered), 2);
  await reopened.close();
});

/** Rewrites a page of a closed log in the format of another version, as that would have. */
async function becomeVersion(disk: SimulatedDisk, path: string, version: number, crcAt: number) {
  const file = await disk.open(path, { create: false, durableWrites: true });
  const page = Buffer.alloc(4096);
  await file.read(page, 0, 'read-log');
  await file.close();
  page.writeUInt16LE(version, 4);
  const seed = path.endsWith('superblock') ? 0 : storeCrcSeed(storeId);
  page.writeUInt32LE(crc32c(page.subarray(0, crcAt), seed), crcAt);
  await overwrite(disk, path, 0, page);
}

t.test('a log of a newer or an older format is refused, both formats named', async (t) => {
  for (const version of [0, 2]) {
    const { disk } = await smallLog(1);
    await becomeVersion(disk, `${directory}/superblock`, version, 32);
    const message = new RegExp(`format version ${version}, this program knows version 1`);
    await t.rejects(openLog(disk), { code: 'ERR_LOG_UNKNOWN_VERSION', message });
    const { disk: other } = await smallLog(1);
    await becomeVersion(other, slotOne, version, 48);
    const slot = new RegExp(`segment-000001 has format version ${version}, .* knows version 1`);
    await t.rejects(openLog(other), { code: 'ERR_LOG_UNKNOWN_VERSION', message: slot });
  }
});

t.test('superblock: another store, damage, a lost one are refused', async (t) => {
  const superblock = `${directory}/superblock`;
  const { disk } = await smallLog(1);
  await t.rejects(openLog(disk, { storeId: 'cd'.repeat(16) }), { code: 'ERR_LOG_OTHER_STORE' });
  disk.corrupt(superblock, 9);
  await t.rejects(openLog(disk), { code: 'ERR_LOG_SUPERBLOCK' });
  disk.corrupt(superblock, 9);
  await disk.rename(superblock, `${directory}/elsewhere`);
  await t.rejects(openLog(disk), { code: 'ERR_LOG_SUPERBLOCK', message: /no superblock/ });
  await disk.rename(`${directory}/elsewhere`, superblock);
  const { log } = await openLog(disk);
  await log.close();
  for (const name of await disk.list(directory)) {
    if (name.startsWith('segment-')) await disk.remove(`${directory}/${name}`);
  }
  await t.rejects(openLog(disk), { code: 'ERR_LOG_SEGMENTS_MISSING' });
});

t.test('a segment that lost its header is read all the same, and told of', async (t) => {
  for (const blank of [true, false]) {
    const disk = simulatedDisk();
    const { log } = await openLog(disk);
    const group = new TestGroup(log, 1);
    for (let count = 1; count <= 40; count += 1) {
      group.append(5000);
      await group.whenDurable(count);
    }
    t.ok(log.stats().segments >= 4);
    await log.close();
    for (const name of ['segment-000001', 'segment-000002', 'segment-000003']) {
      const copy = simulatedDisk();
      await (await openLog(copy)).log.close();
      for (const file of await disk.list(directory)) {
        const target = await copy.open(`${directory}/${file}`, {
          create: true,
          durableWrites: true,
        });
        await target.write([disk.contentOf(`${directory}/${file}`)], 0, 'create-segment');
        await target.close();
      }
      if (blank) await overwrite(copy, `${directory}/${name}`, 0, Buffer.alloc(4096));
      else copy.corrupt(`${directory}/${name}`, 30);
      const recovered = await reopen(copy);
      t.equal(recovered.group?.end.sequence, 40, `${name}: nothing is skipped`);
      t.equal(recovered.recovery.report.lostRanges.length > 0 || name === 'segment-000001', true);
      await recovered.log.close();
    }
  }
});

t.test('an unreadable log is refused, not taken for a short one', async (t) => {
  const { disk } = await smallLog(3);
  disk.inject({ operation: 'read-log', code: 'EIO', pathContains: 'segment' });
  await t.rejects(openLog(disk), { code: 'ERR_LOG_UNREADABLE' });
  const { log, group } = await reopen(disk);
  t.equal(endOf(group), 3);
  await log.close();
});
