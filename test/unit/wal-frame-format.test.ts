import t from 'tap';
import { checksumPieces, crc32c, pieceCount, verifyPieces } from '../../wal/checksum.ts';
import type { Frame, LogRecord } from '../../wal/frame.ts';
import { emptyHistoryDigest, recordFlagNoHole, recordKind } from '../../wal/frame.ts';
import {
  decodeFrame,
  decodeFrameHead,
  encodeFrame,
  FrameFormatError,
  frameFixedHeaderBytes,
  frameHeadBytesMax,
  framePayloadBytesMax,
  frameRecordsMax,
  frameSizeBytesMax,
  peekFrameLengthBytes,
  recordPayloadBytesMax,
} from '../../wal/frame-format.ts';

const groupId = '00112233445566778899aabbccddeeff';
const epochId = 'f0e1d2c3b4a5968778695a4b3c2d1e0f';

function bytesOf(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  for (let index = 0; index < lengthBytes; index += 1) bytes[index] = (index * 7 + seed * 31) & 255;
  return bytes;
}

function writeRecord(offsetBytes: number, payload: Buffer[]): LogRecord {
  const lengthBytes = payload.reduce((sum, slice) => sum + slice.length, 0);
  return {
    kind: recordKind.write,
    volume: 3,
    offsetBytes,
    lengthBytes,
    origin: { boot: 0xfedc_ba98_7654_3210n, number: 2 ** 40 + 5 },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, offsetBytes, lengthBytes),
  };
}

function rangeRecord(kind: 2 | 3, lengthBytes: number): LogRecord {
  return {
    kind,
    volume: 1,
    offsetBytes: 512,
    lengthBytes,
    origin: { boot: 1n, number: 2 },
    flags: kind === recordKind.writeZeroes ? recordFlagNoHole : 0,
    payload: [],
    checksums: [],
  };
}

function frameOf(records: readonly LogRecord[]): Frame {
  return encodeFrame({
    groupId,
    epoch: 2 ** 33 + 7,
    epochId,
    firstSequence: 2 ** 35 + 9,
    commit: 2 ** 34,
    timeMs: 1_795_000_000_123.75,
    digestBefore: 'ab'.repeat(16),
    records,
  });
}

function plain(frame: Frame): unknown {
  return {
    ...frame,
    bytes: Buffer.concat(frame.bytes).toString('hex'),
    records: frame.records.map((record) => ({
      ...record,
      checksums: [...record.checksums],
      payload: Buffer.concat(record.payload).toString('hex'),
    })),
  };
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof FrameFormatError) return error.code;
    throw error;
  }
}

/** The frame's bytes with `change` made and the head's CRC put right: a forger's frame. */
function forged(frame: Frame, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.concat(frame.bytes);
  const headLength = bytes.readUInt32LE(8);
  change(bytes);
  bytes.writeUInt32LE(0, 16);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, headLength)), 16);
  return bytes;
}

t.test('checksum: the Castagnoli check value, in one go and bit by bit', async (t) => {
  const check = Buffer.from('123456789');
  t.equal(crc32c(check), 0xe3069283);
  t.equal(crc32c(check.subarray(4), crc32c(check.subarray(0, 4))), 0xe3069283);
});

t.test('checksum: pieces end at block boundaries however the payload is sliced', async (t) => {
  const data = bytesOf(10_000, 1);
  const offset = 4096 * 5 + 700;
  const expected = [
    crc32c(data.subarray(0, 3396)),
    crc32c(data.subarray(3396, 3396 + 4096)),
    crc32c(data.subarray(3396 + 4096)),
  ];
  for (const step of [1, 7, 512, 3396, 4096, 9999, 10_000]) {
    const slices: Buffer[] = [];
    for (let at = 0; at < data.length; at += step) slices.push(data.subarray(at, at + step));
    t.same([...checksumPieces(slices, offset, data.length)], expected, `slices of ${step}`);
    t.ok(verifyPieces(slices, offset, data.length, expected));
    t.notOk(verifyPieces(slices, offset + 1, data.length, expected));
    t.notOk(verifyPieces(slices.slice(1), offset, data.length, expected));
    t.notOk(verifyPieces([...slices, data], offset, data.length, expected));
    t.notOk(verifyPieces(slices, offset, data.length, expected.slice(1)));
  }
  t.equal(pieceCount(4095, 2), 2);
  t.equal(pieceCount(0, 4096), 1);
  t.equal(pieceCount(1, 4096), 2);
  t.equal(pieceCount(77, 0), 0);
  const block = bytesOf(4096, 9);
  t.same([...checksumPieces([block], 8192, 4096)], [crc32c(block)], 'one aligned block');
  t.throws(() => checksumPieces([block], 0, 8192), 'too few bytes are a mistake of the caller');
});

