/**
 * CRC32C (Castagnoli), the only checksum of the program, and the rule by which the payload of a
 * record is cut into pieces for it (I7): pieces end at the volume's 4 KiB block boundaries, so that
 * a checksum computed where a write enters is still the checksum of a whole block when the block
 * is applied and read. This file is the only one that imports the native module.
 */
import assert from 'node:assert/strict';
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** The unit of checksums, of the data file and of alignment in the log. */
export const blockSizeBytes = 4096;

/**
 * CRC32C of `data`; with `previous`, the CRC32C of what `previous` covers followed by `data`.
 * Never throws.
 */
export function crc32c(data: Uint8Array, previous = 0): number {
  return nativeCrc32c(data, previous);
}

/** CRC32C of the slices one after the other. */
export function crc32cOfSlices(slices: readonly Uint8Array[], previous = 0): number {
  let crc = previous;
  for (const slice of slices) crc = nativeCrc32c(slice, crc);
  return crc;
}

/** How many pieces a payload of `lengthBytes` at `offsetBytes` of the volume is cut into. */
export function pieceCount(offsetBytes: number, lengthBytes: number): number {
  if (lengthBytes === 0) return 0;
  const head = offsetBytes % blockSizeBytes;
  return Math.ceil((head + lengthBytes) / blockSizeBytes);
}

/**
 * The CRC32C of each piece of a payload that belongs at `offsetBytes` of its volume. The slices
 * must hold `lengthBytes` bytes together (asserted).
 */
export function checksumPieces(
  payload: readonly Buffer[],
  offsetBytes: number,
  lengthBytes: number,
): Uint32Array {
  const first = payload[0];
  if (
    lengthBytes === blockSizeBytes &&
    first !== undefined &&
    first.length === blockSizeBytes &&
    offsetBytes % blockSizeBytes === 0
  ) {
    return Uint32Array.of(nativeCrc32c(first));
  }
  const checksums = new Uint32Array(pieceCount(offsetBytes, lengthBytes));
  const held = forEachPiece(payload, offsetBytes, lengthBytes, (index, crc) => {
    checksums[index] = crc;
    return true;
  });
  assert(held, 'the payload slices hold exactly the bytes of the payload');
  return checksums;
}

/**
 * True if the slices hold exactly `lengthBytes` bytes, and each piece has the CRC32C that
 * `checksums` gives for it, no more and no fewer.
 */
export function verifyPieces(
  payload: readonly Buffer[],
  offsetBytes: number,
  lengthBytes: number,
  checksums: ArrayLike<number>,
): boolean {
  if (checksums.length !== pieceCount(offsetBytes, lengthBytes)) return false;
  return forEachPiece(payload, offsetBytes, lengthBytes, (index, crc) => checksums[index] === crc);
}

/**
 * Walks the pieces in order; stops with false when `visit` says so or the slices hold too few or
 * too many bytes.
 */
function forEachPiece(
  payload: readonly Buffer[],
  offsetBytes: number,
  lengthBytes: number,
  visit: (index: number, crc: number) => boolean,
): boolean {
  let index = 0;
  let crc = 0;
  let doneBytes = 0;
  let missingBytes = Math.min(lengthBytes, blockSizeBytes - (offsetBytes % blockSizeBytes));
  for (const slice of payload) {
    let position = 0;
    while (position < slice.length) {
      if (doneBytes === lengthBytes) return false;
      const take = Math.min(missingBytes, slice.length - position);
      const whole = take === slice.length;
      crc = nativeCrc32c(whole ? slice : slice.subarray(position, position + take), crc);
      position += take;
      doneBytes += take;
      missingBytes -= take;
      if (missingBytes > 0) continue;
      if (!visit(index, crc)) return false;
      index += 1;
      crc = 0;
      missingBytes = Math.min(blockSizeBytes, lengthBytes - doneBytes);
    }
  }
  return doneBytes === lengthBytes;
}
