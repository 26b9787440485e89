/**
 * Chooses the reply to each request of a connection, simple or structured as was negotiated, and
 * counts it. Reads are always answered structured then; what succeeds without data gets the shorter
 * simple reply, and every error a chunk with words.
 */
import { type BlockError, blockError } from './block-device.ts';
import type { NbdCounters } from './connection-host.ts';
import { commandFlag } from './constants.ts';
import {
  type Cookie,
  writeEmptyChunk,
  writeErrorChunk,
  writeRead,
  writeSimpleReply,
  writeStatus,
} from './replies.ts';
import type { ReplyQueue } from './reply-queue.ts';
import type { NbdRequest } from './request.ts';
import type { Refusal } from './request-check.ts';

export class AnswerWriter {
  readonly #queue: ReplyQueue;
  readonly #structured: boolean;
  readonly #counters: NbdCounters;

  constructor(options: { queue: ReplyQueue; structured: boolean; counters: NbdCounters }) {
    this.#queue = options.queue;
    this.#structured = options.structured;
    this.#counters = options.counters;
  }

  /** Answers what the device has done, or has failed to do. */
  done(request: NbdRequest, error: BlockError): void {
    if (error !== blockError.none) {
      this.#failed(request, error);
      return;
    }
    this.#counters.requests += 1;
    if (request.command === 'read') {
      writeRead(this.#queue, request, {
        offsetBytes: request.offsetBytes,
        data: request.target,
        structured: this.#structured,
      });
    } else if (request.command === 'status') {
      writeStatus(this.#queue, request, {
        extents: request.extents,
        lengthBytes: request.lengthBytes,
        one: (request.flags & commandFlag.requestOne) !== 0,
      });
    } else {
      writeSimpleReply(this.#queue, request, blockError.none);
    }
  }

  /** Answers without the device: with the refusal, or, for a request of nothing, with success. */
  refused(cookie: Cookie, refusal: Refusal | undefined): void {
    if (refusal === undefined) {
      this.#counters.requests += 1;
      writeSimpleReply(this.#queue, cookie, blockError.none);
      return;
    }
    this.#countError();
    if (this.#structured) writeErrorChunk(this.#queue, cookie, refusal);
    else writeSimpleReply(this.#queue, cookie, refusal.error);
  }

  /** A read of nothing; it must not be a simple reply where structured ones were negotiated. */
  emptyRead(cookie: Cookie): void {
    this.#counters.requests += 1;
    if (this.#structured) writeEmptyChunk(this.#queue, cookie);
    else writeSimpleReply(this.#queue, cookie, blockError.none);
  }

  /** The device has failed the request: of a range nothing is known to be valid from its start. */
  #failed(request: NbdRequest, error: BlockError): void {
    this.#countError();
    if (!this.#structured) {
      writeSimpleReply(this.#queue, request, error);
      return;
    }
    const { offsetBytes, lengthBytes } = request;
    const message = failureText(error);
    const where = lengthBytes > 0 ? { offsetBytes } : {};
    writeErrorChunk(this.#queue, request, { error, message, ...where });
  }

  #countError(): void {
    this.#counters.requests += 1;
    this.#counters.errors += 1;
  }
}

function failureText(error: BlockError): string {
  switch (error) {
    case blockError.io:
      return 'the volume could not serve this';
    case blockError.noSpace:
      return 'no space is left';
    case blockError.shutdown:
      return 'the volume is shutting down';
    case blockError.permission:
      return 'not permitted';
    default:
      return 'the request failed';
  }
}
