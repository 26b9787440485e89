/**
 * The transmission phase of one connection: requests from received bytes to the device, answers
 * from the device to the socket, and the limits in between.
 *
 * The socket is read as long as requests may be taken (`takesRequests`). When a limit is reached
 * the rest of the chunk waits, the socket is paused, and what can lift the limit (a completion,
 * room in the device or in the budget, the client taking its replies) asks for a turn, in which
 * parsing goes on. A payload that has begun is received to its end.
 */
import type { Socket } from 'node:net';
import { hasHungUp } from '../../wal/system-calls.ts';
import { receivedMemory } from '../slab-pool.ts';
import { socketDescriptor } from '../system-socket.ts';
import { AnswerWriter } from './answer-writer.ts';
import {
  type BlockCommand,
  type BlockDevice,
  type BlockError,
  blockError,
} from './block-device.ts';
import type { ConnectionHost } from './connection-host.ts';
import { command, commandFlag, payloadBytesMax } from './constants.ts';
import type { NegotiatedExport } from './negotiation.ts';
import { commitReadInPlace, readHeaderBytes } from './replies.ts';
import { ReplyQueue } from './reply-queue.ts';
import { type NbdRequest, noPayload, noTarget, RequestList, type RequestOwner } from './request.ts';
import { checkRequest, type Refusal } from './request-check.ts';
import {
  type PayloadOrder,
  type RequestHeader,
  RequestParser,
  type RequestSink,
} from './request-parser.ts';
import type { TurnTaker } from './turn-queue.ts';

export interface TransmissionOwner {
  /** Every request has been answered and none will be taken any more: close the socket. */
  transmissionDone(): void;
  /** The client has closed its side, which was seen while its socket is not read. */
  clientLeft(): void;
  /** The client has broken the protocol in a way that can't be answered. */
  violation(reason: string): void;
}

/**
 * taking: new requests go to the device. refusing: they are told of the shutdown. done: no more.
 */
type Intake = 'taking' | 'refusing' | 'stopped';

const shuttingDown: Refusal = {
  error: blockError.shutdown,
  message: 'the server is shutting down',
};

/**
 * How long the answer of a socket that is not read counts, to keep system calls off the hot path.
 */
const askIntervalMs = 5;

export class Transmission implements RequestSink, RequestOwner, TurnTaker {
  turnDue = false;
  readonly #negotiated: NegotiatedExport;
  readonly #device: BlockDevice;
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #owner: TransmissionOwner;
  readonly #parser = new RequestParser(this);
  readonly #replies: ReplyQueue;
  readonly #answers: AnswerWriter;
  readonly #inFlight = new RequestList();
  #connected = true;
  #intake: Intake = 'taking';
  #doneTold = false;
  /** While bytes are being parsed: answers are gathered and flushed at the end. */
  #parsing = false;
  #slowedDown = false;
  #waitsForDevice = false;
  #waitsForBudget = false;
  #waitingBytes: Buffer | undefined;
  #countedBytes = 0;
  #clientHasLeft = false;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #receivedAtMs = 0;
  /** The write whose payload is coming; or the refusal that follows a payload nobody wants. */
  #writing: NbdRequest | undefined;
  #refusal: Refusal | undefined;

