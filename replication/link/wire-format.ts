/**
 * What goes over the wire between two sites: this file is the format document of it, and knows the
 * header and every fixed layout; documents are in `pair-documents.ts`, requests that are passed on
 * in `forward-format.ts`, and the handshake that comes before all this in `handshake-format.ts`.
 *
 * A pair of sites has three TCP connections, `data`, `control` and `bulk`. After the handshake each
 * carries messages, back to back, in both directions. All numbers are unsigned and little-endian;
 * 64-bit numbers must be safe integers. Ids and digests are 16 raw bytes (hex in memory).
 * "Document" means one plain msgpack value, see `msgpack.ts`.
 *
 *   offset size header field   meaning
 *        0    4 body length    bytes after the header; limited by type, see `bodyBytesMax`
 *        4    1 type           messageType; only those of the connection's purpose are allowed
 *        5    3 reserved       0
 *        8    8 session        the session it belongs to; call, ping: a number echoed in the answer
 *       16    4 body CRC       CRC32C of the body; of frame: of its first 8 bytes only
 *       20    4 header CRC     CRC32C of bytes 0 to 19
 *
 *   type          on       body (offset size field)
 *   ping, pong    both     empty; the session field is the ping's number
 *   open          data     0 16 group id. From the dialer only; session numbers only grow
 *   opened        data     empty
 *   close         data     UTF-8 reason. Ends the session, whether open or only asked for
 *   willing       data     0 16 group id; session 0. The acceptor wants a session for the group
 *   frame         data     0 8 number, then one frame as in `wal/frame-format.ts`, which has
 *                          checksums of its own for every byte (I7)
 *   ack           data     0 8 epoch, 8 8 durable, 16 8 number, 24 8 checkpoint,
 *                          32 16 digest at durable, or nothing
 *   stagedAck     data     the same, of a site that is being resynced: nothing counts (H22)
 *   heartbeat     data     0 8 epoch, 8 8 number, 16 8 commit, 24 8 sent sequence,
 *                          32 8 checkpoint, 40 16 sent digest
 *   pair          data     document: hello, welcome, release, refuse
 *   forward       data     see `forward-format.ts`
 *   forwardReply  data     see `forward-format.ts`
 *   call          control, bulk, witness  document [method, parameters]
 *   result        control, bulk, witness  document: what the method gave
 *   callError     control, bulk, witness  document [code, text]
 *
 * Every byte is covered by a CRC32C: a flipped bit in an acknowledgement would be as bad as one in
 * a block, and TCP's own checksum misses one in 65,536. A message that is wrong in any way ends its
 * connection: after it nothing can be believed to be in step.
 */
import assert from 'node:assert/strict';
import { crc32c, crc32cOfSlices } from '../../wal/checksum.ts';
import type { Frame, GroupId } from '../../wal/frame.ts';
import { frameSizeBytesMax } from '../../wal/frame-format.ts';
import type { AckMessage, HeartbeatMessage } from '../core/messages.ts';
import type { ChunkQueue } from './chunk-queue.ts';
import { LinkFormatError } from './errors.ts';
import type { LinkLimits } from './limits.ts';

/** Both sites must speak the same; there is no negotiation. Raise it with every change above. */
export const protocolVersion = 2;

/**
 * What a connection is for; `bulk`: calls too, the extents of a resync, which are in nobody's way
 * there; `witness`: a site's questions to the witness, calls only.
 */
export type Purpose = 'control' | 'data' | 'bulk' | 'witness';

export const messageType = {
  ping: 1,
  pong: 2,
  open: 10,
  opened: 11,
  close: 12,
  willing: 13,
  frame: 20,
  ack: 21,
  heartbeat: 22,
  pair: 23,
  stagedAck: 24,
  forward: 30,
  forwardReply: 31,
  call: 40,
  result: 41,
  callError: 42,
} as const;
export type MessageType = (typeof messageType)[keyof typeof messageType];

export const messageHeaderBytes = 24;
export const frameEnvelopeBytes = 8;
export const ackBytes = 32;
export const ackWithDigestBytes = ackBytes + 16;
export const heartbeatBytes = 56;
export const idBytes = 16;
/** Far more sessions than a process can open, far from the end of safe integers. */
export const sessionNumberMax = 2 ** 52;
export const closeReasonBytesMax = 512;

