/**
 * Calls over the control connection: a method and parameters one way, a result or an error the
 * other. The answer of a call that was under way when its connection went is unknown, and so is
 * that of one that timed out; whoever calls (the register, administration) knows how to repeat.
 */
import assert from 'node:assert/strict';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { LinkCallError } from './errors.ts';
import type { LinkLimits } from './limits.ts';
import { checkPlainMsgpack, packDocument } from './msgpack.ts';
import type { MessageType } from './wire-format.ts';
import { encodeWithBody, messageType } from './wire-format.ts';

export interface CallsOptions {
  readonly clock: Clock;
  readonly limits: LinkLimits;
  readonly peerSiteName: string;
  answer(method: string, parameters: unknown): Promise<unknown>;
}

interface PendingCall {
  readonly method: string;
  resolve(value: unknown): void;
  reject(error: LinkCallError): void;
  cancelTimer(): void;
}

export class Calls {
  readonly #options: CallsOptions;
  readonly #pending = new Map<number, PendingCall>();
  #connection: Connection | undefined;
  #lastId = 0;
  #serving = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  connected(connection: Connection): void {
    this.#connection = connection;
  }

  /** Every call under way fails: its outcome is unknown. */
  disconnected(): void {
    this.#connection = undefined;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of pending) {
      call.cancelTimer();
      const text = `the connection to ${this.#options.peerSiteName} was lost during ${call.method}`;
      call.reject(new LinkCallError('ERR_LINK_LOST', text));
    }
  }

  call(method: string, parameters: unknown, timeoutMs: number): Promise<unknown> {
    const { clock, limits, peerSiteName } = this.#options;
    const connection = this.#connection;
    if (connection === undefined) {
      const text = `${method}: there is no connection to ${peerSiteName}`;
      return Promise.reject(new LinkCallError('ERR_LINK_DOWN', text));
    }
    if (this.#pending.size >= limits.pendingCallsMax) {
      const text = `${method}: ${limits.pendingCallsMax} calls to ${peerSiteName} are under way`;
      return Promise.reject(new LinkCallError('ERR_LINK_BUSY', text));
    }
    const body = packDocument([method, parameters]);
    const unsendable = checkPlainMsgpack(body);
    assert(unsendable === undefined, `the parameters of ${method} are plain data: ${unsendable}`);
    if (body.length > limits.callBytesMax) {
      const text = `${method}: ${body.length} bytes, at most ${limits.callBytesMax} can be sent`;
      return Promise.reject(new LinkCallError('ERR_LINK_TOO_LARGE', text));
    }
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const cancelTimer = clock.setTimer(timeoutMs, () => {
        this.#pending.delete(id);
        const text = `${method}: no answer from ${peerSiteName} within ${timeoutMs} ms`;
        reject(new LinkCallError('ERR_LINK_TIMEOUT', text));
      });
      this.#pending.set(id, { method, resolve, reject, cancelTimer });
      connection.send(encodeWithBody(messageType.call, id, [body]));
    });
  }

  onResult(id: number, value: unknown): void {
    this.#settle(id)?.resolve(value);
  }

  onCallError(id: number, code: string, text: string): void {
    this.#settle(id)?.reject(new LinkCallError(code, text, true));
  }

  /** Serves a call of the peer; the answer goes back on the connection on which it came, or not. */
  onCall(connection: Connection, id: number, method: string, parameters: unknown): void {
    if (this.#serving >= this.#options.limits.pendingCallsMax) {
      this.#answerError(connection, id, 'ERR_LINK_BUSY', `${method}: too many calls at once`);
      return;
    }
    this.#serving += 1;
    this.#serve(method, parameters).then(
      (value) => {
        this.#serving -= 1;
        this.#answer(connection, id, method, value);
      },
      (error: unknown) => {
        this.#serving -= 1;
        // A broken invariant is not an answer: it goes to the top and ends the process.
        if (error instanceof assert.AssertionError) throw error;
        this.#answerError(connection, id, codeOf(error), textOf(error));
      },
    );
  }

  async #serve(method: string, parameters: unknown): Promise<unknown> {
    return await this.#options.answer(method, parameters);
  }

  #answer(connection: Connection, id: number, method: string, value: unknown): void {
    const body = packDocument(value);
    const unsendable = checkPlainMsgpack(body);
    assert(unsendable === undefined, `the result of ${method} is plain data: ${unsendable}`);
    if (body.length <= this.#options.limits.callBytesMax) {
      this.#send(connection, messageType.result, id, body);
      return;
    }
    const text = `${method}: the answer has ${body.length} bytes, too many to send`;
    this.#answerError(connection, id, 'ERR_LINK_TOO_LARGE', text);
  }

  #answerError(connection: Connection, id: number, code: string, text: string): void {
    const body = packDocument([code.slice(0, 64), text.slice(0, 4096)]);
    this.#send(connection, messageType.callError, id, body);
  }

  #send(connection: Connection, type: MessageType, id: number, body: Buffer): void {
    if (connection !== this.#connection) return;
    connection.send(encodeWithBody(type, id, [body]));
  }

  #settle(id: number): PendingCall | undefined {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    call?.cancelTimer();
    return call;
  }
}

function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error) {
    if (typeof error.code === 'string') return error.code;
  }
  return 'ERR_INTERNAL';
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
