/**
 * The byte layout of a frame: the same bytes on disk and on the wire. This file is the format
 * document and the only one that knows an offset in a frame. What is local to one site's log
 * (position, how far it was synced) lies outside, in `entry-format.ts`.
 *
 * All numbers are little-endian and unsigned. Ids and digests are 16 raw bytes (hex in memory).
 * A frame is its head (header and record table), then the payloads of its records back to back.
 *
 *   offset size header field        meaning
 *        0    4 magic               "CMFR"
 *        4    2 version             1; every other version is refused
 *        6    2 reserved            0
 *        8    4 head length         bytes of header and record table
 *       12    4 total length        bytes of head and payloads
 *       16    4 head CRC            CRC32C of the whole head, with this field as 0
 *       20    4 reserved            0
 *       24   16 group id
 *       40    8 commit              commit point known to the primary when it made the frame
 *       48    8 time                the primary's wall clock, ms since 1970
 *       56   16 digest before       digest of the group's history up to first sequence - 1   d
 *       72    8 epoch                                                                        d
 *       80   16 epoch id                                                                     d
 *       96    8 first sequence      of the first record; at least 1                          d
 *      104    4 count               records in the table; at least 1                         d
 *      108      record table        count entries, back to back                              d
 *
 *   offset size record table entry
 *        0    1 kind                recordKind
 *        1    1 flags               bit 0: keep the space allocated
 *        2    2 reserved            0
 *        4    4 volume
 *        8    8 offset              bytes
 *       16    4 length              bytes: of the payload, or of the range of a trim or zeroing
 *       20    4 payload length      equal to length, or 0 for a trim or zeroing
 *       24    8 origin boot
 *       32    8 origin number
 *       40    4 checksum count      pieceCount(offset, payload length)
 *       44  4×n checksums           CRC32C of each piece of the payload
 *
 * The digest after the frame is the first 16 bytes of SHA-256 over the fields marked d, which lie
 * together at the end of the head for that reason: it covers the history before, the epoch, the
 * sequences, each record's header and, by the checksums, each payload. `commit` and `time` are
 * covered by the head CRC only: they are no part of the history.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { blockSizeBytes, crc32c, pieceCount, verifyPieces } from './checksum.ts';
import type { Digest, EpochId, Frame, GroupId, LogRecord, RecordKind } from './frame.ts';
import { recordFlagNoHole, recordKind } from './frame.ts';
import { allocateHead } from './head-slab.ts';
import { gather, SliceReader } from './slice-reader.ts';

export const frameFormatVersion = 1;
/** Payload of one record; the layer above splits larger writes. */
export const recordPayloadBytesMax = 1024 * 1024;
/** Range of one trim or zeroing. */
export const recordRangeBytesMax = 0xffff_ffff;
export const frameRecordsMax = 1024;
/** Payload of one frame. */
export const framePayloadBytesMax = 8 * 1024 * 1024;

const headerBytes = 108;
const tableEntryBytes = 44;
const magic = 0x52464d43;
const digestedFrom = 56;
const checksumField = 16;
const bootMax = 0xffff_ffff_ffff_ffffn;

/** Each record can add two partial blocks at its ends. */
const frameChecksumsMax = framePayloadBytesMax / blockSizeBytes + 2 * frameRecordsMax;
export const frameHeadBytesMax =
  headerBytes + tableEntryBytes * frameRecordsMax + 4 * frameChecksumsMax;
/** No frame is longer than this; nothing longer is ever read or allocated. */
export const frameSizeBytesMax = frameHeadBytesMax + framePayloadBytesMax;
/** As many bytes of a frame as `peekFrameLengthBytes` needs. */
export const frameFixedHeaderBytes = 24;

export type FrameFormatErrorCode =
  | 'bad-magic'
  | 'unknown-version'
  | 'bad-length'
  | 'bad-header'
  | 'bad-record'
  | 'bad-checksum';

/** Bytes that are no frame. Thrown by the decoding functions and by nothing else. */
export class FrameFormatError extends Error {
  readonly code: FrameFormatErrorCode;
  constructor(code: FrameFormatErrorCode, message: string) {
    super(message);
    this.name = 'FrameFormatError';
    this.code = code;
  }
}

