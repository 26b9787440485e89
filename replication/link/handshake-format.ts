/**
 * The packets with which every connection starts, before any message of `wire-format.ts`. This
 * layout never changes, so that two versions can always tell each other that they differ.
 *
 *   offset size field        meaning
 *        0    8 magic        "CASEMATE"
 *        8    4 version      protocolVersion of the sender
 *       12    1 kind         1 greeting, 2 accepted, 3 refused
 *       13    3 reserved     0
 *       16    4 body length  at most 4096
 *       20    4 CRC          CRC32C of bytes 0 to 19 and the body
 *       24      body         greeting: document (below); refused: document {code, text};
 *                            accepted: empty
 *
 * The dialer sends its greeting, the acceptor checks it and answers with its own (or refuses), the
 * dialer checks that and sends accepted (or refuses). The acceptor, who shows nothing of itself to
 * a stranger, takes the connection as open when accepted has come, the dialer when it has sent it.
 */
import { crc32cOfSlices } from '../../wal/checksum.ts';
import type { StoreId } from '../../wal/frame.ts';
import type { ChunkQueue } from './chunk-queue.ts';
import type { LinkReason } from './errors.ts';
import { LinkFormatError, printable } from './errors.ts';
import { Fields } from './fields.ts';
import { packDocument, unpackDocument } from './msgpack.ts';
import type { Purpose } from './wire-format.ts';
import { sessionNumberMax } from './wire-format.ts';

export const handshakeHeaderBytes = 24;
const bodyBytesMax = 4096;
const magic = Buffer.from('CASEMATE', 'latin1');
const nameLengthMax = 128;

/** Who is at one end of a connection. */
export interface Greeting {
  readonly clusterId: string;
  readonly siteName: string;
  readonly storeId: StoreId;
  readonly bootId: string;
  readonly softwareVersion: string;
  readonly purpose: Purpose;
  /** Highest session number that this process has given out or seen; see `sessions.ts`. */
  readonly lastSession: number;
}

export type HandshakePacket =
  | { readonly kind: 'greeting'; readonly version: number; readonly body: Buffer }
  | { readonly kind: 'accepted'; readonly version: number }
  | { readonly kind: 'refused'; readonly version: number; readonly reason: LinkReason };

export function encodeGreeting(version: number, greeting: Greeting): Buffer {
  return encodePacket(version, 1, packDocument(greeting));
}

export function encodeAccepted(version: number): Buffer {
  return encodePacket(version, 2, Buffer.alloc(0));
}

export function encodeRefused(version: number, reason: LinkReason): Buffer {
  const { code, text } = reason;
  return encodePacket(version, 3, packDocument({ code, text: text.slice(0, 800) }));
}

/**
 * Takes the next packet if it is there in full. A greeting's body is left alone until its version
 * has been compared: `decodeGreeting`.
 * @throws LinkFormatError when the bytes are no such packet.
 */
export function takeHandshakePacket(queue: ChunkQueue): HandshakePacket | undefined {
  const early = queue.peek(Math.min(queue.sizeBytes, handshakeHeaderBytes));
  const compared = Math.min(early.length, magic.length);
  if (!early.subarray(0, compared).equals(magic.subarray(0, compared))) {
    throw new LinkFormatError('the bytes are not those of a Casemate site');
  }
  if (early.length < handshakeHeaderBytes) return undefined;
  const bodyBytes = early.readUInt32LE(16);
  if (bodyBytes > bodyBytesMax) throw new LinkFormatError('a handshake packet is too long');
  if (queue.sizeBytes < handshakeHeaderBytes + bodyBytes) return undefined;
  const header = queue.takeContiguous(handshakeHeaderBytes);
  const body = queue.takeContiguous(bodyBytes);
  if (crc32cOfSlices([header.subarray(0, 20), body]) !== header.readUInt32LE(20)) {
    throw new LinkFormatError('a handshake packet does not have its checksum');
  }
  const version = header.readUInt32LE(8);
  switch (header.readUInt8(12)) {
    case 1:
      return { kind: 'greeting', version, body };
    case 2:
      return { kind: 'accepted', version };
    case 3:
      return { kind: 'refused', version, reason: decodeRefusal(body) };
    default:
      throw new LinkFormatError('a handshake packet is of an unknown kind');
  }
}

/** @throws LinkFormatError naming the field that is wrong. */
export function decodeGreeting(body: Buffer): Greeting {
  const fields = new Fields(unpackDocument(body), 'greeting');
  const lastSession = fields.number('lastSession');
  if (lastSession > sessionNumberMax) throw new LinkFormatError('greeting: lastSession too large');
  return fields.done({
    lastSession,
    clusterId: printable(fields.text('clusterId', nameLengthMax)),
    siteName: printable(fields.text('siteName', nameLengthMax)),
    storeId: fields.id('storeId'),
    bootId: printable(fields.text('bootId', nameLengthMax)),
    softwareVersion: printable(fields.text('softwareVersion', nameLengthMax)),
    purpose: fields.oneOf('purpose', ['control', 'data', 'bulk', 'witness']),
  });
}

function decodeRefusal(body: Buffer): LinkReason {
  const fields = new Fields(unpackDocument(body), 'refusal');
  const code = fields.text('code', 64);
  return fields.done({
    code: /^[a-z-]+$/.test(code) ? code : 'unknown',
    text: printable(fields.text('text', 1024), 1024),
  });
}

function encodePacket(version: number, kind: number, body: Buffer): Buffer {
  const header = Buffer.alloc(handshakeHeaderBytes);
  magic.copy(header, 0);
  header.writeUInt32LE(version, 8);
  header.writeUInt8(kind, 12);
  header.writeUInt32LE(body.length, 16);
  header.writeUInt32LE(crc32cOfSlices([header.subarray(0, 20), body]), 20);
  return Buffer.concat([header, body]);
}
