/**
 * The byte layout of what is local to one site's log: segment headers and entry headers. (The
 * bytes of a frame, which both sites share, are in `frame-format.ts`; the superblock is in
 * `superblock.ts`.) No other file knows an offset in a segment.
 *
 * The log is endless: an LSN is a byte position in it, and never used for two things but for what
 * a crash cut off. Segment k covers [k·S, (k+1)·S); the first is number 1. A segment file is a
 * *slot* that holds one segment after the other, so everything in it says which position it was
 * written for: old content of a slot is never taken for new.
 *
 * Entries start at multiples of 4096 and are padded to them: no write touches a page that holds an
 * older durable entry, so a torn write cannot damage one. An entry never spans segments. All
 * numbers are little-endian; every CRC starts from the CRC32C of the store id, so that nothing of
 * another store's log passes.
 *
 *   offset size segment header (4096 bytes, zeros after the last field; fits in one sector)
 *        0    4 magic              "CMSG": holds a segment; "CMSB": blank, its segment was freed
 *        4    2 version            1
 *        6    2 reserved           0
 *        8   16 store id
 *       24    8 segment number     held, or (blank) held last
 *       32    8 previous end       LSN where the content of the segment before ended
 *       40    8 life               the life whose entries come before this segment
 *       48    4 CRC32C             of bytes 0 to 47
 *
 *   offset size entry header (64 bytes, then the body, then zeros to the next multiple of 4096)
 *        0    4 magic              "CMEN"
 *        4    1 kind               1 frame, 2 cut, 3 life start
 *        5    3 reserved           0
 *        8    8 lsn                of this entry
 *       16    8 synced lsn         everything below was durable when this was written (R30)
 *       24    8 life               which life of the process wrote this
 *       32    4 body length
 *       36    4 body CRC32C        0 for a frame, which has checksums of its own
 *       40   20 reserved           0
 *       60    4 CRC32C             of bytes 0 to 59
 *
 *   offset size cut body (48 bytes; R29): the group's records after `sequence` are void
 *        0   16 group id
 *       16    8 sequence
 *       24   16 digest             of the history up to `sequence`
 *       40    1 restart            1: the group's history begins anew here, its older frames in
 *                                  this log are no part of it (after a resync)
 *       41    7 reserved           0
 *
 *   life start body (8 bytes): the life that wrote the entries before.
 *
 * Lives. A crash can leave, behind a hole, valid entries of the last unsynced write. They are cut
 * off, and what is written next may end exactly where one of them begins. So each life of the
 * process first writes, durably, a life start at the end of the log; from there on only entries of
 * that life count, and a life is only entered through its life start.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes, crc32c } from './checksum.ts';
import type { GroupId, HistoryPoint, StoreId } from './frame.ts';

export const entryHeaderBytes = 64;
export const segmentHeaderBytes = blockSizeBytes;
export const cutBodyBytes = 48;
export const lifeStartBodyBytes = 8;
export const logFormatVersion = 1;

export const entryKind = { frame: 1, cut: 2, lifeStart: 3 } as const;
export type EntryKind = (typeof entryKind)[keyof typeof entryKind];

const segmentMagic = 0x47534d43;
const blankMagic = 0x42534d43;
const entryMagic = 0x4e454d43;
const segmentCrcField = 48;
const entryCrcField = 60;

export interface SegmentHeader {
  readonly number: number;
  readonly previousEndLsn: number;
  readonly life: number;
}

/** What the first page of a slot says. */
export type SlotState =
  | { readonly kind: 'segment'; readonly header: SegmentHeader }
  /** Freed; held segment `lastNumber` before. */
  | { readonly kind: 'blank'; readonly lastNumber: number }
  /** Zeros: made and never used. */
  | { readonly kind: 'empty' }
  | { readonly kind: 'unknown-version'; readonly version: number }
  | { readonly kind: 'damaged' };

export interface EntryHeader {
  readonly kind: EntryKind;
  readonly lsn: number;
  readonly syncedLsn: number;
  readonly life: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
}

export interface CutBody {
  readonly groupId: GroupId;
  readonly to: HistoryPoint;
  readonly restart: boolean;
}

/** Bytes that an entry with such a body takes in the log. */
export function entrySizeBytes(bodyBytes: number): number {
  return Math.ceil((entryHeaderBytes + bodyBytes) / blockSizeBytes) * blockSizeBytes;
}

/** Where every CRC of this store's log starts. */
export function storeCrcSeed(storeId: StoreId): number {
  return crc32c(Buffer.from(storeId, 'hex'));
}

/** The page that makes a slot hold `header.number`. */
export function encodeSegmentHeader(storeId: StoreId, header: SegmentHeader): Buffer {
  return encodeSlotPage(storeId, segmentMagic, header);
}

/** The page that makes a slot blank. */
export function encodeBlankHeader(storeId: StoreId, lastNumber: number): Buffer {
  return encodeSlotPage(storeId, blankMagic, { number: lastNumber, previousEndLsn: 0, life: 0 });
}

function encodeSlotPage(storeId: StoreId, magic: number, header: SegmentHeader): Buffer {
  const page = Buffer.alloc(segmentHeaderBytes);
  page.writeUInt32LE(magic, 0);
  page.writeUInt16LE(logFormatVersion, 4);
  assert(page.write(storeId, 8, 16, 'hex') === 16, 'a store id is 32 hex digits');
  writeNumber(page, header.number, 24);
  writeNumber(page, header.previousEndLsn, 32);
  writeNumber(page, header.life, 40);
  const crc = crc32c(page.subarray(0, segmentCrcField), storeCrcSeed(storeId));
  page.writeUInt32LE(crc, segmentCrcField);
  return page;
}