t.test('a frame of every kind of record comes back as it was made', async (t) => {
  const document = writeRecord(0, [Buffer.from('{"epoch":3}')]);
  const frame = frameOf([
    writeRecord(4096, [bytesOf(4096, 1)]),
    writeRecord(700, [bytesOf(3000, 2), bytesOf(9000, 3), bytesOf(1, 4)]),
    rangeRecord(2, 0xffff_ffff),
    rangeRecord(3, 1),
    { ...document, kind: recordKind.epochStart, volume: 0 },
    { ...document, kind: recordKind.volumeAdd },
    { ...document, kind: recordKind.volumeResize },
    { ...document, kind: recordKind.volumeRemove },
  ]);
  t.equal(frame.lastSequence, frame.firstSequence + 7);
  t.equal(frame.timeMs, 1_795_000_000_123, 'whole milliseconds');
  t.equal(frame.sizeBytes, Buffer.concat(frame.bytes).length);
  t.equal(frame.bytes[1], frame.records[0]?.payload[0], 'payloads are referenced, not copied');
  const whole = Buffer.concat(frame.bytes);
  for (const step of [whole.length, 1, 13, 107, 108, 109, 4096]) {
    const slices: Buffer[] = [];
    for (let at = 0; at < whole.length; at += step) slices.push(whole.subarray(at, at + step));
    const decoded = decodeFrame(slices);
    t.same(plain(decoded), plain(frame), `in slices of ${step}`);
    t.equal(decoded.records[0]?.payload[0]?.buffer, whole.buffer, 'payloads are not copied');
  }
  t.equal(peekFrameLengthBytes(whole.subarray(0, frameFixedHeaderBytes)), whole.length);
  const head = decodeFrameHead(whole.subarray(0, whole.readUInt32LE(8) + 5));
  t.equal(head.totalLengthBytes, whole.length);
  t.equal(head.digestAfter, frame.digestAfter);
});

t.test('the digest covers the history before, the epoch, headers and payloads', async (t) => {
  const content = {
    groupId,
    epoch: 1,
    epochId,
    firstSequence: 1,
    commit: 0,
    timeMs: 1,
    digestBefore: emptyHistoryDigest,
    records: [writeRecord(0, [bytesOf(512, 1)])],
  };
  const digest = encodeFrame(content).digestAfter;
  const record = content.records[0];
  if (record === undefined) throw new Error('there is a record');
  const others = [
    { ...content, epoch: 2 },
    { ...content, epochId: groupId },
    { ...content, firstSequence: 2 },
    { ...content, digestBefore: 'cd'.repeat(16) },
    { ...content, records: [writeRecord(0, [bytesOf(512, 2)])] },
    { ...content, records: [{ ...record, volume: 4 }] },
    { ...content, records: [record, record] },
  ];
  const digests = new Set(others.map((other) => encodeFrame(other).digestAfter));
  t.equal(digests.size, others.length);
  t.notOk(digests.has(digest));
  const same = encodeFrame({ ...content, commit: 5, timeMs: 9 });
  t.equal(same.digestAfter, digest, 'commit point and time are no part of the history');
  t.match(digest, /^[0-9a-f]{32}$/);
});

t.test('hostile: cut off at any byte, and any bit turned, a frame is refused', async (t) => {
  const frame = frameOf([writeRecord(0, [bytesOf(40, 1)]), rangeRecord(2, 4096)]);
  const whole = Buffer.concat(frame.bytes);
  for (let length = 0; length < whole.length; length += 1) {
    const code = codeOf(() => decodeFrame([whole.subarray(0, length)]));
    if (code !== 'bad-length') t.fail(`cut at ${length}: ${code}`);
  }
  t.equal(
    codeOf(() => decodeFrame([whole, Buffer.alloc(1)])),
    'bad-length',
    'one byte too many',
  );
  t.equal(
    codeOf(() => decodeFrame([])),
    'bad-length',
  );
  for (let at = 0; at < whole.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const copy = Buffer.from(whole);
      copy[at] = (copy[at] ?? 0) ^ (1 << bit);
      if (codeOf(() => decodeFrame([copy])) === undefined) t.fail(`byte ${at} bit ${bit}`);
    }
  }
});

