/**
 * What a frame is in memory. The byte layout is in `frame-format.ts`; this file has the types that
 * the rest of the program passes around: frames are built once (primary) or received once
 * (secondary) and then only referenced, payloads are lists of slices of receive buffers.
 */

/** A digest of a group's history, at one sequence: 32 hex digits. */
export type Digest = string;
/** 128 random bits as 32 hex digits. */
export type GroupId = string;
export type EpochId = string;
export type StoreId = string;

export const emptyHistoryDigest: Digest = '0'.repeat(32);

/** A point in a group's history: the digest covers all records up to and with `sequence`. */
export interface HistoryPoint {
  readonly sequence: number;
  readonly digest: Digest;
}

export const recordKind = {
  write: 1,
  writeZeroes: 2,
  trim: 3,
  epochStart: 4,
  volumeAdd: 5,
  volumeResize: 6,
  volumeRemove: 7,
} as const;
export type RecordKind = (typeof recordKind)[keyof typeof recordKind];

/** Who took the request that became this record: a life of a process, and a number within it. */
export interface RecordOrigin {
  /** Random per life of a process; 0 for records no client asked for. */
  readonly boot: bigint;
  readonly number: number;
}

/**
 * One logged change. `payload` is the data of a write; for epochStart, volumeAdd, volumeResize and
 * volumeRemove it is a msgpack document. For trim and writeZeroes it is empty and `lengthBytes`
 * tells the range.
 */
export interface LogRecord {
  readonly kind: RecordKind;
  /** Number of the volume within its group (given by volumeAdd, never used again); 0 for none. */
  readonly volume: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly origin: RecordOrigin;
  /** Bit 0: a writeZeroes that must keep the space allocated (NBD_CMD_FLAG_NO_HOLE). */
  readonly flags: number;
  /** The payload, in order; slices of receive buffers, never copied. */
  readonly payload: readonly Buffer[];
  /**
   * CRC32C of the payload, piece by piece: pieces end at the 4 KiB block boundaries of the volume
   * (so the first and the last may be shorter than a block). For payloads that are not volume data
   * `offsetBytes` is 0 and the same rule holds.
   */
  readonly checksums: readonly number[] | Uint32Array;
}

export const recordFlagNoHole = 1;

/** What a record takes in memory besides its payload, roughly; small ones are bounded by it. */
export const recordOverheadBytes = 512;

/** Zeroes that have to take up space: applying them writes every byte, as a payload would be. */
export function isWrittenZeroes(record: Pick<LogRecord, 'kind' | 'flags'>): boolean {
  return record.kind === recordKind.writeZeroes && (record.flags & recordFlagNoHole) !== 0;
}

/** How much a record writes to the data file; a hole is punched, however large it is. */
export function appliedBytes(record: LogRecord): number {
  return record.payload.length > 0 || isWrittenZeroes(record) ? record.lengthBytes : 0;
}

/**
 * What a record counts for in every limit on what may wait to be applied: a few bytes of log can
 * stand for gigabytes of zeroes to write, and many small records for much memory.
 */
export function recordWeightBytes(record: LogRecord): number {
  return recordOverheadBytes + appliedBytes(record);
}

/**
 * A run of records of one group: what one group commit appends, the same bytes on disk and wire.
 */
export interface Frame {
  readonly groupId: GroupId;
  readonly epoch: number;
  readonly epochId: EpochId;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** The commit point that the primary knew when it made the frame. */
  readonly commit: number;
  /** The primary's wall clock, milliseconds since 1970. */
  readonly timeMs: number;
  readonly digestBefore: Digest;
  readonly digestAfter: Digest;
  readonly records: readonly LogRecord[];
  /** The frame's bytes, in order: head (header and record table), then the payload slices. */
  readonly bytes: readonly Buffer[];
  readonly sizeBytes: number;
}

/** What a frame counts for in the limits on what its receiver has not taken in yet. */
export function frameWeightBytes(frame: Pick<Frame, 'records' | 'sizeBytes'>): number {
  let weightBytes = frame.sizeBytes;
  for (const record of frame.records) {
    weightBytes += recordOverheadBytes + (isWrittenZeroes(record) ? record.lengthBytes : 0);
  }
  return weightBytes;
}