export interface FrameContent {
  readonly groupId: GroupId;
  readonly epoch: number;
  readonly epochId: EpochId;
  readonly firstSequence: number;
  readonly commit: number;
  readonly timeMs: number;
  readonly digestBefore: Digest;
  readonly records: readonly LogRecord[];
}

/** The header's fields, checked by themselves (not against payloads). */
export interface FrameHead extends FrameContent {
  readonly headLengthBytes: number;
  readonly totalLengthBytes: number;
  readonly lastSequence: number;
  readonly digestAfter: Digest;
  /** The records, with nothing in their payloads. */
  readonly records: readonly LogRecord[];
}

/** A record that is being decoded: the payload's slices are put in last. */
interface DecodedRecord extends LogRecord {
  readonly payload: Buffer[];
}

interface DecodedHead extends FrameHead {
  readonly records: readonly DecodedRecord[];
}

/**
 * Makes a frame of records. The payload slices are referenced, never copied; checksums are taken
 * from the records (computed where the write entered, I7). What is passed is asserted to be within
 * the limits above.
 */
export function encodeFrame(content: FrameContent): Frame {
  const { records } = content;
  assert(records.length >= 1, 'a frame has at least one record');
  assert(records.length <= frameRecordsMax, 'a frame has at most frameRecordsMax records');
  let checksumCount = 0;
  for (const record of records) checksumCount += record.checksums.length;
  const headLengthBytes = headerBytes + tableEntryBytes * records.length + 4 * checksumCount;
  const head = allocateHead(headLengthBytes);
  const view = new DataView(head.buffer, head.byteOffset, headLengthBytes);
  const bytes: Buffer[] = [head];
  let payloadBytes = 0;
  let position = headerBytes;
  for (const record of records) {
    position = encodeTableEntry(view, position, record);
    if (isRange(record.kind)) continue;
    payloadBytes += record.lengthBytes;
    for (const slice of record.payload) bytes.push(slice);
  }
  assert(position === headLengthBytes, 'the record table fills the head');
  assert(payloadBytes <= framePayloadBytesMax, 'a frame has at most framePayloadBytesMax');
  const sizeBytes = headLengthBytes + payloadBytes;
  encodeHeader(head, view, content, sizeBytes);
  return {
    groupId: content.groupId,
    epoch: content.epoch,
    epochId: content.epochId,
    firstSequence: content.firstSequence,
    lastSequence: content.firstSequence + (records.length - 1),
    commit: content.commit,
    timeMs: Math.trunc(content.timeMs),
    digestBefore: content.digestBefore,
    digestAfter: digestOfHead(head),
    records,
    bytes,
    sizeBytes,
  };
}

/**
 * Total length of the frame that starts with `buffer`, which has to hold at least
 * `frameFixedHeaderBytes`. The answer is never above `frameSizeBytesMax`. Throws FrameFormatError.
 */
export function peekFrameLengthBytes(buffer: Buffer): number {
  return peekLengths(buffer).totalLengthBytes;
}

/**
 * Decodes and checks a frame's head (`head` may be longer than it is); payloads are not looked at.
 * Throws FrameFormatError. Allocates in proportion to the head, whose length is limited.
 */
export function decodeFrameHead(head: Buffer): FrameHead {
  return decodeHead(head);
}
function decodeHead(head: Buffer): DecodedHead {
  const { headLengthBytes, totalLengthBytes } = peekLengths(head);
  if (head.length < headLengthBytes) {
    throw new FrameFormatError(
      'bad-length',
      `the frame's head has ${headLengthBytes} bytes, only ${head.length} are there`,
    );
  }
  const whole = head.length === headLengthBytes ? head : head.subarray(0, headLengthBytes);
  checkHeadChecksum(whole);
  const header = decodeHeader(whole);
  const records = decodeTable(whole, header.count, totalLengthBytes - headLengthBytes);
  const lastSequence = header.firstSequence + (header.count - 1);
  if (!Number.isSafeInteger(lastSequence)) {
    throw new FrameFormatError('bad-header', 'the last sequence is too large');
  }
  return {
    headLengthBytes,
    totalLengthBytes,
    groupId: hexAt(whole, 24),
    epoch: header.epoch,
    epochId: hexAt(whole, 80),
    firstSequence: header.firstSequence,
    lastSequence,
    commit: header.commit,
    timeMs: header.timeMs,
    digestBefore: hexAt(whole, digestedFrom),
    digestAfter: digestOfHead(whole),
    records,
  };
}

