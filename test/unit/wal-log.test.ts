/** The running log: group commit, recycling, its limit, failures, and reading back. */
import t from 'tap';
import { LogError } from '../../wal/errors.ts';
import { frameSizeBytesMax } from '../../wal/frame-format.ts';
import { segmentSizeBytesMin } from '../../wal/log.ts';
import {
  bytesOf,
  directory,
  groupIdOf,
  marksOf,
  openLog,
  readAll,
  simulatedDisk,
  start,
  TestGroup,
  until,
} from '../support/wal-log-harness.ts';

const segmentBytes = 64 * 1024;

t.test(
  'group commit: all groups share one write, what comes meanwhile shares the next',
  async (t) => {
    const disk = simulatedDisk();
    const { log } = await openLog(disk, {
      commitBytesMax: 1024 * 1024,
      segmentSizeBytes: 1 << 20,
      sizeBytesMax: 4 << 20,
    });
    const groups = Array.from({ length: 20 }, (_, number) => new TestGroup(log, number + 1));
    for (const group of groups) group.append(100);
    disk.hold('append-log');
    await until(() => groups.every((group) => group.queued === 0));
    for (const group of groups) group.append(100, 200);
    for (const group of groups) group.append(300);
    t.equal(log.stats().commits, 0);
    disk.release('append-log');
    await until(() => log.stats().commits > 0);
    await Promise.all(groups.map((group) => group.whenDurable(3)));
    const stats = log.stats();
    t.equal(stats.commits, 2);
    t.equal(stats.frames, 60);
    t.equal(stats.records, 80);
    t.equal(stats.payloadBytes, 20 * 700);
    t.same(
      stats.framesPerCommit.counts.filter((count) => count > 0),
      [1, 1],
    );
    t.equal(stats.commitLatency.count, 2);
    for (const group of groups) {
      t.same(group.reports, [1, 2], 'told once for each batch');
      t.same(
        group.durable.map((entry) => entry.kind === 'frame' && entry.frame),
        [...group.made.values()],
        'the same objects, in order',
      );
    }
    await log.close();
  },
);

t.test('the budget of a commit: who was not asked comes first next time', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { commitBytesMax: 20_000 });
  const groups = [1, 2, 3].map((number) => new TestGroup(log, number));
  for (const group of groups) for (let count = 0; count < 4; count += 1) group.append(8000);
  await Promise.all(groups.map((group) => group.whenDurable(4)));
  t.ok(log.stats().commits >= 4, 'several commits');
  for (const group of groups) t.equal((await readAll(log, group.groupId, 0)).length, 4);
  await log.close();
});

t.test(
  'recycling: many laps through a small log, everything readable that is retained',
  async (t) => {
    const disk = simulatedDisk();
    const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
    const groups = [1, 2].map((number) => new TestGroup(log, number));
    for (let round = 1; round <= 150; round += 1) {
      for (const group of groups) group.append(3000 + round * 10, 1 + round);
      await Promise.all(groups.map((group) => group.whenDurable(round)));
      for (const group of groups) {
        const from = Math.max(0, group.end.sequence - 8);
        log.retain(group.groupId, { own: from, peer: from });
        const frames = await readAll(log, group.groupId, from);
        t.same(frames.map(bytesOf), [...group.made.values()].slice(-frames.length).map(bytesOf));
        t.equal(frames.at(-1)?.digestAfter, group.end.digest);
      }
    }
    const stats = log.stats();
    t.ok(stats.appendedBytes > 6 * stats.limitBytes, 'many laps');
    t.ok(stats.sizeBytes <= stats.limitBytes);
    await t.rejects(log.readFrames(groupIdOf(1), 0, 1000), { code: 'ERR_LOG_NOT_RETAINED' });
    t.ok(log.firstSequence(groupIdOf(1)) > 200);
    await log.close();
    const checkpoints = groups.map((group) => {
      const frame = [...group.made.values()].find(
        (each) => each.lastSequence === group.end.sequence - 8,
      );
      return [
        group.groupId,
        { sequence: frame?.lastSequence ?? 0, digest: frame?.digestAfter ?? '' },
      ] as const;
    });
    const again = await openLog(disk, {
      sizeBytesMax: 4 * segmentBytes,
      marks: marksOf(checkpoints),
    });
    for (const group of groups) {
      const recovered = again.recovery.groups.get(group.groupId);
      t.same(recovered?.end, group.end);
      t.equal(recovered?.damaged, undefined);
    }
    await again.log.close();
  },
);

