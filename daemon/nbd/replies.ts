/**
 * The replies of the transmission phase, encoded into a reply queue: simple ones, and structured
 * chunks where they were negotiated. Every function writes one whole reply.
 */
import { type BlockError, blockError, type StatusExtent } from './block-device.ts';
import {
  allocationContextId,
  chunkHeaderBytes,
  replyFlagDone,
  replyType,
  simpleReplyBytes,
  simpleReplyMagic,
  stateHole,
  stateZero,
  structuredReplyMagic,
} from './constants.ts';
import type { ReplyQueue } from './reply-queue.ts';

/** Whom a reply is for: the client's cookie in two halves. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/** Extents in one reply at most: what fits a reply arena well; the client asks for the rest. */
const statusExtentsMax = 8192;
/** Read data up to this is copied behind its header: cheaper than a piece of its own. */
export const copyBytesMax = 8 * 1024;
const extentBytesMax = 0xffff_ffff;

/** | 4 magic | 4 error | 8 cookie | */
export function writeSimpleReply(queue: ReplyQueue, cookie: Cookie, error: BlockError): void {
  const arena = queue.reserve(simpleReplyBytes);
  putSimpleHeader(arena, queue.position, cookie, error);
  queue.commit(simpleReplyBytes);
}

/** | chunk header | 4 error | 2 message length | message | 8 offset, if it is known | */
export function writeErrorChunk(
  queue: ReplyQueue,
  cookie: Cookie,
  failure: { readonly error: BlockError; readonly message: string; readonly offsetBytes?: number },
): void {
  const messageBytes = Buffer.byteLength(failure.message);
  const withOffset = failure.offsetBytes !== undefined;
  const length = 6 + messageBytes + (withOffset ? 8 : 0);
  const arena = queue.reserve(chunkHeaderBytes + length);
  const type = withOffset ? replyType.errorOffset : replyType.error;
  const at = putChunkHeader(arena, queue.position, cookie, type, length);
  arena.writeUInt32BE(failure.error, at);
  arena.writeUInt16BE(messageBytes, at + 4);
  arena.write(failure.message, at + 6);
  if (failure.offsetBytes !== undefined)
    putOffset(arena, at + 6 + messageBytes, failure.offsetBytes);
  queue.commit(chunkHeaderBytes + length);
}

/** A structured reply that says no more than "done": for reads of nothing. */
export function writeEmptyChunk(queue: ReplyQueue, cookie: Cookie): void {
  const arena = queue.reserve(chunkHeaderBytes);
  putChunkHeader(arena, queue.position, cookie, replyType.none, 0);
  queue.commit(chunkHeaderBytes);
}

/** Bytes in front of the data of a read's reply. */
export function readHeaderBytes(structured: boolean): number {
  return structured ? chunkHeaderBytes + 8 : simpleReplyBytes;
}

/**
 * Completes a read whose data stands in the arena already, `readHeaderBytes` behind the queue's
 * position. All zeros make a hole in a structured reply: found out at the speed of a memcmp that
 * ends with the first other byte.
 */
export function commitReadInPlace(
  queue: ReplyQueue,
  cookie: Cookie,
  read: { readonly offsetBytes: number; readonly data: Buffer; readonly structured: boolean },
): void {
  const { data, structured, offsetBytes } = read;
  if (structured && isZero(data)) {
    writeHoleChunk(queue, cookie, offsetBytes, data.length);
    return;
  }
  const headerBytes = readHeaderBytes(structured);
  const arena = queue.reserve(headerBytes + data.length);
  putReadHeader(arena, queue.position, cookie, read);
  queue.commit(headerBytes + data.length);
}

/** The reply to a read whose data is in a buffer of its own, which nobody changes any more. */
export function writeRead(
  queue: ReplyQueue,
  cookie: Cookie,
  read: { readonly offsetBytes: number; readonly data: Buffer; readonly structured: boolean },
): void {
  const { data, structured, offsetBytes } = read;
  if (structured && isZero(data)) {
    writeHoleChunk(queue, cookie, offsetBytes, data.length);
    return;
  }
  const headerBytes = readHeaderBytes(structured);
  const copied = data.length <= copyBytesMax;
  const arena = queue.reserve(headerBytes + (copied ? data.length : 0));
  const at = queue.position;
  putReadHeader(arena, at, cookie, read);
  queue.commit(headerBytes);
  if (copied) {
    data.copy(arena, at + headerBytes);
    queue.commit(data.length);
  } else {
    queue.append(data);
  }
}