export interface MessageHeader {
  readonly bodyBytes: number;
  readonly type: MessageType;
  readonly session: number;
  readonly bodyCrc: number;
}

const messageTypes: ReadonlyMap<number, MessageType> = new Map(
  Object.values(messageType).map((type) => [type, type]),
);

/** The longest body of a type; more is refused before any of it is kept. */
export function bodyBytesMax(type: MessageType, limits: LinkLimits): number {
  switch (type) {
    case messageType.ping:
    case messageType.pong:
    case messageType.opened:
      return 0;
    case messageType.open:
    case messageType.willing:
      return idBytes;
    case messageType.close:
      return closeReasonBytesMax;
    case messageType.frame:
      return frameEnvelopeBytes + frameSizeBytesMax;
    case messageType.ack:
    case messageType.stagedAck:
      return ackWithDigestBytes;
    case messageType.heartbeat:
      return heartbeatBytes;
    case messageType.pair:
      return limits.documentBytesMax;
    case messageType.forward:
    case messageType.forwardReply:
      return limits.forwardBytesMax;
    case messageType.call:
    case messageType.result:
    case messageType.callError:
      return limits.callBytesMax;
  }
}

/** True if messages of this type may come on a connection of this purpose. */
export function belongsOn(type: MessageType, purpose: Purpose): boolean {
  if (type < messageType.open) return true;
  return type >= messageType.call === (purpose !== 'data');
}

/** Takes and checks a header; `queue` must hold at least `messageHeaderBytes`. */
export function takeHeader(queue: ChunkQueue): MessageHeader {
  const bytes = queue.takeContiguous(messageHeaderBytes);
  if (crc32c(bytes.subarray(0, 20)) !== bytes.readUInt32LE(20)) {
    throw new LinkFormatError('a message header does not have its checksum');
  }
  const type = messageTypes.get(bytes.readUInt8(4));
  if (type === undefined) {
    throw new LinkFormatError(`there is no message type ${bytes.readUInt8(4)}`);
  }
  if (bytes.readUIntLE(5, 3) !== 0) throw new LinkFormatError('a reserved field is not 0');
  return {
    bodyBytes: bytes.readUInt32LE(0),
    type,
    session: readNumber(bytes, 8),
    bodyCrc: bytes.readUInt32LE(16),
  };
}

// ---- encoding ---------------------------------------------------------------------------------

/** A message without body. */
export function encodeEmpty(type: MessageType, session: number): Buffer {
  const bytes = Buffer.allocUnsafe(messageHeaderBytes);
  writeHeader(bytes, { type, session, bodyBytes: 0, bodyCrc: 0 });
  return bytes;
}

/** `open` and `willing`. */
export function encodeGroup(
  type: typeof messageType.open | typeof messageType.willing,
  session: number,
  groupId: GroupId,
): Buffer {
  const bytes = Buffer.allocUnsafe(messageHeaderBytes + idBytes);
  writeId(bytes, messageHeaderBytes, groupId);
  sealWhole(bytes, type, session);
  return bytes;
}

export function encodeClose(session: number, reason: string): Buffer {
  const text = Buffer.from(reason.slice(0, closeReasonBytesMax / 4), 'utf8');
  return Buffer.concat(encodeWithBody(messageType.close, session, [text]));
}

export function encodeAck(session: number, ack: AckMessage): Buffer {
  const { digest } = ack;
  const bodyBytes = digest === undefined ? ackBytes : ackWithDigestBytes;
  const bytes = Buffer.allocUnsafe(messageHeaderBytes + bodyBytes);
  writeNumber(bytes, messageHeaderBytes, ack.epoch);
  writeNumber(bytes, messageHeaderBytes + 8, ack.durable);
  writeNumber(bytes, messageHeaderBytes + 16, ack.number);
  writeNumber(bytes, messageHeaderBytes + 24, ack.checkpoint);
  if (digest !== undefined) writeId(bytes, messageHeaderBytes + ackBytes, digest);
  sealWhole(bytes, ack.staged === true ? messageType.stagedAck : messageType.ack, session);
  return bytes;
}