  constructor(options: {
    negotiated: NegotiatedExport;
    socket: Socket;
    host: ConnectionHost;
    owner: TransmissionOwner;
  }) {
    this.#negotiated = options.negotiated;
    this.#device = options.negotiated.device;
    this.#socket = options.socket;
    this.#host = options.host;
    this.#owner = options.owner;
    this.#replies = new ReplyQueue(options.socket, options.host.arenas, this.#onTaken);
    this.#answers = new AnswerWriter({
      queue: this.#replies,
      structured: options.negotiated.structuredReplies,
      counters: options.host.counters,
    });
  }

  /**
   * False once the client is gone. A socket that is not read tells nothing of that by itself: it is
   * asked, so that a dead client's request is not carried out because others filled the limits
   * (R38, H41).
   */
  get connected(): boolean {
    if (this.#connected && this.#slowedDown && !this.#clientHasLeft) this.#askSocket();
    return this.#connected && !this.#clientHasLeft;
  }

  /** NBD_CMD_DISC has come: what is in flight is finished even when the client's FIN follows. */
  get leaving(): boolean {
    return this.#intake === 'stopped';
  }

  get takesRequests(): boolean {
    const { limits, budget } = this.#host;
    return (
      this.#inFlight.count < limits.requestsInFlightMax &&
      this.#inFlight.bytes + this.#inFlight.zeroedBytes < limits.bytesInFlightMax &&
      !this.#device.congested &&
      // One that holds nothing may take a request: what fills the budget may be held for ever.
      (!budget.full || this.#countedBytes === 0) &&
      this.#replies.pendingBytes < limits.replyQueueBytesMax
    );
  }

  /** Takes received bytes; gives how many of them are kept. */
  receive(chunk: Buffer): number {
    if (!this.#connected || this.#intake === 'stopped') return 0;
    const keptBytes = this.#parse(chunk);
    this.#endTurn();
    return keptBytes;
  }

  takeTurn(): void {
    if (!this.#connected) return;
    if (this.#clientHasLeft) {
      this.#owner.clientLeft();
      return;
    }
    const waiting = this.#waitingBytes;
    this.#count();
    if (waiting !== undefined && this.takesRequests) {
      this.#waitingBytes = undefined;
      const keptBytes = this.#parse(waiting);
      receivedMemory.giveBack(waiting, waiting.length - keptBytes);
    }
    this.#endTurn();
  }

  /** The server is closing: what is in flight is finished, what still comes is refused. */
  refuseFurther(): void {
    if (this.#intake === 'taking') this.#intake = 'refusing';
    this.#endTurn();
  }

  /** Answers everything in flight with "shutting down"; the device completes it into the void. */
  abandonAll(): void {
    for (let request = this.#inFlight.first; request !== undefined; request = request.next) {
      if (request.abandoned) continue;
      request.abandoned = true;
      this.#answers.refused(request, shuttingDown);
    }
    this.#intake = 'stopped';
    this.#waitingBytes = undefined;
    this.#endTurn();
  }

  /** The socket is gone. What is in flight stays with the device until it completes it. */
  disconnect(): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.#intake = 'stopped';
    this.#waitingBytes = undefined;
    this.#replies.drop();
    if (this.#writing !== undefined) this.#host.requests.give(this.#writing);
    this.#writing = undefined;
    this.#count();
  }

  onHeader(header: RequestHeader): PayloadOrder {
    if (header.type === command.disconnect) {
      this.#intake = 'stopped';
      return 'stop';
    }
    const refusal =
      this.#intake === 'refusing' ? shuttingDown : checkRequest(header, this.#negotiated);
    if (header.type === command.write) return this.#onWriteHeader(header, refusal);
    if (refusal !== undefined) this.#answers.refused(header, refusal);
    else this.#take(header);
    return 'none';
  }

  onPayload(slices: Buffer[]): void {
    const request = this.#writing;
    if (request === undefined) return;
    this.#writing = undefined;
    request.payload = slices;
    this.#submit(request);
  }

  onDiscarded(): void {
    const request = this.#writing;
    const refusal = this.#refusal;
    this.#writing = undefined;
    this.#refusal = undefined;
    if (request === undefined || refusal === undefined) return;
    this.#answers.refused(request, refusal);
    this.#host.requests.give(request);
  }

  onViolation(reason: string): void {
    this.#intake = 'stopped';
    this.#owner.violation(reason);
  }

  requestDone(request: NbdRequest, error: BlockError): void {
    this.#inFlight.remove(request);
    if (this.#connected) {
      if (!request.abandoned) this.#answers.done(request, error);
      if (!this.#parsing) this.#host.turns.add(this);
    } else {
      this.#count();
    }
    this.#host.requests.give(request);
  }

  #askSocket(): void {
    const nowMs = this.#host.nowMs();
    if (nowMs - this.#askedAtMs < askIntervalMs) return;
    this.#askedAtMs = nowMs;
    const descriptor = socketDescriptor(this.#socket);
    if (descriptor === undefined || !hasHungUp(descriptor)) return;
    this.#clientHasLeft = true;
    this.#host.turns.add(this);
  }

  /** Gives how many bytes of the chunk are kept, as payloads or because they have to wait. */
  #parse(chunk: Buffer): number {
    this.#parsing = true;
    this.#receivedAtMs = this.#host.nowMs();
    const keptBefore = this.#parser.keptBytes;
    const end = this.#parser.parse(chunk, 0);
    this.#parsing = false;
    const payloadBytes = this.#parser.keptBytes - keptBefore;
    if (end === chunk.length || this.#intake === 'stopped') return payloadBytes;
    this.#waitingBytes = chunk.subarray(end);
    return payloadBytes + this.#waitingBytes.length;
  }

  /** Sends what was gathered, then sees whether the socket may be read on. */
  #endTurn(): void {
    if (!this.#connected) return;
    if (this.#replies.gatheredBytes > 0) this.#replies.flush();
    this.#count();
    if (
      this.#intake !== 'taking' &&
      this.#inFlightUnanswered === 0 &&
      this.#waitingBytes === undefined
    ) {
      if (this.#intake === 'stopped' || this.#writing === undefined) this.#tellDone();
    }
    if (this.#mustWait) this.#slowDown();
    else if (this.#slowedDown) {
      this.#slowedDown = false;
      this.#socket.resume();
    }
  }

  get #inFlightUnanswered(): number {
    // Abandoned ones have been answered; abandoning is for all at once, and for good.
    return this.#inFlight.first?.abandoned === true ? 0 : this.#inFlight.count;
  }

  get #mustWait(): boolean {
    if (this.#waitingBytes !== undefined) return true;
    return this.#intake === 'taking' && !this.#parser.insidePayload && !this.takesRequests;
  }

  #tellDone(): void {
    if (this.#doneTold) return;
    this.#doneTold = true;
    this.#intake = 'stopped';
    this.#owner.transmissionDone();
  }

  #slowDown(): void {
    if (!this.#slowedDown) {
      this.#slowedDown = true;
      this.#host.counters.slowedDown += 1;
      this.#socket.pause();
    }
    if (this.#device.congested) {
      if (!this.#waitsForDevice) {
        this.#waitsForDevice = true;
        this.#device.whenRoom(this.#onDeviceRoom);
      }
    } else if (this.#host.budget.full) {
      if (!this.#waitsForBudget) {
        this.#waitsForBudget = true;
        this.#host.budget.whenRoom(this.#onBudgetRoom);
      }
    } else if (this.takesRequests) {
      // The limit was lifted between the parser's question and this one.
      this.#host.turns.add(this);
    }
  }

  readonly #onDeviceRoom = (): void => {
    this.#waitsForDevice = false;
    if (this.#connected) this.#host.turns.add(this);
  };

  readonly #onBudgetRoom = (): void => {
    this.#waitsForBudget = false;
    if (this.#connected) this.#host.turns.add(this);
  };

  readonly #onTaken = (): void => {
    if (!this.#connected) return;
    this.#replies.release();
    if (this.#slowedDown) this.#host.turns.add(this);
    else this.#count();
  };

  /** Keeps the server's budget told of what this connection holds. */
  #count(): void {
    let bytes = this.#inFlight.bytes;
    if (this.#connected) bytes += this.#replies.pendingBytes + this.#parser.heldBytes;
    if (bytes === this.#countedBytes) return;
    const deltaBytes = bytes - this.#countedBytes;
    this.#countedBytes = bytes;
    this.#host.budget.change(deltaBytes);
  }

  #onWriteHeader(header: RequestHeader, refusal: Refusal | undefined): PayloadOrder {
    if (header.lengthBytes > payloadBytesMax) {
      this.onViolation('write longer than the maximum payload');
      return 'stop';
    }
    if (header.lengthBytes === 0) {
      this.#answers.refused(header, refusal);
      return 'none';
    }
    this.#writing = this.#newRequest(header, 'write');
    this.#writing.chargedBytes = header.lengthBytes;
    this.#refusal = refusal;
    return refusal === undefined ? 'keep' : 'discard';
  }

  #take(header: RequestHeader): void {
    switch (header.type) {
      case command.read:
        this.#takeRead(header);
        return;
      case command.flush:
        this.#submit(this.#newRequest(header, 'flush'));
        return;
      case command.trim:
        this.#takeRange(header, 'trim');
        return;
      case command.cache:
        this.#takeRange(header, 'cache');
        return;
      case command.blockStatus:
        this.#takeRange(header, 'status');
        return;
      case command.writeZeroes:
        this.#takeRange(header, 'writeZeroes');
        return;
      default:
        throw new Error(`request type ${header.type} passed the check`);
    }
  }

  #takeRange(header: RequestHeader, name: BlockCommand): void {
    if (header.lengthBytes === 0) {
      this.#answers.refused(header, undefined);
      return;
    }
    const request = this.#newRequest(header, name);
    request.noHole = (header.flags & commandFlag.noHole) !== 0;
    if (request.noHole) request.zeroedBytes = header.lengthBytes;
    this.#submit(request);
  }

  #takeRead(header: RequestHeader): void {
    const { lengthBytes } = header;
    if (lengthBytes === 0) {
      this.#answers.emptyRead(header);
      return;
    }
    if (lengthBytes <= this.#host.limits.readNowBytesMax && this.#readNow(header)) return;
    const request = this.#newRequest(header, 'read');
    request.target = Buffer.allocUnsafe(lengthBytes);
    request.chargedBytes = lengthBytes;
    this.#submit(request);
  }

  /** Reads straight into the reply, if the device has the data at hand. */
  #readNow(header: RequestHeader): boolean {
    const { offsetBytes, lengthBytes } = header;
    const structured = this.#negotiated.structuredReplies;
    const headerBytes = readHeaderBytes(structured);
    const arena = this.#replies.reserve(headerBytes + lengthBytes);
    const start = this.#replies.position + headerBytes;
    const data = arena.subarray(start, start + lengthBytes);
    if (!this.#device.readNow(data, offsetBytes)) return false;
    commitReadInPlace(this.#replies, header, { offsetBytes, data, structured });
    this.#count();
    this.#host.counters.requests += 1;
    return true;
  }

  #newRequest(header: RequestHeader, name: BlockCommand): NbdRequest {
    const request = this.#host.requests.take();
    request.command = name;
    request.offsetBytes = header.offsetBytes;
    request.lengthBytes = header.lengthBytes;
    request.flags = header.flags;
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.noHole = false;
    request.payload = noPayload;
    request.target = noTarget;
    request.chargedBytes = 0;
    request.zeroedBytes = 0;
    request.owner = this;
    return request;
  }

  #submit(request: NbdRequest): void {
    request.receivedAtMs = this.#receivedAtMs;
    this.#inFlight.add(request);
    if (request.chargedBytes > 0) this.#count();
    this.#device.submit(request);
  }
}
