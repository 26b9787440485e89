/** Frames: made of records on the primary, decoded and checked in full on the secondary. */
import { randomBytes } from 'node:crypto';
import { checksumPieces } from '../../wal/checksum.ts';
import { emptyHistoryDigest, type LogRecord, recordKind } from '../../wal/frame.ts';
import { decodeFrame, decodeFrameHead, encodeFrame } from '../../wal/frame-format.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const groupId = 'a1'.repeat(16);
const epochId = 'b2'.repeat(16);

export async function measureFrames({ time }: MicroContext): Promise<MicroFigure[]> {
  return [
    ...measure(time, '1 x 4 KiB', 1, 4096),
    ...measure(time, '32 x 4 KiB', 32, 4096),
    ...measure(time, '8 x 1 MiB', 8, 2 ** 20),
  ];
}

function measure(
  time: MicroContext['time'],
  name: string,
  count: number,
  lengthBytes: number,
): MicroFigure[] {
  const content = {
    groupId,
    epoch: 3,
    epochId,
    firstSequence: 1_000_000,
    commit: 999_999,
    timeMs: 1_700_000_000_000,
    digestBefore: emptyHistoryDigest,
    records: Array.from({ length: count }, (_, index) => write(index, lengthBytes)),
  };
  const { bytes } = encodeFrame(content);
  const head = bytes[0] ?? Buffer.alloc(0);
  // As it comes off a socket: in one piece.
  const received = [Buffer.concat(bytes)];
  const total = count * lengthBytes;
  return [
    time(`encode, ${name}`, total, () => encodeFrame(content)),
    time(`decode head, ${name}`, 0, () => decodeFrameHead(head)),
    time(`decode and verify, ${name}`, total, () => decodeFrame(received)),
  ];
}

function write(index: number, lengthBytes: number): LogRecord {
  const payload = [randomBytes(lengthBytes)];
  const offsetBytes = index * lengthBytes;
  return {
    kind: recordKind.write,
    volume: 1,
    offsetBytes,
    lengthBytes,
    origin: { boot: 0x1234_5678_9abc_def0n, number: index + 1 },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, offsetBytes, lengthBytes),
  };
}
