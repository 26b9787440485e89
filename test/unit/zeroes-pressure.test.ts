/**
 * Zeroes that have to take up space are a few bytes in the log and as much work as data: they count
 * in every limit on what waits to be applied, and small records count for the memory that they take
 * (I9).
 */
import t from 'tap';
import type { BlockRequest } from '../../daemon/nbd/block-device.ts';
import { FramesInFlight } from '../../daemon/volume/frames-in-flight.ts';
import { PeerSender } from '../../daemon/volume/peer-sender.ts';
import { newCounters } from '../../daemon/volume/volume.ts';
import { splitRequest, zeroedBytesMax } from '../../daemon/volume/write-request.ts';
import { planWave } from '../../wal/data-apply-plan.ts';
import {
  emptyHistoryDigest,
  type Frame,
  type LogRecord,
  recordOverheadBytes,
} from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { PendingRecords } from '../../wal/pending-records.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { writeRecord, zeroRecord } from '../simulation/volume-model.ts';

const block = 4096;
const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;

function kept(offsetBytes: number, lengthBytes: number): LogRecord {
  return zeroRecord('writeZeroes', offsetBytes, lengthBytes, { noHole: true });
}

function pendingOf(records: readonly LogRecord[]): PendingRecords {
  const pending = new PendingRecords(
    () => undefined,
    () => undefined,
  );
  for (const [index, record] of records.entries()) pending.add(record, index + 1, false);
  return pending;
}

/** One record each, as a client that waits for its answers makes them. */
function framesOf(records: readonly LogRecord[]): Frame[] {
  let digestBefore = emptyHistoryDigest;
  return records.map((record, index) => {
    const frame = encodeFrame({
      groupId: 'a'.repeat(32),
      epoch: 1,
      epochId: 'b'.repeat(32),
      firstSequence: index + 1,
      commit: index,
      timeMs: 0,
      digestBefore,
      records: [record],
    });
    digestBefore = frame.digestAfter;
    return frame;
  });
}

t.test('the backlog counts what has to be written, and each record', async (t) => {
  const sizeBytes = 4 * mebibyte;
  const disk = new SimulatedDisk({ random: new SeededRandom(1), coldReadProbability: 0 });
  const store = await disk.run(
    VolumeStore.open({
      disk,
      directory: '/volumes',
      name: 'v',
      sizeBytes,
      checksumCacheBytesMax: 0,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => t.fail(error),
      onStall: () => undefined,
      delay: () => Promise.resolve(),
    }),
  );
  const records = [
    kept(0, mebibyte),
    zeroRecord('writeZeroes', mebibyte, mebibyte),
    zeroRecord('trim', 2 * mebibyte, mebibyte),
    writeRecord(Buffer.alloc(block, 1), 3 * mebibyte),
  ];
  store.commit(records, 4);
  t.equal(store.backlogBytes, mebibyte + block + records.length * recordOverheadBytes);
  await disk.run(store.idle());
  t.equal(store.backlogBytes, 0);
  await disk.run(store.close());
});

t.test('the end of a read that held records back is told', async (t) => {
  const told: number[] = [];
  const pending: PendingRecords = new PendingRecords(
    () => undefined,
    () => told.push(pending.bytes),
  );
  pending.add(kept(0, mebibyte), 1, false);
  const first = pending.beginRead();
  const second = pending.beginRead();
  pending.applied(pending.start(1));
  t.ok(pending.bytes > mebibyte, 'a read may have seen the file from before');
  pending.endRead(second);
  t.same(told, []);
  pending.endRead(first);
  t.same(told, [0], 'whoever waits for the backlog can go on');
});

t.test('a wave holds little more than its limit, and takes a huge record by itself', async (t) => {
  const pieces = Array.from({ length: 256 }, (_, index) => {
    return kept(index * zeroedBytesMax, zeroedBytesMax);
  });
  const { count } = planWave(pendingOf(pieces));
  t.ok(count * zeroedBytesMax <= 8 * mebibyte + zeroedBytesMax, `${count} records`);
  t.equal(planWave(pendingOf([kept(0, 4 * gibibyte), kept(4 * gibibyte, block)])).count, 1);
});

t.test('a request for many zeroes becomes records of few', async (t) => {
  const volume = { number: 1, counters: newCounters() };
  const answers: number[] = [];
  const request = (fields: Partial<BlockRequest>): BlockRequest => ({
    command: 'writeZeroes',
    offsetBytes: 512,
    lengthBytes: 4 * gibibyte - 512,
    payload: [],
    noHole: true,
    target: Buffer.alloc(0),
    extents: [],
    connected: true,
    receivedAtMs: 0,
    complete: (error) => answers.push(error),
    ...fields,
  });
  const parts = splitRequest(volume, request({}), 7n, 10, () => 0);
  let end = 512;
  for (const [index, part] of parts.entries()) {
    if (part.offsetBytes !== end) t.fail(`a gap at ${end}`);
    end += part.lengthBytes;
    if (part.lengthBytes > zeroedBytesMax) t.fail(`${part.lengthBytes} bytes in one record`);
    if (end % block !== 0) t.fail('a block is never split');
    if (part.flags !== 1 || part.origin.number !== 11 + index) t.fail('not as the others');
  }
  t.equal(end, 4 * gibibyte);
  t.ok(parts.length <= (4 * gibibyte) / zeroedBytesMax);
  for (const part of parts) {
    if (answers.length > 0) t.fail('answered before the last one is committed');
    part.owner.partDone(0);
  }
  t.same(answers, [0], 'answered once');
  t.equal(volume.counters.operations.writeZeroes, 1);
  for (const fields of [{ noHole: false }, { command: 'trim', noHole: false }] as const) {
    t.equal(splitRequest(volume, request(fields), 7n, 10, () => 0).length, 1, 'holes are cheap');
  }
});

t.test('what is in flight counts the zeroes that the peer has to write', async (t) => {
  const inFlight = new FramesInFlight();
  for (const frame of framesOf([kept(0, mebibyte), kept(mebibyte, mebibyte)])) {
    inFlight.push(frame, [], 0);
  }
  t.ok(inFlight.bytes > 2 * mebibyte);
  inFlight.shiftThrough(1);
  t.ok(inFlight.bytes > mebibyte && inFlight.bytes < 2 * mebibyte);
  inFlight.cutAfter(1);
  t.equal(inFlight.bytes, 0);
});

t.test('a peer that catches up is given few zeroes at once', async (t) => {
  const count = 64;
  const log = framesOf(Array.from({ length: count }, (_, i) => kept(i * mebibyte, mebibyte)));
  const sent: number[] = [];
  const sender = new PeerSender(
    {
      nextNumber: () => 1,
      sendFrame: (_session, _number, frame) => sent.push(frame.lastSequence),
      sendHeartbeat: () => undefined,
      sent: () => undefined,
      readFrames: async (after) => log.slice(after),
      logGone: (_session, error) => t.fail(error),
    },
    64 * mebibyte,
  );
  sender.start(1, { sequence: 0, digest: emptyHistoryDigest }, count, []);
  let mostBytes = 0;
  for (let acknowledged = 1; acknowledged <= count; acknowledged += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    mostBytes = Math.max(mostBytes, sender.unacknowledgedBytes);
    sender.acknowledged(acknowledged);
  }
  t.ok(mostBytes < 3 * mebibyte, `${mostBytes} bytes under way`);
  t.strictSame(
    sent,
    log.map(({ lastSequence }) => lastSequence),
    'all of it, in order, each once',
  );
});
