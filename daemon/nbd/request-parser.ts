/**
 * Cuts the bytes of the transmission phase into requests: a state machine over received chunks.
 *
 *     header ──> payload (kept as slices of the chunks) ──> header
 *        └─────> payload that nobody wants (counted, not kept) ──> header
 *
 * A payload is never copied or joined: it is an array of slices of the chunks that it came in. The
 * chunks therefore belong to the payload from then on (`keptBytes` tells their owner so).
 */
import { requestHeaderBytes, requestMagic } from './constants.ts';

/** The fields of the request being parsed; overwritten by the next one. */
export interface RequestHeader {
  readonly flags: number;
  readonly type: number;
  /** The client's cookie, opaque, in two halves. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** Infinity when it is beyond what a number holds exactly: beyond the end of any export. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** What is to be done with what follows a header. */
export type PayloadOrder = 'none' | 'keep' | 'discard' | 'stop';

export interface RequestSink {
  /** Asked before each request; false stops the parser between two requests. */
  readonly takesRequests: boolean;
  onHeader(header: RequestHeader): PayloadOrder;
  /** The payload that was to be kept, whole; the array is the sink's. */
  onPayload(slices: Buffer[]): void;
  /** The payload that was to be discarded is past. */
  onDiscarded(): void;
  /** The stream is out of step; nothing more is parsed. */
  onViolation(reason: string): void;
}

const offsetHighMax = 2 ** 21;

export class RequestParser implements RequestHeader {
  flags = 0;
  type = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offsetBytes = 0;
  lengthBytes = 0;
  readonly #sink: RequestSink;
  /** A header whose bytes came in more than one chunk. */
  readonly #partial = Buffer.allocUnsafeSlow(requestHeaderBytes);
  #partialBytes = 0;
  #slices: Buffer[] = [];
  #payloadBytes = 0;
  #keep = false;
  #stopped = false;
  #keptBytes = 0;
  #heldBytes = 0;

  constructor(sink: RequestSink) {
    this.#sink = sink;
  }

  /** True inside a payload: the sink can't say no before it is complete. */
  get insidePayload(): boolean {
    return this.#payloadBytes > 0;
  }

  /** Bytes of a payload that is not complete yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** How many bytes of chunks have been kept so far, as slices of them. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /**
   * Parses `chunk` from `position` on; gives where it stopped: the end of the chunk, or before it,
   * between two requests, when the sink takes no more (or wants none ever again).
   */
  parse(chunk: Buffer, position: number): number {
    let at = position;
    while (at < chunk.length && !this.#stopped) {
      if (this.#payloadBytes > 0) {
        at = this.#takePayload(chunk, at);
      } else if (this.#partialBytes === 0 && chunk.length - at >= requestHeaderBytes) {
        if (!this.#sink.takesRequests) return at;
        this.#onHeader(chunk, at);
        at += requestHeaderBytes;
      } else {
        if (this.#partialBytes === 0 && !this.#sink.takesRequests) return at;
        at = this.#takePartialHeader(chunk, at);
      }
    }
    return at;
  }

  #takePayload(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#payloadBytes, chunk.length - at);
    if (this.#keep) {
      this.#slices.push(chunk.subarray(at, at + taken));
      this.#keptBytes += taken;
      this.#heldBytes += taken;
    }
    this.#payloadBytes -= taken;
    if (this.#payloadBytes === 0) {
      if (this.#keep) {
        const slices = this.#slices;
        this.#slices = [];
        this.#heldBytes = 0;
        this.#sink.onPayload(slices);
      } else {
        this.#sink.onDiscarded();
      }
    }
    return at + taken;
  }

  #takePartialHeader(chunk: Buffer, at: number): number {
    const taken = Math.min(requestHeaderBytes - this.#partialBytes, chunk.length - at);
    chunk.copy(this.#partial, this.#partialBytes, at, at + taken);
    this.#partialBytes += taken;
    if (this.#partialBytes === requestHeaderBytes) {
      this.#partialBytes = 0;
      this.#onHeader(this.#partial, 0);
    }
    return at + taken;
  }

  /** | 4 magic | 2 flags | 2 type | 8 cookie | 8 offset | 4 length | */
  #onHeader(bytes: Buffer, at: number): void {
    if (bytes.readUInt32BE(at) !== requestMagic) {
      this.#stopped = true;
      this.#sink.onViolation('bad request magic');
      return;
    }
    this.flags = bytes.readUInt16BE(at + 4);
    this.type = bytes.readUInt16BE(at + 6);
    this.cookieHigh = bytes.readUInt32BE(at + 8);
    this.cookieLow = bytes.readUInt32BE(at + 12);
    const high = bytes.readUInt32BE(at + 16);
    const low = bytes.readUInt32BE(at + 20);
    this.offsetBytes = high < offsetHighMax ? high * 0x1_0000_0000 + low : Number.POSITIVE_INFINITY;
    this.lengthBytes = bytes.readUInt32BE(at + 24);
    const order = this.#sink.onHeader(this);
    if (order === 'none') return;
    if (order === 'stop') {
      this.#stopped = true;
      return;
    }
    this.#keep = order === 'keep';
    this.#payloadBytes = this.lengthBytes;
  }
}
