/**
 * The request objects that a connection hands to its device, and the pool that they come from.
 * While a request is out it is linked into its connection's list; the list is what a connection
 * knows about its requests in flight.
 */
import assert from 'node:assert/strict';
import type { BlockCommand, BlockError, BlockRequest, StatusExtent } from './block-device.ts';

/** Who gave a request out and takes it back. */
export interface RequestOwner {
  /** False once the client can't hear the answer any more. */
  readonly connected: boolean;
  requestDone(request: NbdRequest, error: BlockError): void;
}

export const noPayload: readonly Buffer[] = [];
export const noTarget: Buffer = Buffer.alloc(0);
export const noExtents: readonly StatusExtent[] = [];

export class NbdRequest implements BlockRequest {
  command: BlockCommand = 'flush';
  offsetBytes = 0;
  lengthBytes = 0;
  payload: readonly Buffer[] = noPayload;
  noHole = false;
  target: Buffer = noTarget;
  extents: readonly StatusExtent[] = noExtents;
  receivedAtMs = 0;
  /** The wire's part: cookie and flags of the header. */
  cookieHigh = 0;
  cookieLow = 0;
  flags = 0;
  /** What the request counts for in the limits of bytes in flight. */
  chargedBytes = 0;
  /** Zeroes that it has written (NO_HOLE): they take no memory, but as long as data would. */
  zeroedBytes = 0;
  /** The client has been answered by the server itself (shutdown): complete goes into the void. */
  abandoned = false;
  owner: RequestOwner | undefined;
  previous: NbdRequest | undefined;
  next: NbdRequest | undefined;

  get connected(): boolean {
    return this.owner?.connected === true && !this.abandoned;
  }

  complete(error: BlockError): void {
    const { owner } = this;
    assert(owner !== undefined, 'a request is completed once');
    owner.requestDone(this, error);
  }
}

/** Requests that are not out at the moment: as many as are worth keeping. */
export class RequestPool {
  readonly #free: NbdRequest[] = [];
  readonly #keepMax: number;

  constructor(keepMax: number) {
    this.#keepMax = keepMax;
  }

  take(): NbdRequest {
    return this.#free.pop() ?? new NbdRequest();
  }

  /** Lets go of everything the request refers to, so that a pooled one keeps no memory alive. */
  give(request: NbdRequest): void {
    request.payload = noPayload;
    request.target = noTarget;
    request.extents = noExtents;
    request.owner = undefined;
    request.abandoned = false;
    if (this.#free.length < this.#keepMax) this.#free.push(request);
  }
}

/** A connection's requests in flight, oldest first: a doubly linked list through the requests. */
export class RequestList {
  #first: NbdRequest | undefined;
  #last: NbdRequest | undefined;
  #count = 0;
  #bytes = 0;
  #zeroedBytes = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get zeroedBytes(): number {
    return this.#zeroedBytes;
  }

  get first(): NbdRequest | undefined {
    return this.#first;
  }

  add(request: NbdRequest): void {
    request.previous = this.#last;
    request.next = undefined;
    if (this.#last === undefined) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
    this.#count += 1;
    this.#bytes += request.chargedBytes;
    this.#zeroedBytes += request.zeroedBytes;
  }

  remove(request: NbdRequest): void {
    const { previous, next } = request;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    request.previous = undefined;
    request.next = undefined;
    this.#count -= 1;
    this.#bytes -= request.chargedBytes;
    this.#zeroedBytes -= request.zeroedBytes;
    assert(this.#count >= 0, 'a request is in the list once');
  }
}
