/**
 * The bytes of requests that a standby site passes on to the primary, and of their replies (R37).
 * Numbers as in `wire-format.ts`. Payloads are referenced, not copied, in both directions; the body
 * CRC of the message covers them (I7) until the primary computes the blocks' own checksums.
 *
 *   offset size forward       meaning
 *        0    8 id            given by the sender, echoed in the reply
 *        8    1 command       1 read, 2 write, 3 writeZeroes, 4 trim, 5 flush, 6 status
 *        9    1 flags         bit 0: keep the space allocated (no hole)
 *       10    2 reserved      0
 *       12    4 volume
 *       16    8 offset        bytes
 *       24    8 length        bytes
 *       32    8 origin boot   any 64 bits
 *       40    8 origin number
 *       48      payload       write: length bytes; else empty
 *
 *   offset size reply         meaning
 *        0    8 id
 *        8    4 error         NBD error number, 0 for none
 *       12    1 refused       1: not executed, may be sent again
 *       13    3 reserved      0
 *       16    4 extents       count
 *       20    4 data length   bytes
 *       24 12×n extents       8 length in bytes, 4 hole (0 or 1)
 *               data
 */
import assert from 'node:assert/strict';
import { ChunkQueue, type GiveBack } from './chunk-queue.ts';
import { LinkFormatError } from './errors.ts';
import { readNumber, writeNumber } from './wire-format.ts';

export type ForwardCommand = 'read' | 'write' | 'writeZeroes' | 'trim' | 'flush' | 'status';

export interface ForwardRequest {
  readonly id: number;
  readonly command: ForwardCommand;
  readonly volume: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly noHole: boolean;
  readonly originBoot: bigint;
  readonly originNumber: number;
  /** write: `lengthBytes` bytes; else empty. */
  readonly payload: readonly Buffer[];
}

export interface ForwardReply {
  readonly id: number;
  /** NBD error number, 0 for none. */
  readonly error: number;
  /** Not executed at all: the request may be sent again (R37). */
  readonly refused: boolean;
  readonly data: readonly Buffer[];
  readonly extents: readonly { readonly lengthBytes: number; readonly hole: boolean }[];
}

const requestBytes = 48;
const replyBytes = 24;
const extentBytes = 12;

const commandCodes: Readonly<Record<ForwardCommand, number>> = {
  read: 1,
  write: 2,
  writeZeroes: 3,
  trim: 4,
  flush: 5,
  status: 6,
};
const commands: ReadonlyMap<number, ForwardCommand> = new Map([
  [1, 'read'],
  [2, 'write'],
  [3, 'writeZeroes'],
  [4, 'trim'],
  [5, 'flush'],
  [6, 'status'],
]);

/** The body of a forward message. */
export function encodeForward(request: ForwardRequest): Buffer[] {
  const head = Buffer.allocUnsafe(requestBytes);
  const payloadBytes = sizeOf(request.payload);
  const expected = request.command === 'write' ? request.lengthBytes : 0;
  assert(payloadBytes === expected, 'a forwarded write carries lengthBytes, others carry nothing');
  writeNumber(head, 0, request.id);
  head.writeUInt8(commandCodes[request.command], 8);
  head.writeUInt8(request.noHole ? 1 : 0, 9);
  head.writeUInt16LE(0, 10);
  head.writeUInt32LE(request.volume, 12);
  writeNumber(head, 16, request.offsetBytes);
  writeNumber(head, 24, request.lengthBytes);
  head.writeBigUInt64LE(request.originBoot, 32);
  writeNumber(head, 40, request.originNumber);
  return [head, ...request.payload];
}

/** @throws LinkFormatError when the body is not what the table says. */
export function decodeForward(body: readonly Buffer[], giveBack: GiveBack): ForwardRequest {
  const queue = queueOf(body, requestBytes, giveBack);
  const head = queue.takeContiguous(requestBytes);
  const command = commands.get(head.readUInt8(8));
  if (command === undefined) throw new LinkFormatError('forward: unknown command');
  const flags = head.readUInt8(9);
  if (flags > 1 || head.readUInt16LE(10) !== 0) {
    throw new LinkFormatError('forward: unknown flags');
  }
  const lengthBytes = readNumber(head, 24);
  const offsetBytes = readNumber(head, 16);
  if (!Number.isSafeInteger(offsetBytes + lengthBytes)) {
    throw new LinkFormatError('forward: the range ends too far out');
  }
  const payload = queue.takeAll();
  if (sizeOf(payload) !== (command === 'write' ? lengthBytes : 0)) {
    throw new LinkFormatError('forward: the payload is not as long as the request says');
  }
  return {
    id: readNumber(head, 0),
    command,
    volume: head.readUInt32LE(12),
    offsetBytes,
    lengthBytes,
    noHole: flags === 1,
    originBoot: head.readBigUInt64LE(32),
    originNumber: readNumber(head, 40),
    payload,
  };
}

/** The body of a forwardReply message. */
export function encodeForwardReply(reply: ForwardReply): Buffer[] {
  const head = Buffer.allocUnsafe(replyBytes + extentBytes * reply.extents.length);
  writeNumber(head, 0, reply.id);
  head.writeUInt32LE(reply.error, 8);
  head.writeUInt32LE(reply.refused ? 1 : 0, 12);
  head.writeUInt32LE(reply.extents.length, 16);
  head.writeUInt32LE(sizeOf(reply.data), 20);
  let position = replyBytes;
  for (const extent of reply.extents) {
    writeNumber(head, position, extent.lengthBytes);
    head.writeUInt32LE(extent.hole ? 1 : 0, position + 8);
    position += extentBytes;
  }
  return [head, ...reply.data];
}

/** @throws LinkFormatError when the body is not what the table says. */
export function decodeForwardReply(body: readonly Buffer[]): ForwardReply {
  const bodyBytes = sizeOf(body);
  const queue = queueOf(body, replyBytes);
  const head = queue.takeContiguous(replyBytes);
  const refused = head.readUInt32LE(12);
  const count = head.readUInt32LE(16);
  if (refused > 1) throw new LinkFormatError('forward reply: unknown flags');
  if (replyBytes + extentBytes * count + head.readUInt32LE(20) !== bodyBytes) {
    throw new LinkFormatError('forward reply: extents and data do not fill the message');
  }
  const extents: { lengthBytes: number; hole: boolean }[] = [];
  for (let index = 0; index < count; index += 1) {
    const extent = queue.takeContiguous(extentBytes);
    const hole = extent.readUInt32LE(8);
    if (hole > 1) throw new LinkFormatError('forward reply: unknown extent flags');
    extents.push({ lengthBytes: readNumber(extent, 0), hole: hole === 1 });
  }
  return {
    id: readNumber(head, 0),
    error: head.readUInt32LE(8),
    refused: refused === 1,
    data: queue.takeAll(),
    extents,
  };
}

function queueOf(body: readonly Buffer[], lengthBytesMin: number, giveBack?: GiveBack): ChunkQueue {
  const queue = new ChunkQueue(giveBack);
  for (const slice of body) queue.push(slice);
  if (queue.sizeBytes < lengthBytesMin) throw new LinkFormatError('forward: ends too early');
  return queue;
}

function sizeOf(slices: readonly Buffer[]): number {
  let sizeBytes = 0;
  for (const slice of slices) sizeBytes += slice.length;
  return sizeBytes;
}
