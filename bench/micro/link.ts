/**
 * The link between the sites without anything behind it: a frame to the other side, checked there
 * in full, and an acknowledgement back, over loopback. Both ends live in this process.
 */
import { randomBytes } from 'node:crypto';
import { openSession, startedPair } from '../../test/unit/link-pair.ts';
import { checksumPieces } from '../../wal/checksum.ts';
import { emptyHistoryDigest, type Frame, type LogRecord, recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { latencyOf } from '../statistics.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const groupId = 'a1'.repeat(16);
const epochId = 'b2'.repeat(16);

export async function measureLink({ quick }: MicroContext): Promise<MicroFigure[]> {
  const figures: MicroFigure[] = [];
  for (const writes of [1, 32]) figures.push(await measure(writes, quick ? 500 : 3000));
  return figures;
}

async function measure(writes: number, trips: number): Promise<MicroFigure> {
  const pair = await startedPair();
  try {
    const session = await openSession(pair, groupId);
    const frame = frameOf(writes);
    let acknowledged: () => void = () => undefined;
    pair.b.handler.react = (told) => {
      if (told.kind !== 'frame') return;
      // What is told is kept for tests; here it would only pile up.
      pair.b.handler.told.length = 0;
      const { number } = told;
      pair.b.link.send(session, { kind: 'ack', epoch: 1, durable: writes, number, checkpoint: 0 });
    };
    pair.a.handler.react = (told) => {
      if (told.kind !== 'message') return;
      pair.a.handler.told.length = 0;
      acknowledged();
    };
    const samplesUs: number[] = [];
    for (let number = 1; number <= trips; number += 1) {
      const before = performance.now();
      await new Promise<void>((resolve) => {
        acknowledged = resolve;
        pair.a.link.sendFrame(session, number, frame);
      });
      samplesUs.push((performance.now() - before) * 1000);
    }
    return {
      name: `link, frame of ${writes} x 4 KiB and back, median`,
      nanosecondsPerCall: latencyOf(samplesUs.slice(trips / 10)).p50Us * 1000,
      bytesPerCall: writes * 4096,
    };
  } finally {
    await pair.close();
  }
}

function frameOf(writes: number): Frame {
  const records = Array.from({ length: writes }, (_, index): LogRecord => {
    const payload = [randomBytes(4096)];
    return {
      kind: recordKind.write,
      volume: 1,
      offsetBytes: index * 4096,
      lengthBytes: 4096,
      origin: { boot: 0x1234_5678_9abc_def0n, number: index + 1 },
      flags: 0,
      payload,
      checksums: checksumPieces(payload, index * 4096, 4096),
    };
  });
  return encodeFrame({
    groupId,
    epoch: 1,
    epochId,
    firstSequence: 1,
    commit: 0,
    timeMs: 1_700_000_000_000,
    digestBefore: emptyHistoryDigest,
    records,
  });
}
