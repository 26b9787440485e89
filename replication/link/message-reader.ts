/**
 * From received chunks to whole, checked messages. At most one unfinished message is kept, and no
 * type may be longer than its limit, so a peer cannot make memory grow. Payloads stay slices of the
 * chunks they came in.
 */
import { crc32cOfSlices } from '../../wal/checksum.ts';
import type { Frame, GroupId } from '../../wal/frame.ts';
import { decodeFrame, FrameFormatError } from '../../wal/frame-format.ts';
import type { PairMessage } from '../core/messages.ts';
import type { ChunkQueue } from './chunk-queue.ts';
import { LinkFormatError, printable } from './errors.ts';
import type { ForwardReply, ForwardRequest } from './forward-format.ts';
import { decodeForward, decodeForwardReply } from './forward-format.ts';
import type { LinkLimits } from './limits.ts';
import { unpackDocument } from './msgpack.ts';
import { decodePairDocument } from './pair-documents.ts';
import type { MessageHeader, Purpose } from './wire-format.ts';
import {
  belongsOn,
  bodyBytesMax,
  decodeAck,
  decodeGroup,
  decodeHeartbeat,
  frameEnvelopeBytes,
  messageHeaderBytes,
  messageType,
  readNumber,
  takeHeader,
} from './wire-format.ts';

export type LinkMessage =
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'pong'; readonly id: number }
  | { readonly kind: 'open'; readonly session: number; readonly groupId: GroupId }
  | { readonly kind: 'opened'; readonly session: number }
  | { readonly kind: 'close'; readonly session: number; readonly reason: string }
  | { readonly kind: 'willing'; readonly groupId: GroupId }
  | SessionMessage
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: string;
      readonly parameters: unknown;
    }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | {
      readonly kind: 'callError';
      readonly id: number;
      readonly code: string;
      readonly text: string;
    };

/** What belongs to one open session. */
export type SessionMessage =
  | {
      readonly kind: 'frame';
      readonly session: number;
      readonly number: number;
      readonly frame: Frame;
    }
  | { readonly kind: 'pair'; readonly session: number; readonly message: PairMessage }
  | { readonly kind: 'forward'; readonly session: number; readonly request: ForwardRequest }
  | { readonly kind: 'forwardReply'; readonly session: number; readonly reply: ForwardReply };

const methodLengthMax = 64;

export class MessageReader {
  readonly #queue: ChunkQueue;
  readonly #purpose: Purpose;
  readonly #limits: LinkLimits;
  /** The header of the message whose body is still coming. */
  #header: MessageHeader | undefined;

  /** Reads from what is in `queue` now and what is pushed later. */
  constructor(queue: ChunkQueue, purpose: Purpose, limits: LinkLimits) {
    this.#queue = queue;
    this.#purpose = purpose;
    this.#limits = limits;
  }

  push(chunk: Buffer): void {
    this.#queue.push(chunk);
  }