export function encodeHeartbeat(session: number, heartbeat: HeartbeatMessage): Buffer {
  const bytes = Buffer.allocUnsafe(messageHeaderBytes + heartbeatBytes);
  writeNumber(bytes, messageHeaderBytes, heartbeat.epoch);
  writeNumber(bytes, messageHeaderBytes + 8, heartbeat.number);
  writeNumber(bytes, messageHeaderBytes + 16, heartbeat.commit);
  writeNumber(bytes, messageHeaderBytes + 24, heartbeat.sent.sequence);
  writeNumber(bytes, messageHeaderBytes + 32, heartbeat.checkpoint);
  writeId(bytes, messageHeaderBytes + 40, heartbeat.sent.digest);
  sealWhole(bytes, messageType.heartbeat, session);
  return bytes;
}

/** The header and envelope of a frame; `frame.bytes` follow it as they are. */
export function encodeFrameEnvelope(session: number, number: number, frame: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(messageHeaderBytes + frameEnvelopeBytes);
  writeNumber(bytes, messageHeaderBytes, number);
  writeHeader(bytes, {
    type: messageType.frame,
    session,
    bodyBytes: frameEnvelopeBytes + frame.sizeBytes,
    bodyCrc: crc32c(bytes.subarray(messageHeaderBytes)),
  });
  return bytes;
}

/** A message with a body that is there already: the header, then the body as it is. */
export function encodeWithBody(
  type: MessageType,
  session: number,
  body: readonly Buffer[],
): Buffer[] {
  const header = Buffer.allocUnsafe(messageHeaderBytes);
  let bodyBytes = 0;
  for (const slice of body) bodyBytes += slice.length;
  writeHeader(header, { type, session, bodyBytes, bodyCrc: crc32cOfSlices(body) });
  return [header, ...body];
}

function sealWhole(bytes: Buffer, type: MessageType, session: number): void {
  writeHeader(bytes, {
    type,
    session,
    bodyBytes: bytes.length - messageHeaderBytes,
    bodyCrc: crc32c(bytes.subarray(messageHeaderBytes)),
  });
}

function writeHeader(bytes: Buffer, header: MessageHeader): void {
  bytes.writeUInt32LE(header.bodyBytes, 0);
  bytes.writeUInt32LE(header.type, 4);
  writeNumber(bytes, 8, header.session);
  bytes.writeUInt32LE(header.bodyCrc, 16);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 20)), 20);
}

// ---- decoding of fixed bodies -----------------------------------------------------------------

export function decodeAck(body: Buffer): AckMessage {
  if (body.length !== ackBytes) expectLength(body, ackWithDigestBytes, 'ack');
  return {
    kind: 'ack',
    epoch: readNumber(body, 0),
    durable: readNumber(body, 8),
    number: readNumber(body, 16),
    checkpoint: readNumber(body, 24),
    ...(body.length === ackBytes ? {} : { digest: readId(body, ackBytes) }),
  };
}

export function decodeHeartbeat(body: Buffer): HeartbeatMessage {
  expectLength(body, heartbeatBytes, 'heartbeat');
  return {
    kind: 'heartbeat',
    epoch: readNumber(body, 0),
    number: readNumber(body, 8),
    commit: readNumber(body, 16),
    sent: { sequence: readNumber(body, 24), digest: readId(body, 40) },
    checkpoint: readNumber(body, 32),
  };
}

export function decodeGroup(body: Buffer): GroupId {
  expectLength(body, idBytes, 'open or willing');
  return readId(body, 0);
}

function expectLength(body: Buffer, lengthBytes: number, what: string): void {
  if (body.length === lengthBytes) return;
  throw new LinkFormatError(`${what} has ${body.length} bytes instead of ${lengthBytes}`);
}

// ---- numbers and ids --------------------------------------------------------------------------

/** Writes a safe integer as 64 bits, in two halves: several times cheaper than a BigInt. */
export function writeNumber(bytes: Buffer, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number on the wire is a safe integer');
  bytes.writeUInt32LE(value % 0x1_0000_0000, offset);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

export function readNumber(bytes: Buffer, offset: number): number {
  const value = bytes.readUInt32LE(offset + 4) * 0x1_0000_0000 + bytes.readUInt32LE(offset);
  if (!Number.isSafeInteger(value)) throw new LinkFormatError('a number is beyond 2^53');
  return value;
}

export function readId(bytes: Buffer, offset: number): string {
  return bytes.toString('hex', offset, offset + idBytes);
}

function writeId(bytes: Buffer, offset: number, id: string): void {
  assert(id.length === 2 * idBytes, 'an id or digest is 32 hex digits');
  assert(bytes.write(id, offset, idBytes, 'hex') === idBytes, 'an id or digest is 32 hex digits');
}