t.test('hostile: a forged head with a right CRC is judged by its content', async (t) => {
  const frame = frameOf([writeRecord(0, [bytesOf(40, 1)]), rangeRecord(2, 4096)]);
  const first = 108;
  const second = 108 + 48;
  const cases: [string, string, (bytes: Buffer) => void][] = [
    ['other magic', 'bad-magic', (b) => b.writeUInt32LE(1, 0)],
    ['other version', 'unknown-version', (b) => b.writeUInt16LE(2, 4)],
    ['huge total', 'bad-length', (b) => b.writeUInt32LE(0xffff_ffff, 12)],
    ['total below head', 'bad-length', (b) => b.writeUInt32LE(3, 12)],
    ['reserved in header', 'bad-header', (b) => b.writeUInt16LE(1, 6)],
    ['reserved in header', 'bad-header', (b) => b.writeUInt32LE(1, 20)],
    ['first sequence 0', 'bad-header', (b) => b.fill(0, 96, 104)],
    ['first sequence huge', 'bad-header', (b) => b.fill(255, 96, 104)],
    ['last sequence unsafe', 'bad-header', (b) => b.writeBigUInt64LE(2n ** 53n - 1n, 96)],
    ['commit huge', 'bad-header', (b) => b.fill(255, 40, 48)],
    ['no records', 'bad-header', (b) => b.writeUInt32LE(0, 104)],
    ['huge count', 'bad-header', (b) => b.writeUInt32LE(0xffff_ffff, 104)],
    ['one record fewer', 'bad-length', (b) => b.writeUInt32LE(1, 104)],
    ['one record more', 'bad-record', (b) => b.writeUInt32LE(3, 104)],
    ['kind 0', 'bad-record', (b) => b.writeUInt8(0, first)],
    ['kind 8', 'bad-record', (b) => b.writeUInt8(8, first)],
    ['unknown flag', 'bad-record', (b) => b.writeUInt8(2, first + 1)],
    ['reserved in record', 'bad-record', (b) => b.writeUInt16LE(2, first + 2)],
    ['range with payload', 'bad-record', (b) => b.writeUInt8(2, first)],
    ['length not payload length', 'bad-record', (b) => b.writeUInt32LE(41, first + 16)],
    ['range of length 0', 'bad-record', (b) => b.writeUInt32LE(0, second + 16)],
    ['offset huge', 'bad-header', (b) => b.fill(255, first + 8, first + 16)],
    ['end unsafe', 'bad-record', (b) => b.writeBigUInt64LE(2n ** 53n - 1n, first + 8)],
    [
      'document with offset',
      'bad-record',
      (b) => b.writeUInt8(4, first).toString() && b.writeUInt8(9, first + 8),
    ],
    ['checksums beyond', 'bad-record', (b) => b.writeUInt32LE(0x4000_0000, first + 40)],
    ['a checksum fewer', 'bad-record', (b) => b.writeUInt32LE(0, first + 40)],
    ['another checksum', 'bad-checksum', (b) => b.writeUInt32LE(0, first + 44)],
  ];
  for (const [name, code, change] of cases) {
    t.equal(
      codeOf(() => decodeFrame([forged(frame, change)])),
      code,
      name,
    );
  }
  const version = forged(frame, (b) => b.writeUInt16LE(7, 4));
  t.throws(() => peekFrameLengthBytes(version), { message: /version 7.*version 1/ });
});

t.test('limits: the largest frame fits, one step more is refused', async (t) => {
  const payload = Buffer.alloc(recordPayloadBytesMax, 5);
  const record = writeRecord(100, [payload]);
  const count = framePayloadBytesMax / recordPayloadBytesMax;
  const largest = frameOf(Array.from({ length: count }, () => record));
  t.ok(largest.sizeBytes <= frameSizeBytesMax);
  t.equal(decodeFrame(largest.bytes).digestAfter, largest.digestAfter);
  t.throws(() => frameOf(Array.from({ length: count + 1 }, () => record)));
  t.throws(() => frameOf([writeRecord(0, [payload, Buffer.alloc(1)])]));
  t.throws(() => frameOf([]));
  const small = writeRecord(4095, [Buffer.alloc(8192)]);
  const many = Array.from({ length: frameRecordsMax }, () => small);
  const full = frameOf(many);
  t.ok((full.bytes[0]?.length ?? 0) <= frameHeadBytesMax, 'the head with the most checksums');
  t.throws(() => frameOf([...many, small]));
});
