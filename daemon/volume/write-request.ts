/**
 * From a client's request to records: the payload's checksums are computed here, once (I7), and
 * what is more than one record should write to the data file is split at block boundaries.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes, checksumPieces } from '../../wal/checksum.ts';
import { recordFlagNoHole, recordKind } from '../../wal/frame.ts';
import { recordPayloadBytesMax } from '../../wal/frame-format.ts';
import { type BlockError, type BlockRequest, blockError } from '../nbd/block-device.ts';
import type { Volume } from './volume.ts';
import { type WriteOwner, WritePart } from './write-part.ts';

const noChecksums: readonly number[] = [];
const noPayload: readonly Buffer[] = [];
/**
 * Zeroes that have to take up space are written as data is, and a record is applied as a whole: the
 * backlog, a wave and the stop of a site are bounded by what one record can ask for.
 */
export const zeroedBytesMax = 4 * 1024 * 1024;

/** What a request needs of its volume. */
type RequestedVolume = Pick<Volume, 'number' | 'counters'>;

/** A local client's request, answered when all of its parts are committed. */
class LocalWrite implements WriteOwner {
  readonly #volume: RequestedVolume;
  readonly #request: BlockRequest;
  readonly #nowMs: () => number;
  #remaining: number;
  #error: BlockError = blockError.none;

  constructor(volume: RequestedVolume, request: BlockRequest, parts: number, nowMs: () => number) {
    this.#volume = volume;
    this.#request = request;
    this.#remaining = parts;
    this.#nowMs = nowMs;
  }

  get alive(): boolean {
    return this.#request.connected;
  }

  get receivedAtMs(): number {
    return this.#request.receivedAtMs;
  }

  partDone(error: BlockError): void {
    assert(this.#remaining > 0, 'a part of a request is answered once');
    this.#remaining -= 1;
    if (error !== blockError.none) this.#error = error;
    if (this.#remaining > 0) return;
    const { counters } = this.#volume;
    const request = this.#request;
    if (this.#error === blockError.none) {
      if (request.command === 'write') counters.operations.write += 1;
      else if (request.command === 'trim') counters.operations.trim += 1;
      else counters.operations.writeZeroes += 1;
      counters.writtenBytes += request.lengthBytes;
      counters.writeLatency.observe(this.#nowMs() - request.receivedAtMs);
    } else {
      counters.errors += 1;
    }
    request.complete(this.#error);
  }
}

/**
 * The parts of a write, write-zeroes or trim request, with origins numbered from
 * `lastNumber` + 1 on.
 */
export function splitRequest(
  volume: RequestedVolume,
  request: BlockRequest,
  boot: bigint,
  lastNumber: number,
  nowMs: () => number,
): WritePart[] {
  const { offsetBytes, lengthBytes } = request;
  if (request.command !== 'write') {
    const ranges = splitRange(offsetBytes, lengthBytes, request.noHole ? zeroedBytesMax : Infinity);
    const owner = new LocalWrite(volume, request, ranges.length, nowMs);
    return ranges.map(
      (range, index) =>
        new WritePart(
          {
            kind: request.command === 'trim' ? recordKind.trim : recordKind.writeZeroes,
            volume: volume.number,
            ...range,
            origin: { boot, number: lastNumber + 1 + index },
            flags: request.noHole ? recordFlagNoHole : 0,
            payload: noPayload,
            checksums: noChecksums,
          },
          owner,
        ),
    );
  }
  const ranges = splitRange(offsetBytes, lengthBytes, recordPayloadBytesMax);
  const owner = new LocalWrite(volume, request, ranges.length, nowMs);
  return ranges.map((range, index) => {
    const payload =
      ranges.length === 1
        ? request.payload
        : sliceBuffers(request.payload, range.offsetBytes - offsetBytes, range.lengthBytes);
    return new WritePart(
      {
        kind: recordKind.write,
        volume: volume.number,
        offsetBytes: range.offsetBytes,
        lengthBytes: range.lengthBytes,
        origin: { boot, number: lastNumber + 1 + index },
        flags: 0,
        payload,
        checksums: checksumPieces(payload, range.offsetBytes, range.lengthBytes),
      },
      owner,
    );
  });
}

interface Range {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Cuts a range at block boundaries into pieces of at most `pieceBytesMax`. */
function splitRange(offsetBytes: number, lengthBytes: number, pieceBytesMax: number): Range[] {
  if (lengthBytes <= pieceBytesMax) return [{ offsetBytes, lengthBytes }];
  const ranges: Range[] = [];
  const end = offsetBytes + lengthBytes;
  let start = offsetBytes;
  while (start < end) {
    const limit = start + pieceBytesMax;
    const next = limit >= end ? end : limit - (limit % blockSizeBytes);
    ranges.push({ offsetBytes: start, lengthBytes: next - start });
    start = next;
  }
  return ranges;
}

/** The slices that hold `lengthBytes` from `skipBytes` on: references, no copies. */
function sliceBuffers(
  buffers: readonly Buffer[],
  skipBytes: number,
  lengthBytes: number,
): readonly Buffer[] {
  const slices: Buffer[] = [];
  let skip = skipBytes;
  let remaining = lengthBytes;
  for (const buffer of buffers) {
    if (remaining === 0) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const slice = buffer.subarray(skip, Math.min(buffer.length, skip + remaining));
    slices.push(slice);
    remaining -= slice.length;
    skip = 0;
  }
  assert.equal(remaining, 0, 'the payload is as long as the request says');
  return slices;
}