t.test('at the limit the log waits for its own needs, and the peer gives way', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const group = new TestGroup(log, 1);
  for (let count = 0; count < 60; count += 1) group.append(6000);
  await until(() => log.stats().waitsForRoom);
  const durable = group.durable.length;
  t.ok(durable > 20 && durable < 60, `${durable} fit`);
  t.ok(log.bytesSinceCheckpointHint > 2 * segmentBytes);
  t.equal(log.stats().segmentsTakenFromPeerTotal, 0);
  log.retain(group.groupId, { own: 0, peer: 0 });
  t.equal(log.stats().waitsForRoom, true, 'own needs never give way');
  while (group.durable.length < 60) {
    const own = group.durable.length;
    log.retain(group.groupId, { own, peer: 0 });
    await until(() => group.durable.length > own);
  }
  t.ok(log.stats().segmentsTakenFromPeerTotal > 0, 'what only the peer wants does');
  t.ok(log.firstSequence(group.groupId) > 1);
  t.equal(log.stats().waitsForRoomTotal > 0, true);
  const from = log.firstSequence(group.groupId) - 1;
  t.equal((await readAll(log, group.groupId, from)).length, 60 - from);
  await log.close();
});

t.test('what lets a group go on has room when nothing else has', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const [waits, fills] = [new TestGroup(log, 1), new TestGroup(log, 2)];
  waits.append(6000);
  await waits.whenDurable(1);
  const before = waits.durablePoint;
  waits.append(6000);
  await waits.whenDurable(2);
  // The second record of this group is not committed: it holds the oldest segment.
  log.retain(waits.groupId, { own: before.sequence, peer: before.sequence });
  for (let count = 0; count < 60; count += 1) fills.append(6000);
  await until(() => log.stats().waitsForRoom);
  const filled = fills.durable.length;
  log.retain(fills.groupId, { own: filled, peer: filled });
  t.equal(log.stats().waitsForRoom, true, 'the oldest segment is held by the other group');
  waits.cut(before);
  await waits.whenDurable(3);
  t.equal(waits.cutsDurable, 1, 'the cut has a place');
  await until(() => fills.durable.length > filled);
  while (fills.durable.length < 60) {
    const own = fills.durable.length;
    log.retain(fills.groupId, { own, peer: own });
    await until(() => fills.durable.length > own);
  }
  t.ok(log.stats().usedBytes <= log.stats().limitBytes);
  await log.close();
});

t.test('what lets a group go on does not wait behind what others have given', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const [waits, fills] = [new TestGroup(log, 1), new TestGroup(log, 2)];
  waits.append(6000);
  await waits.whenDurable(1);
  const before = waits.durablePoint;
  waits.append(6000);
  await waits.whenDurable(2);
  log.retain(waits.groupId, { own: before.sequence, peer: before.sequence });
  for (let count = 0; count < 60; count += 1) fills.append(6000);
  await until(() => log.stats().waitsForRoom);
  // Whenever room is needed again, the reserve has less of it: this many cuts fit only alone.
  const cuts = Math.floor(segmentBytes / 4096) - 4;
  for (let count = 0; count < cuts; count += 1) {
    waits.cut(before);
    await waits.whenDurable(3 + count);
  }
  t.equal(waits.cutsDurable, cuts);
  t.ok(fills.durable.length < 60, 'the others wait on');
  await log.close();
});

t.test('a full log takes nothing in that would go before what is urgent', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const [holds, waits, cuts] = [1, 2, 3].map((number) => new TestGroup(log, number));
  if (holds === undefined || waits === undefined || cuts === undefined) return;
  const isFull = (): boolean => {
    const { waitsForRoom, segments, spareSegments } = log.stats();
    return waitsForRoom && segments === 3 && spareSegments === 1;
  };
  for (let count = 1; !isFull(); count += 1) {
    holds.append(6000);
    await until(() => holds.durable.length === count || isFull());
  }
  // What did not fit is void; the last cut is in the reserve, and nothing else is waited for.
  for (let count = 1; log.stats().spareSegments > 0; count += 1) {
    holds.cut(holds.durablePoint);
    await until(() => holds.cutsDurable === count);
  }
  for (let count = 0; count < 3; count += 1) waits.append(6000);
  cuts.cut(start);
  for (let count = 0; count < 3; count += 1) cuts.append(6000);
  await until(() => cuts.cutsDurable === 1);
  for (const group of [waits, cuts]) t.equal(group.queued, 3, 'they stay where they are');
  const { sequence } = holds.durablePoint;
  log.retain(holds.groupId, { own: sequence, peer: sequence });
  for (const group of [waits, cuts]) log.retain(group.groupId, { own: 0, peer: 0 });
  await waits.whenDurable(3);
  await cuts.whenDurable(4);
  for (const group of [waits, cuts]) t.equal(group.queued, 0, 'until there is room again');
  await log.close();
});

