/**
 * This site's connection to its witness: kept up while the site runs, used for the register's
 * rounds only. It knows whether the witness is there, when it last answered, and if not, why.
 */
import { Calls } from '../replication/link/calls.ts';
import type { Clock, Random } from '../replication/link/clock.ts';
import { Connection, type ConnectionCounters } from '../replication/link/connection.ts';
import { type CompleteHandshake, Connector } from '../replication/link/connector.ts';
import type { LinkReason } from '../replication/link/errors.ts';
import type { OwnIdentity } from '../replication/link/handshake.ts';
import { defaultLinkTimeouts } from '../replication/link/limits.ts';
import type { LinkMessage } from '../replication/link/message-reader.ts';
import type { Network, Stream } from '../replication/link/network.ts';
import type { StoreId } from '../wal/frame.ts';
import { witnessLinkLimits } from './witness-link-limits.ts';

/** A round of the register is quick or fails; whoever asked repeats it. */
const roundMsMax = 2000;

export interface WitnessLinkOptions {
  readonly name: string;
  readonly address: string;
  readonly own: OwnIdentity;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly wallMs: () => number;
  /** It is there, with this store. */
  readonly connected: (storeId: StoreId) => void;
  /** It is not, or no longer; called again when the reason changes. */
  readonly lost: (reason: LinkReason) => void;
}

/** How the witness is, as status and metrics show it. */
export interface WitnessFigures {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  /** Since when it is or is not connected, by the wall clock. */
  readonly sinceMs: number;
  /** When it answered last, by the wall clock; undefined if it never did. */
  readonly lastAnswerMs: number | undefined;
  readonly roundTripMs: number | undefined;
  readonly problem: string | undefined;
}

export class WitnessLink {
  readonly #options: WitnessLinkOptions;
  readonly #connector: Connector;
  readonly #calls: Calls;
  readonly #counters: ConnectionCounters = {
    bytesIn: 0,
    bytesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    framesIn: 0,
    framesOut: 0,
    roundTripMs: undefined,
  };
  #connection: Connection | undefined;
  #sinceMs: number;
  #lastAnswerMs: number | undefined;
  #problem: string | undefined = 'not connected yet';
  #closed = false;
  #released: (() => void) | undefined;

  constructor(options: WitnessLinkOptions) {
    const { clock, name, own } = options;
    this.#options = options;
    this.#sinceMs = options.wallMs();
    this.#calls = new Calls({
      clock,
      limits: witnessLinkLimits,
      peerSiteName: name,
      answer: (method) => Promise.reject(new Error(`a witness asks nothing, not ${method}`)),
    });
    this.#connector = new Connector({
      ...options,
      timeouts: defaultLinkTimeouts,
      rules: {
        own,
        peerSiteName: name,
        acceptsPeerStore: () => undefined,
        lastSession: () => 0,
      },
      purpose: 'witness',
      established: (stream, result) => this.#established(stream, result),
      failed: (reason) => this.#down(reason),
    });
  }

  start(): void {
    this.#connector.dialNow();
  }

  /** Sends what is queued, then ends; after it nothing is called any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#connector.stop();
    const connection = this.#connection;
    this.#connection = undefined;
    this.#calls.disconnected();
    if (connection === undefined) return;
    await new Promise<void>((resolve) => {
      this.#released = resolve;
      connection.end('flush');
    });
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  get figures(): WitnessFigures {
    const { name, address } = this.#options;
    const { connected } = this;
    return {
      name,
      address,
      connected,
      sinceMs: this.#sinceMs,
      lastAnswerMs: this.#lastAnswerMs,
      roundTripMs: connected ? this.#counters.roundTripMs : undefined,
      problem: this.#problem,
    };
  }

  /** Asks it; rejects when it is not there, does not answer in time, or answers with an error. */
  async call(method: string, parameters: unknown): Promise<unknown> {
    const answer = await this.#calls.call(method, parameters, roundMsMax);
    this.#lastAnswerMs = this.#options.wallMs();
    return answer;
  }

  #established(stream: Stream, { peer, rest }: CompleteHandshake): void {
    const { clock, wallMs } = this.#options;
    const connection: Connection = new Connection({
      stream,
      clock,
      purpose: 'witness',
      limits: witnessLinkLimits,
      timeouts: defaultLinkTimeouts,
      received: rest,
      counters: this.#counters,
      events: {
        message: (message) => this.#take(connection, message),
        drained: () => undefined,
        closed: (reason) => this.#lost(connection, reason),
        released: () => this.#released?.(),
      },
    });
    this.#connection = connection;
    this.#problem = undefined;
    this.#sinceMs = wallMs();
    this.#lastAnswerMs = wallMs();
    this.#calls.connected(connection);
    connection.start();
    this.#options.connected(peer.storeId);
  }

  #take(connection: Connection, message: LinkMessage): void {
    if (message.kind === 'result') this.#calls.onResult(message.id, message.value);
    else if (message.kind === 'callError') {
      this.#calls.onCallError(message.id, message.code, message.text);
    } else connection.violated(`a site is not sent a "${message.kind}" by its witness`);
  }

  #lost(connection: Connection, { code, text }: LinkReason): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#calls.disconnected();
    this.#down({ code, text: `${this.#options.name}: ${text}` });
    this.#connector.dialAgain();
  }

  /** Told on change only: a witness that stays away is one line in the log. */
  #down(reason: LinkReason): void {
    if (this.#closed || this.#problem === reason.text) return;
    if (this.#problem === undefined) this.#sinceMs = this.#options.wallMs();
    this.#problem = reason.text;
    this.#options.lost(reason);
  }
}