/**
 * NBD_REPLY_TYPE_BLOCK_STATUS for base:allocation:
 * | chunk header | 4 context id | for each extent: 4 length, 4 flags |
 *
 * Neighbours of one kind are merged and nothing reaches beyond the request, so that what REQ_ONE
 * asks for is just the first descriptor.
 */
export function writeStatus(
  queue: ReplyQueue,
  cookie: Cookie,
  status: {
    readonly extents: readonly StatusExtent[];
    readonly lengthBytes: number;
    readonly one: boolean;
  },
): void {
  const countMax = status.one ? 1 : statusExtentsMax;
  const arena = queue.reserve(chunkHeaderBytes + 4 + 8 * Math.min(countMax, status.extents.length));
  const start = queue.position + chunkHeaderBytes;
  arena.writeUInt32BE(allocationContextId, start);
  let at = start + 4;
  let remaining = status.lengthBytes;
  let index = 0;
  for (let count = 0; count < countMax && remaining > 0; count += 1) {
    const first = status.extents[index];
    if (first === undefined) break;
    let length = 0;
    while (status.extents[index]?.hole === first.hole) {
      length += status.extents[index]?.lengthBytes ?? 0;
      index += 1;
    }
    length = Math.min(length, remaining, extentBytesMax);
    remaining -= length;
    arena.writeUInt32BE(length, at);
    arena.writeUInt32BE(first.hole ? stateHole | stateZero : 0, at + 4);
    at += 8;
  }
  const length = at - start;
  putChunkHeader(arena, queue.position, cookie, replyType.blockStatus, length);
  queue.commit(chunkHeaderBytes + length);
}

/** | chunk header | 8 offset | 4 length | */
function writeHoleChunk(
  queue: ReplyQueue,
  cookie: Cookie,
  offsetBytes: number,
  lengthBytes: number,
): void {
  const arena = queue.reserve(chunkHeaderBytes + 12);
  const at = putChunkHeader(arena, queue.position, cookie, replyType.offsetHole, 12);
  putOffset(arena, at, offsetBytes);
  arena.writeUInt32BE(lengthBytes, at + 8);
  queue.commit(chunkHeaderBytes + 12);
}

function putReadHeader(
  arena: Buffer,
  at: number,
  cookie: Cookie,
  read: { readonly offsetBytes: number; readonly data: Buffer; readonly structured: boolean },
): void {
  if (read.structured) {
    const length = 8 + read.data.length;
    putOffset(
      arena,
      putChunkHeader(arena, at, cookie, replyType.offsetData, length),
      read.offsetBytes,
    );
  } else {
    putSimpleHeader(arena, at, cookie, blockError.none);
  }
}

function putSimpleHeader(arena: Buffer, at: number, cookie: Cookie, error: BlockError): void {
  arena.writeUInt32BE(simpleReplyMagic, at);
  arena.writeUInt32BE(error, at + 4);
  arena.writeUInt32BE(cookie.cookieHigh, at + 8);
  arena.writeUInt32BE(cookie.cookieLow, at + 12);
}

/** | 4 magic | 2 flags | 2 type | 8 cookie | 4 length |; every reply here is one chunk: DONE. */
function putChunkHeader(
  arena: Buffer,
  at: number,
  cookie: Cookie,
  type: number,
  lengthBytes: number,
): number {
  arena.writeUInt32BE(structuredReplyMagic, at);
  arena.writeUInt16BE(replyFlagDone, at + 4);
  arena.writeUInt16BE(type, at + 6);
  arena.writeUInt32BE(cookie.cookieHigh, at + 8);
  arena.writeUInt32BE(cookie.cookieLow, at + 12);
  arena.writeUInt32BE(lengthBytes, at + 16);
  return at + chunkHeaderBytes;
}

function putOffset(arena: Buffer, at: number, offsetBytes: number): void {
  arena.writeUInt32BE(Math.floor(offsetBytes / 0x1_0000_0000), at);
  arena.writeUInt32BE(offsetBytes % 0x1_0000_0000, at + 4);
}

const zeros = Buffer.alloc(64 * 1024);

function isZero(data: Buffer): boolean {
  // Most data shows what it is at its ends; that costs no call.
  if (data[0] !== 0 || data[data.length - 1] !== 0) return false;
  for (let at = 0; at < data.length; at += zeros.length) {
    const length = Math.min(zeros.length, data.length - at);
    if (data.compare(zeros, 0, length, at, at + length) !== 0) return false;
  }
  return true;
}
