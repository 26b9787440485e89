/**
 * One record on its way through the log, together with whoever waits for it. A request larger than
 * a record should be is split into parts; its owner answers when the last part is committed. The
 * block device promises no atomicity beyond a sector, so a crash between two parts is no tear.
 */
import {
  type LogRecord,
  type RecordKind,
  type RecordOrigin,
  recordOverheadBytes,
} from '../../wal/frame.ts';
import type { BlockError } from '../nbd/block-device.ts';

/** Waits for parts: a request of a local client, or one that the peer's standby passed on. */
export interface WriteOwner {
  /** False once nobody wants the answer: a part that has no place in the order yet is dropped. */
  readonly alive: boolean;
  /** When the request had come in full, by the monotonic clock. */
  readonly receivedAtMs: number;
  partDone(error: BlockError): void;
}

/** A record and its owner in one object: one allocation a record on the path of a write. */
export class WritePart implements LogRecord {
  readonly kind: RecordKind;
  readonly volume: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly origin: RecordOrigin;
  readonly flags: number;
  readonly payload: readonly Buffer[];
  readonly checksums: Uint32Array | readonly number[];
  readonly owner: WriteOwner;
  /** What the part counts for in the limit on memory: payload and bookkeeping. */
  readonly costBytes: number;

  constructor(record: LogRecord, owner: WriteOwner) {
    this.kind = record.kind;
    this.volume = record.volume;
    this.offsetBytes = record.offsetBytes;
    this.lengthBytes = record.lengthBytes;
    this.origin = record.origin;
    this.flags = record.flags;
    this.payload = record.payload;
    this.checksums = record.checksums;
    this.owner = owner;
    this.costBytes = recordOverheadBytes + (record.payload.length === 0 ? 0 : record.lengthBytes);
  }
}