t.test('what a cut has voided before it was written is not written', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const [waits, fills] = [new TestGroup(log, 1), new TestGroup(log, 2)];
  waits.append(6000);
  await waits.whenDurable(1);
  const before = waits.durablePoint;
  for (let count = 0; count < 60; count += 1) fills.append(6000);
  await until(() => log.stats().waitsForRoom);
  const { frames } = log.stats();
  for (let count = 0; count < 3; count += 1) waits.append(6000);
  waits.cut(before);
  await waits.whenDurable(5);
  t.equal(log.stats().frames, frames, 'nobody ever sees them');
  t.equal(waits.cutsDurable, 1);
  t.same(log.digestAt(waits.groupId, before.sequence), before.digest);
  await log.close();
});

t.test('forgotten groups hold nothing, not even with what is still under way', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 4 * segmentBytes });
  const gone = new TestGroup(log, 1);
  const group = new TestGroup(log, 2);
  gone.append(6000);
  log.retain(gone.groupId, { own: 0, peer: 0 });
  disk.hold('append-log');
  await until(() => gone.queued === 0);
  log.forget(gone.groupId);
  disk.release('append-log');
  await gone.whenDurable(1);
  for (let count = 1; count <= 100; count += 1) {
    group.append(6000);
    await group.whenDurable(count);
    log.retain(group.groupId, { own: count, peer: count });
  }
  t.equal(log.stats().waitsForRoom, false);
  t.same(await log.readFrames(gone.groupId, 0, 1000), []);
  await log.close();
});

t.test('a failed write is final', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const [group, other] = [new TestGroup(log, 1), new TestGroup(log, 2)];
  group.append(100);
  await group.whenDurable();
  const failures: LogError[] = [];
  log.onFailure = (error) => failures.push(error);
  disk.inject({ operation: 'append-log', code: 'EIO' });
  group.append(100);
  other.append(100);
  await until(() => log.failed !== undefined);
  t.equal(log.failed?.code, 'ERR_LOG_WRITE_FAILED');
  t.same(failures, [log.failed]);
  t.equal(failures[0] instanceof LogError, true);
  group.append(100);
  other.append(200);
  for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  t.equal(group.durable.length, 1, 'nothing is durable afterwards, although the disk works again');
  t.equal(other.durable.length, 0);
  t.equal(failures.length, 1, 'told once');
  t.equal((await readAll(log, group.groupId, 0)).length, 1, 'only what is durable is read');
  await log.close();
  const again = await openLog(disk);
  t.ok((again.recovery.groups.get(group.groupId)?.end.sequence ?? 0) >= 1);
  await again.log.close();
});

t.test('a failed write of a freed segment is final as well', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  for (let count = 1; count <= 15; count += 1) {
    group.append(6000);
    await group.whenDurable(count);
  }
  disk.inject({ operation: 'append-log', code: 'EIO' });
  log.retain(group.groupId, { own: 15, peer: 15 });
  await until(() => log.failed !== undefined);
  t.equal(log.failed?.code, 'ERR_LOG_WRITE_FAILED');
  await log.close();
});

t.test('no space for another segment: the log goes on with those it has', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  await until(() => log.stats().spareSegments === 1 && disk.pendingCalls === 0);
  disk.inject({ operation: 'create-segment', code: 'ENOSPC', times: 1_000_000 });
  const group = new TestGroup(log, 1);
  for (let count = 0; count < 60; count += 1) group.append(6000);
  await until(() => log.stats().waitsForRoom);
  const { durable } = group;
  t.match(log.stats().creationProblem, /ENOSPC/);
  t.equal(log.failed, undefined);
  t.equal(log.stats().segments, 2);
  const names = await disk.list(directory);
  t.equal(
    names.some((name) => name.endsWith('.new')),
    false,
    'nothing half made is left',
  );
  while (durable.length < 60) {
    const count = durable.length;
    log.retain(group.groupId, { own: count, peer: count });
    await until(() => durable.length > count);
  }
  disk.clearFaults();
  for (let count = 61; count <= 80; count += 1) {
    group.append(6000);
    await group.whenDurable(count);
  }
  t.ok(log.stats().segments > 2, 'and makes more when there is space again');
  t.equal(log.stats().creationProblem, undefined);
  await log.close();
});

t.test('no space for the first segment: opening says so, and can be repeated', async (t) => {
  const disk = simulatedDisk();
  disk.inject({ operation: 'create-segment', code: 'ENOSPC' });
  await t.rejects(openLog(disk), { code: 'ERR_LOG_CREATE' });
  const { log, recovery } = await openLog(disk);
  t.equal(recovery.report.created, true);
  await log.close();
});

