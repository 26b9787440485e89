/** What goes to a peer that keeps up, and to one that catches up from the log. */
import t from 'tap';
import { PeerSender } from '../../daemon/volume/peer-sender.ts';
import type { Frame } from '../../wal/frame.ts';
import { recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const start = { sequence: 0, digest: '0'.repeat(32) };

/** A history of frames with one record each, in memory and on "disk". */
function history(count: number, payloadBytes: number): readonly Frame[] {
  const frames: Frame[] = [];
  let end = start;
  for (let sequence = 1; sequence <= count; sequence += 1) {
    const frame = encodeFrame({
      groupId: 'a'.repeat(32),
      epoch: 1,
      epochId: 'b'.repeat(32),
      firstSequence: sequence,
      commit: sequence - 1,
      timeMs: 0,
      digestBefore: end.digest,
      records: [
        {
          kind: recordKind.epochStart,
          volume: 0,
          offsetBytes: 0,
          lengthBytes: payloadBytes,
          origin: { boot: 1n, number: sequence },
          flags: 0,
          payload: [Buffer.alloc(payloadBytes)],
          checksums: new Uint32Array(Math.ceil(payloadBytes / 4096)),
        },
      ],
    });
    end = { sequence, digest: frame.digestAfter };
    frames.push(frame);
  }
  return frames;
}

function rig(log: readonly Frame[], windowBytesMax: number) {
  const sent: number[] = [];
  const budgets: number[] = [];
  let number = 0;
  const sender = new PeerSender(
    {
      nextNumber: () => {
        number += 1;
        return number;
      },
      sendFrame: (_session, _number, frame) => sent.push(frame.lastSequence),
      sendHeartbeat: () => undefined,
      sent: () => undefined,
      readFrames: async (after, budgetBytes) => {
        budgets.push(budgetBytes);
        const frames: Frame[] = [];
        let leftBytes = budgetBytes;
        for (const frame of log.slice(after)) {
          if (frames.length > 0 && frame.sizeBytes > leftBytes) break;
          leftBytes -= frame.sizeBytes;
          frames.push(frame);
        }
        return frames;
      },
      logGone: (_session, error) => {
        throw error;
      },
    },
    windowBytesMax,
  );
  return { sender, sent, budgets };
}

/** Everything that can happen without a further event has happened. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('from the log a peer gets little more than it has acknowledged', async (t) => {
  const log = history(400, 64 * kibibyte);
  const { sender, sent } = rig(log, 64 * mebibyte);
  sender.start(1, start, 400, []);
  await settled();
  t.ok(sent.length > 8, 'the next read does not wait for all of the one before');
  let mostBytes = 0;
  for (let acknowledged = 1; acknowledged <= 400; acknowledged += 1) {
    mostBytes = Math.max(mostBytes, sender.unacknowledgedBytes);
    sender.acknowledged(acknowledged);
    await settled();
  }
  t.ok(mostBytes <= 2 * mebibyte, `${mostBytes} bytes under way`);
  t.strictSame(
    sent,
    log.map(({ lastSequence }) => lastSequence),
    'all of it, in order, each once',
  );
});

t.test('a frame that is larger than what is read at once goes through', async (t) => {
  const log = history(3, 1000 * kibibyte);
  const { sender, sent } = rig(log, 256 * kibibyte);
  sender.start(1, start, 3, []);
  for (let acknowledged = 1; acknowledged <= 3; acknowledged += 1) {
    await settled();
    t.equal(sent.at(-1), acknowledged);
    sender.acknowledged(acknowledged);
  }
});

t.test('what is formed goes to a peer that keeps up from memory, up to the window', async (t) => {
  const log = history(48, 64 * kibibyte);
  const { sender, sent, budgets } = rig(log, 2 * mebibyte);
  sender.start(1, start, 0, []);
  for (const frame of log) sender.formed(frame);
  t.equal(sent.length, 32, 'no more than the window is under way');
  sender.acknowledged(1);
  t.equal(sent.length, 33);
  t.strictSame(budgets, [], 'nothing was read');
});

t.test('a peer that has fallen behind what is kept in memory gets it from the log', async (t) => {
  const log = history(100, 64 * kibibyte);
  const { sender, sent } = rig(log, 2 * mebibyte);
  sender.start(1, start, 0, []);
  for (const frame of log) sender.formed(frame);
  for (let acknowledged = 1; acknowledged <= 100; acknowledged += 1) {
    sender.acknowledged(acknowledged);
    await settled();
  }
  t.strictSame(
    sent,
    log.map(({ lastSequence }) => lastSequence),
    'all of it, in order, each once',
  );
});