/**
 * Decodes the frame that `slices` hold, which must be exactly one frame. Everything is checked: the
 * structure, the head's CRC and the CRC of every piece of payload (I7). Payloads are slices of the
 * input; nothing is copied but a head that is spread over slices. Throws FrameFormatError.
 */
export function decodeFrame(slices: readonly Buffer[]): Frame {
  let sizeBytes = 0;
  for (const slice of slices) sizeBytes += slice.length;
  const fixed = gather(slices, Math.min(sizeBytes, frameFixedHeaderBytes));
  const lengths = peekLengths(fixed);
  if (lengths.totalLengthBytes !== sizeBytes) {
    throw new FrameFormatError(
      'bad-length',
      `the frame says it has ${lengths.totalLengthBytes} bytes, ${sizeBytes} are there`,
    );
  }
  const head = decodeHead(gather(slices, lengths.headLengthBytes));
  const payloads = new SliceReader(slices, lengths.headLengthBytes);
  head.records.forEach((record, index) => {
    if (isRange(record.kind)) return;
    payloads.take(record.lengthBytes, record.payload);
    if (verifyPieces(record.payload, record.offsetBytes, record.lengthBytes, record.checksums)) {
      return;
    }
    const sequence = head.firstSequence + index;
    throw new FrameFormatError(
      'bad-checksum',
      `the payload of record ${sequence} does not have the checksum that was computed for it`,
    );
  });
  return {
    groupId: head.groupId,
    epoch: head.epoch,
    epochId: head.epochId,
    firstSequence: head.firstSequence,
    lastSequence: head.lastSequence,
    commit: head.commit,
    timeMs: head.timeMs,
    digestBefore: head.digestBefore,
    digestAfter: head.digestAfter,
    records: head.records,
    bytes: [...slices],
    sizeBytes,
  };
}

// ---- encoding ---------------------------------------------------------------------------------

function encodeTableEntry(view: DataView, position: number, record: LogRecord): number {
  assertRecord(record);
  const payloadBytes = isRange(record.kind) ? 0 : record.lengthBytes;
  const { checksums } = record;
  view.setUint8(position, record.kind);
  view.setUint8(position + 1, record.flags);
  view.setUint16(position + 2, 0, true);
  view.setUint32(position + 4, record.volume, true);
  setNumber(view, position + 8, record.offsetBytes);
  view.setUint32(position + 16, record.lengthBytes, true);
  view.setUint32(position + 20, payloadBytes, true);
  view.setBigUint64(position + 24, record.origin.boot, true);
  setNumber(view, position + 32, record.origin.number);
  view.setUint32(position + 40, checksums.length, true);
  let next = position + tableEntryBytes;
  for (let index = 0; index < checksums.length; index += 1) {
    view.setUint32(next, checksums[index] ?? 0, true);
    next += 4;
  }
  return next;
}

function assertRecord(record: LogRecord): void {
  const { kind, offsetBytes, lengthBytes, payload, checksums } = record;
  const problem = recordProblem(record, isRange(kind) ? 0 : lengthBytes, checksums.length);
  assert(problem === undefined, problem);
  let payloadBytes = 0;
  for (const slice of payload) payloadBytes += slice.length;
  assert(payloadBytes === (isRange(kind) ? 0 : lengthBytes), 'the payload has lengthBytes bytes');
  assert(Number.isSafeInteger(offsetBytes) && offsetBytes >= 0, 'the offset is a byte offset');
}

