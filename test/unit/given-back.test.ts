/** When the memory of a frame that came from the peer may be used again. */
import t from 'tap';
import { SlabPool } from '../../daemon/slab-pool.ts';
import { type FrameInFlight, FramesInFlight } from '../../daemon/volume/frames-in-flight.ts';
import { giveBackPayload, letGo } from '../../daemon/volume/given-back.ts';
import { PeerSender } from '../../daemon/volume/peer-sender.ts';
import { emptyHistoryDigest, type Frame } from '../../wal/frame.ts';
import { decodeFrame, encodeFrame } from '../../wal/frame-format.ts';
import { writeRecord } from '../simulation/volume-model.ts';

const start = { sequence: 0, digest: emptyHistoryDigest };

/** A frame with one write; the payload is this memory. */
function frameOf(payload: Buffer): Frame {
  return encodeFrame({
    groupId: 'a'.repeat(32),
    epoch: 1,
    epochId: 'b'.repeat(32),
    firstSequence: 1,
    commit: 0,
    timeMs: 0,
    digestBefore: start.digest,
    records: [writeRecord(payload, 0)],
  });
}

/** Memory of the pool with this content, as if it had been received. */
function receive(pool: SlabPool, content: Buffer): Buffer {
  const slab = pool.take();
  content.copy(slab);
  pool.hold(slab, content.length);
  pool.seal(slab);
  return slab.subarray(0, content.length);
}

/** A frame that came from the peer, in flight at a secondary. */
function receivedFrame(pool: SlabPool): FramesInFlight {
  const content = Buffer.concat(frameOf(Buffer.alloc(4096, 7)).bytes);
  const inFlight = new FramesInFlight();
  inFlight.push(decodeFrame([receive(pool, content)]), [], 1, true);
  return inFlight;
}

/** Received memory is written over as soon as it may be. */
function receiveMore(pool: SlabPool): void {
  for (let count = 0; count < 4; count += 1) pool.take().fill(0xee);
}

/** The frame is committed, and the store is done with its records. */
function commit(pool: SlabPool, entry: FrameInFlight | undefined): void {
  if (entry === undefined) throw new Error('no frame is in flight');
  const giveBack = (memory: Buffer, bytes: number): void => pool.giveBack(memory, bytes);
  if (!letGo(entry, giveBack)) return;
  for (const record of entry.frame.records) giveBackPayload(record, giveBack);
}

/** What a link has in its queue, and the sender that put it there. */
function sending(inFlight: FramesInFlight): Frame[] {
  const queued: Frame[] = [];
  const sender = new PeerSender(
    {
      nextNumber: () => 1,
      sendFrame: (_session, _number, frame) => queued.push(frame),
      sendHeartbeat: () => undefined,
      sent: () => undefined,
      readFrames: () => Promise.reject(new Error('it is in memory')),
      logGone: (_session, error) => {
        throw error;
      },
    },
    1024 * 1024,
  );
  sender.start(1, start, 1, inFlight.forSending());
  return queued;
}

t.test('what a secondary received is used again when it is applied', async (t) => {
  const pool = new SlabPool();
  const inFlight = receivedFrame(pool);
  const memory = inFlight.oldest?.frame.bytes[0]?.buffer;
  commit(pool, inFlight.shiftThrough(1));
  t.equal(pool.take().buffer, memory);
});

t.test('what a site that took over sends on stays as it is, committed or not', async (t) => {
  const pool = new SlabPool();
  const inFlight = receivedFrame(pool);
  const queued = sending(inFlight);
  t.equal(queued.length, 1, 'from memory');
  // Alone in sync, so its own log is enough; the joining peer reads nothing yet.
  commit(pool, inFlight.shiftThrough(1));
  receiveMore(pool);
  t.doesNotThrow(() => decodeFrame(queued.flatMap(({ bytes }) => bytes)), 'as it was queued');
});

t.test(
  'an acknowledgement of an earlier session says nothing of what this one sends',
  async (t) => {
    const pool = new SlabPool();
    const inFlight = new FramesInFlight();
    inFlight.push(frameOf(receive(pool, Buffer.alloc(4096, 7))), [], 1);
    sending(inFlight);
    inFlight.notePeerDurable(1, 5);
    const queued = sending(inFlight);
    commit(pool, inFlight.shiftThrough(1));
    receiveMore(pool);
    t.doesNotThrow(() => decodeFrame(queued.flatMap(({ bytes }) => bytes)), 'as it was queued');
  },
);

t.test("a payload that the peer has acknowledged is the store's alone", async (t) => {
  const inFlight = receivedFrame(new SlabPool());
  sending(inFlight);
  inFlight.notePeerDurable(1, 5);
  const entry = inFlight.shiftThrough(1);
  t.ok(entry !== undefined && letGo(entry, () => t.fail('the head is left to the collector')));
});