t.test('readFrames: budget, boundaries, the durable end, while appending goes on', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const [group, other] = [new TestGroup(log, 1), new TestGroup(log, 2)];
  t.same(await log.readFrames(group.groupId, 0, 1000), [], 'nothing is there yet');
  for (let count = 1; count <= 20; count += 1) {
    group.append(1000, 1000);
    other.append(500);
    const [frames] = await Promise.all([
      log.readFrames(group.groupId, 0, 1e9),
      group.whenDurable(count),
    ]);
    t.ok(frames.length >= count - 1);
  }
  const all = [...group.made.values()];
  t.same((await log.readFrames(group.groupId, 0, 1e9)).map(bytesOf), all.map(bytesOf));
  t.equal((await log.readFrames(group.groupId, 4, 1)).length, 1, 'at least one');
  t.equal((await log.readFrames(group.groupId, 4, 5000)).length, 2);
  t.same(await log.readFrames(group.groupId, 40, 1000), []);
  await t.rejects(log.readFrames(group.groupId, 3, 1000), { code: 'ERR_LOG_NOT_A_BOUNDARY' });
  t.equal(log.digestAt(group.groupId, 4), all[1]?.digestAfter);
  t.equal(log.digestAt(group.groupId, 3), undefined);
  await log.close();
  await t.rejects(log.readFrames(group.groupId, 0, 1000), { code: 'ERR_LOG_CLOSED' });
});

t.test('what can not be read back is not offered to a peer again', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const group = new TestGroup(log, 1);
  for (let count = 1; count <= 10; count += 1) group.append(1000, 1000);
  await group.whenDurable(10);
  t.equal(log.firstSequence(group.groupId), 1);
  disk.corrupt(`${directory}/segment-000001`, 8192 + 900);
  await t.rejects(log.readFrames(group.groupId, 0, 1000), { code: 'ERR_LOG_DAMAGED' });
  t.equal(log.firstSequence(group.groupId), 3, 'what follows the damaged frame is there');
  t.equal((await log.readFrames(group.groupId, 2, 1)).length, 1);
  disk.inject({ operation: 'read-log', code: 'EIO' });
  await t.rejects(log.readFrames(group.groupId, 2, 1e9), { code: 'ERR_LOG_UNREADABLE' });
  t.equal(log.firstSequence(group.groupId), 21, 'all that was to be read at once');
  group.cut({ sequence: 18, digest: log.digestAt(group.groupId, 18) ?? '' });
  group.append(700);
  await group.whenDurable(12);
  t.equal(log.firstSequence(group.groupId), 19, 'what was cut off counts no more');
  t.equal((await log.readFrames(group.groupId, 18, 1)).length, 1);
  await log.close();
});

t.test('a read whose segment is freed and used again meanwhile says that it is gone', async (t) => {
  const disk = simulatedDisk();
  const { log } = await openLog(disk, { sizeBytesMax: 3 * segmentBytes });
  const group = new TestGroup(log, 1);
  for (let count = 1; count <= 10; count += 1) group.append(6000);
  await group.whenDurable(10);
  disk.hold('read-log');
  const read = t.rejects(log.readFrames(group.groupId, 0, 1e9), { code: 'ERR_LOG_NOT_RETAINED' });
  for (let count = 11; count <= 80; count += 1) {
    group.append(6000);
    await group.whenDurable(count);
    log.retain(group.groupId, { own: count, peer: count });
  }
  disk.release('read-log');
  await read;
  await log.close();
});

t.test('options that cannot work are refused', async (t) => {
  const disk = simulatedDisk();
  for (const options of [
    { segmentSizeBytes: 5000 },
    { segmentSizeBytes: 4096 },
    { sizeBytesMax: 2 * segmentBytes },
    { commitBytesMax: 0 },
  ]) {
    await t.rejects(openLog(disk, options), { code: 'ERR_LOG_OPTIONS' });
  }
  t.ok(segmentSizeBytesMin > frameSizeBytesMax);
  t.same(await disk.list(directory), [], 'before anything is touched');
});

t.test('a log that is there keeps its segment size, and gives back what is too much', async (t) => {
  const disk = simulatedDisk();
  const first = await openLog(disk);
  const group = new TestGroup(first.log, 1);
  for (let count = 1; count <= 40; count += 1) {
    group.append(6000);
    await group.whenDurable(count);
  }
  await first.log.close();
  const marks = marksOf([[group.groupId, start]]);
  const second = await openLog(disk, {
    segmentSizeBytes: 2 * segmentBytes,
    sizeBytesMax: 6 * segmentBytes,
    marks,
  });
  const before = second.log.stats();
  t.equal(before.sizeBytes % segmentBytes, 0);
  second.log.retain(group.groupId, { own: 40, peer: 40 });
  await until(() => disk.pendingCalls === 0);
  t.equal(second.log.stats().segments, 1);
  await second.log.close();
});