  /**
   * The next message, or undefined until more has come.
   * @throws LinkFormatError when the bytes are wrong; nothing can be read after that.
   */
  next(): LinkMessage | undefined {
    if (this.#header === undefined) {
      if (this.#queue.sizeBytes < messageHeaderBytes) return undefined;
      this.#header = this.#takeHeader();
    }
    const header = this.#header;
    if (this.#queue.sizeBytes < header.bodyBytes) return undefined;
    this.#header = undefined;
    return header.type === messageType.frame
      ? takeFrame(this.#queue, header)
      : takeMessage(this.#queue, header);
  }

  #takeHeader(): MessageHeader {
    const header = takeHeader(this.#queue);
    if (!belongsOn(header.type, this.#purpose)) {
      throw new LinkFormatError(`message type ${header.type} on a ${this.#purpose} connection`);
    }
    const most = bodyBytesMax(header.type, this.#limits);
    if (header.bodyBytes > most) {
      const size = `${header.bodyBytes} bytes, at most ${most} are allowed`;
      throw new LinkFormatError(`a message of type ${header.type} has ${size}`);
    }
    return header;
  }
}

/** Every checksum of the frame is verified here, before anybody sees it (I7). */
function takeFrame(queue: ChunkQueue, header: MessageHeader): LinkMessage {
  if (header.bodyBytes < frameEnvelopeBytes) throw new LinkFormatError('a frame without envelope');
  const envelope = queue.takeContiguous(frameEnvelopeBytes);
  checkBody([envelope], header);
  try {
    return {
      kind: 'frame',
      session: header.session,
      number: readNumber(envelope, 0),
      frame: decodeFrame(queue.take(header.bodyBytes - frameEnvelopeBytes)),
    };
  } catch (error) {
    if (!(error instanceof FrameFormatError)) throw error;
    throw new LinkFormatError(`a frame is damaged: ${error.message}`);
  }
}

function takeMessage(queue: ChunkQueue, header: MessageHeader): LinkMessage {
  const { session } = header;
  if (header.type === messageType.forward || header.type === messageType.forwardReply) {
    const slices = queue.take(header.bodyBytes);
    checkBody(slices, header);
    return header.type === messageType.forward
      ? { kind: 'forward', session, request: decodeForward(slices, queue.giveBack) }
      : { kind: 'forwardReply', session, reply: decodeForwardReply(slices) };
  }
  const body = queue.takeContiguous(header.bodyBytes);
  if (header.bodyBytes > 0) checkBody([body], header);
  return decodeBody(header, body);
}

function decodeBody(header: MessageHeader, body: Buffer): LinkMessage {
  const { session } = header;
  switch (header.type) {
    case messageType.ping:
      return { kind: 'ping', id: session };
    case messageType.pong:
      return { kind: 'pong', id: session };
    case messageType.open:
      return { kind: 'open', session, groupId: decodeGroup(body) };
    case messageType.opened:
      return { kind: 'opened', session };
    case messageType.close:
      return { kind: 'close', session, reason: printable(body.toString('utf8')) };
    case messageType.willing:
      return { kind: 'willing', groupId: decodeGroup(body) };
    case messageType.ack:
      return { kind: 'pair', session, message: decodeAck(body) };
    case messageType.stagedAck:
      return { kind: 'pair', session, message: { ...decodeAck(body), staged: true } };
    case messageType.heartbeat:
      return { kind: 'pair', session, message: decodeHeartbeat(body) };
    case messageType.pair:
      return { kind: 'pair', session, message: decodePairDocument(body) };
    case messageType.call:
      return { kind: 'call', id: session, ...decodeCall(kept(body)) };
    case messageType.result:
      return { kind: 'result', id: session, value: unpackDocument(kept(body)) };
    case messageType.callError:
      return { kind: 'callError', id: session, ...decodeCallError(body) };
    default:
      throw new LinkFormatError(`message type ${header.type} has no reader`);
  }
}

/** Byte strings of a document are slices of it and live as long as the document does. */
function kept(body: Buffer): Buffer {
  return Buffer.from(body);
}

function decodeCall(body: Buffer): { method: string; parameters: unknown } {
  const document = unpackDocument(body);
  if (!Array.isArray(document) || document.length !== 2) {
    throw new LinkFormatError('a call is not [method, parameters]');
  }
  const [method, parameters]: unknown[] = document;
  if (typeof method !== 'string' || method.length > methodLengthMax) {
    throw new LinkFormatError('the method of a call is not a short text');
  }
  return { method, parameters };
}

function decodeCallError(body: Buffer): { code: string; text: string } {
  const document = unpackDocument(body);
  if (!Array.isArray(document) || document.length !== 2) {
    throw new LinkFormatError('an error of a call is not [code, text]');
  }
  const [code, text]: unknown[] = document;
  if (typeof code !== 'string' || typeof text !== 'string') {
    throw new LinkFormatError('an error of a call is not [code, text]');
  }
  return { code: printable(code, 64), text: printable(text, 4096) };
}

function checkBody(slices: readonly Buffer[], header: MessageHeader): void {
  if (crc32cOfSlices(slices) === header.bodyCrc) return;
  throw new LinkFormatError(`the body of a message of type ${header.type} fails its checksum`);
}