function encodeHeader(head: Buffer, view: DataView, content: FrameContent, total: number): void {
  const last = content.firstSequence + (content.records.length - 1);
  assert(content.firstSequence >= 1, 'sequences start at 1');
  assert(Number.isSafeInteger(last), 'the last sequence is a safe integer');
  view.setUint32(0, magic, true);
  view.setUint16(4, frameFormatVersion, true);
  view.setUint16(6, 0, true);
  view.setUint32(8, head.length, true);
  view.setUint32(12, total, true);
  view.setUint32(checksumField, 0, true);
  view.setUint32(20, 0, true);
  setHex(head, 24, content.groupId);
  setNumber(view, 40, content.commit);
  setNumber(view, 48, Math.trunc(content.timeMs));
  setHex(head, digestedFrom, content.digestBefore);
  setNumber(view, 72, content.epoch);
  setHex(head, 80, content.epochId);
  setNumber(view, 96, content.firstSequence);
  view.setUint32(104, content.records.length, true);
  view.setUint32(checksumField, crc32c(head), true);
}

/** 64 bits by two halves: several times cheaper than a BigInt. */
function setNumber(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number in a frame is a safe integer');
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

function setHex(buffer: Buffer, offset: number, hex: string): void {
  assert(hex.length === 32, 'an id or digest is 32 hex digits');
  assert(buffer.write(hex, offset, 16, 'hex') === 16, 'an id or digest is 32 hex digits');
}

// ---- decoding ---------------------------------------------------------------------------------

function peekLengths(buffer: Buffer): { headLengthBytes: number; totalLengthBytes: number } {
  if (buffer.length < frameFixedHeaderBytes) {
    throw new FrameFormatError('bad-length', `${buffer.length} bytes are too few for a frame`);
  }
  if (buffer.readUInt32LE(0) !== magic) {
    throw new FrameFormatError('bad-magic', 'the bytes do not start like a frame');
  }
  const version = buffer.readUInt16LE(4);
  if (version !== frameFormatVersion) {
    throw new FrameFormatError(
      'unknown-version',
      `the frame has format version ${version}, this program knows version ${frameFormatVersion}`,
    );
  }
  const headLengthBytes = buffer.readUInt32LE(8);
  const totalLengthBytes = buffer.readUInt32LE(12);
  const headFits =
    headLengthBytes >= headerBytes + tableEntryBytes && headLengthBytes <= frameHeadBytesMax;
  const payloadBytes = totalLengthBytes - headLengthBytes;
  if (!headFits || payloadBytes < 0 || payloadBytes > framePayloadBytesMax) {
    throw new FrameFormatError(
      'bad-length',
      `a frame of ${totalLengthBytes} bytes with a head of ${headLengthBytes} cannot be`,
    );
  }
  return { headLengthBytes, totalLengthBytes };
}

const fourZeros = Buffer.alloc(4);

function checkHeadChecksum(head: Buffer): void {
  let crc = crc32c(head.subarray(0, checksumField));
  crc = crc32c(fourZeros, crc);
  crc = crc32c(head.subarray(checksumField + 4), crc);
  if (crc !== head.readUInt32LE(checksumField)) {
    throw new FrameFormatError('bad-checksum', "the frame's head does not have its checksum");
  }
}

function decodeHeader(head: Buffer): {
  commit: number;
  timeMs: number;
  epoch: number;
  firstSequence: number;
  count: number;
} {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const header = {
    commit: numberAt(view, 40),
    timeMs: numberAt(view, 48),
    epoch: numberAt(view, 72),
    firstSequence: numberAt(view, 96),
    count: head.readUInt32LE(104),
  };
  if (head.readUInt16LE(6) !== 0 || head.readUInt32LE(20) !== 0) {
    throw new FrameFormatError('bad-header', 'a reserved field of the header is not 0');
  }
  if (header.firstSequence < 1) {
    throw new FrameFormatError('bad-header', 'the first sequence is 0');
  }
  if (header.count < 1 || header.count > frameRecordsMax) {
    throw new FrameFormatError('bad-header', `a frame of ${header.count} records cannot be`);
  }
  return header;
}

function decodeTable(head: Buffer, count: number, payloadBytes: number): DecodedRecord[] {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const records: DecodedRecord[] = [];
  let position = headerBytes;
  let missingBytes = payloadBytes;
  for (let index = 0; index < count; index += 1) {
    if (position + tableEntryBytes > head.length) throw tableError(index, 'lies beyond the head');
    const payloadLength = view.getUint32(position + 20, true);
    const checksumCount = view.getUint32(position + 40, true);
    const kind = kindOf(view.getUint8(position));
    if (kind === undefined || view.getUint16(position + 2, true) !== 0) {
      throw tableError(index, 'is of an unknown kind');
    }
    const next = position + tableEntryBytes + 4 * checksumCount;
    if (next > head.length) throw tableError(index, 'has checksums beyond the head');
    const record: DecodedRecord = {
      kind,
      volume: view.getUint32(position + 4, true),
      offsetBytes: numberAt(view, position + 8),
      lengthBytes: view.getUint32(position + 16, true),
      origin: {
        boot: view.getBigUint64(position + 24, true),
        number: numberAt(view, position + 32),
      },
      flags: view.getUint8(position + 1),
      payload: [],
      checksums: checksumsAt(view, position + tableEntryBytes, checksumCount),
    };
    const problem = recordProblem(record, payloadLength, checksumCount);
    if (problem !== undefined) throw tableError(index, `is wrong: ${problem}`);
    records.push(record);
    missingBytes -= payloadLength;
    position = next;
  }
  if (position !== head.length || missingBytes !== 0) {
    throw new FrameFormatError('bad-length', 'the records do not fill the frame');
  }
  return records;
}

function tableError(index: number, words: string): FrameFormatError {
  return new FrameFormatError('bad-record', `record ${index} of the frame ${words}`);
}

function checksumsAt(view: DataView, offset: number, count: number): number[] {
  const checksums: number[] = [];
  for (let index = 0; index < count; index += 1) {
    checksums.push(view.getUint32(offset + 4 * index, true));
  }
  return checksums;
}

/** What is wrong with a record by itself; the one rule for both directions. */
function recordProblem(
  record: Omit<LogRecord, 'payload' | 'checksums'>,
  payloadLength: number,
  checksumCount: number,
): string | undefined {
  const { kind, lengthBytes, offsetBytes } = record;
  if ((record.flags & ~recordFlagNoHole) !== 0) return 'unknown flags';
  if (record.volume > 0xffff_ffff) return 'the volume number is too large';
  if (record.origin.boot < 0n || record.origin.boot > bootMax) return 'the boot id is too large';
  if (lengthBytes < 1) return 'the length is 0';
  if (!Number.isSafeInteger(offsetBytes + lengthBytes)) return 'the range ends too far out';
  if (isRange(kind)) {
    if (lengthBytes > recordRangeBytesMax) return 'the range is too long';
    if (payloadLength !== 0) return 'a range has no payload';
  } else {
    if (payloadLength !== lengthBytes) return 'the payload is not as long as the record';
    if (lengthBytes > recordPayloadBytesMax) return 'the payload is too long';
    if (kind !== recordKind.write && offsetBytes !== 0) return 'a document has no offset';
  }
  if (checksumCount !== pieceCount(offsetBytes, payloadLength)) return 'the count of checksums';
  return undefined;
}

function isRange(kind: RecordKind): boolean {
  return kind === recordKind.trim || kind === recordKind.writeZeroes;
}

const kinds: readonly (RecordKind | undefined)[] = Array.from({ length: 256 }, (_, value) =>
  Object.values(recordKind).find((kind) => kind === value),
);

function kindOf(value: number): RecordKind | undefined {
  return kinds[value];
}

function numberAt(view: DataView, offset: number): number {
  const value = view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
  if (!Number.isSafeInteger(value)) {
    throw new FrameFormatError('bad-header', 'a number is beyond what a program can count with');
  }
  return value;
}

function hexAt(buffer: Buffer, offset: number): string {
  return buffer.toString('hex', offset, offset + 16);
}

function digestOfHead(head: Buffer): Digest {
  return hash('sha256', head.subarray(digestedFrom), 'buffer').toString('hex', 0, 16);
}