/** Judges the first page of a slot. */
export function decodeSlotPage(page: Buffer, storeId: StoreId): SlotState {
  if (isZero(page)) return { kind: 'empty' };
  const magic = page.readUInt32LE(0);
  if (magic !== segmentMagic && magic !== blankMagic) return { kind: 'damaged' };
  const crc = crc32c(page.subarray(0, segmentCrcField), storeCrcSeed(storeId));
  if (crc !== page.readUInt32LE(segmentCrcField)) return { kind: 'damaged' };
  const version = page.readUInt16LE(4);
  if (version !== logFormatVersion) return { kind: 'unknown-version', version };
  const number = readNumber(page, 24);
  const previousEndLsn = readNumber(page, 32);
  const life = readNumber(page, 40);
  if (page.toString('hex', 8, 24) !== storeId || number === undefined || number < 1) {
    return { kind: 'damaged' };
  }
  if (magic === blankMagic) return { kind: 'blank', lastNumber: number };
  if (previousEndLsn === undefined || life === undefined) return { kind: 'damaged' };
  return { kind: 'segment', header: { number, previousEndLsn, life } };
}

/** Writes an entry's header to the first 64 bytes of `target`. Hot path. */
export function encodeEntryHeader(target: Buffer, header: EntryHeader, seed: number): void {
  target.writeUInt32LE(entryMagic, 0);
  target.writeUInt32LE(header.kind, 4);
  writeNumber(target, header.lsn, 8);
  writeNumber(target, header.syncedLsn, 16);
  writeNumber(target, header.life, 24);
  target.writeUInt32LE(header.bodyBytes, 32);
  target.writeUInt32LE(header.bodyCrc, 36);
  target.fill(0, 40, entryCrcField);
  target.writeUInt32LE(crc32c(target.subarray(0, entryCrcField), seed), entryCrcField);
}

/**
 * The entry header at the start of `bytes` if it is one of this store, written for `lsn`;
 * undefined for anything else. The body is not looked at.
 */
export function decodeEntryHeader(
  bytes: Buffer,
  lsn: number,
  seed: number,
): EntryHeader | undefined {
  if (bytes.length < entryHeaderBytes || bytes.readUInt32LE(0) !== entryMagic) return undefined;
  const crc = crc32c(bytes.subarray(0, entryCrcField), seed);
  if (crc !== bytes.readUInt32LE(entryCrcField)) return undefined;
  const kind = kindOf(bytes.readUInt32LE(4));
  const syncedLsn = readNumber(bytes, 16);
  const life = readNumber(bytes, 24);
  const bodyBytes = bytes.readUInt32LE(32);
  if (readNumber(bytes, 8) !== lsn || syncedLsn === undefined || syncedLsn > lsn) return undefined;
  if (kind === undefined || life === undefined || !isZero(bytes.subarray(40, entryCrcField))) {
    return undefined;
  }
  return { kind, lsn, syncedLsn, life, bodyBytes, bodyCrc: bytes.readUInt32LE(36) };
}

/** The LSN that a page claims to be an entry of, if it has a valid entry header at all. */
export function claimedLsn(bytes: Buffer, seed: number): number | undefined {
  if (bytes.length < entryHeaderBytes || bytes.readUInt32LE(0) !== entryMagic) return undefined;
  const lsn = readNumber(bytes, 8);
  if (lsn === undefined || decodeEntryHeader(bytes, lsn, seed) === undefined) return undefined;
  return lsn;
}

/** Writes a cut's body to the first 48 bytes of `target`. */
export function encodeCutBody(target: Buffer, body: CutBody): void {
  assert(target.write(body.groupId, 0, 16, 'hex') === 16, 'a group id is 32 hex digits');
  writeNumber(target, body.to.sequence, 16);
  assert(target.write(body.to.digest, 24, 16, 'hex') === 16, 'a digest is 32 hex digits');
  target.fill(0, 40, cutBodyBytes);
  target.writeUInt8(body.restart ? 1 : 0, 40);
}

/** The cut in `body`; undefined if it is none. The CRC has been checked before. */
export function decodeCutBody(body: Buffer): CutBody | undefined {
  if (body.length !== cutBodyBytes || !isZero(body.subarray(41))) return undefined;
  const sequence = readNumber(body, 16);
  const restart = body.readUInt8(40);
  if (sequence === undefined || restart > 1) return undefined;
  const digest = body.toString('hex', 24, 40);
  return {
    groupId: body.toString('hex', 0, 16),
    to: { sequence, digest },
    restart: restart === 1,
  };
}

/** A life start's body: the life before. */
export function encodeLifeStartBody(previousLife: number): Buffer {
  const body = Buffer.alloc(lifeStartBodyBytes);
  writeNumber(body, previousLife, 0);
  return body;
}

/** The life before, from a life start's body; undefined if it is none. */
export function decodeLifeStartBody(body: Buffer): number | undefined {
  return body.length === lifeStartBodyBytes ? readNumber(body, 0) : undefined;
}

function kindOf(value: number): EntryKind | undefined {
  if (value === entryKind.frame) return entryKind.frame;
  if (value === entryKind.cut) return entryKind.cut;
  return value === entryKind.lifeStart ? entryKind.lifeStart : undefined;
}

function writeNumber(target: Buffer, value: number, offset: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number in the log is a safe integer');
  target.writeUInt32LE(value >>> 0, offset);
  target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

function readNumber(source: Buffer, offset: number): number | undefined {
  const value = source.readUInt32LE(offset + 4) * 0x1_0000_0000 + source.readUInt32LE(offset);
  return Number.isSafeInteger(value) ? value : undefined;
}

const zeroPage = Buffer.alloc(blockSizeBytes);

function isZero(bytes: Buffer): boolean {
  return bytes.equals(zeroPage.subarray(0, bytes.length));
}
