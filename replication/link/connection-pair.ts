/**
 * The two connections between the sites, `control` and `data`: who makes them, when they count, and
 * what goes with what. The site whose name sorts first dials. It makes control first, then data; a
 * data connection is taken only from the life of the peer that has the control connection. The link
 * is up while both are there. Losing data leaves control alone, because that is when the register
 * is needed most; losing control ends both. A new connection of the peer replaces the one it had.
 *
 * What goes over them is no concern of this file: `peer-link.ts`.
 */
import assert from 'node:assert/strict';
import type { StoreId } from '../../wal/frame.ts';
import { Acceptor } from './acceptor.ts';
import type { Clock, Random } from './clock.ts';
import type { ConnectionCounters } from './connection.ts';
import { Connection } from './connection.ts';
import type { CompleteHandshake } from './connector.ts';
import { Connector } from './connector.ts';
import type { LinkReason } from './errors.ts';
import type { HandshakeRules, OwnIdentity } from './handshake.ts';
import type { Greeting } from './handshake-format.ts';
import type { LinkLimits, LinkTimeouts } from './limits.ts';
import type { LinkMessage } from './message-reader.ts';
import type { Network, Stream } from './network.ts';
import type { Purpose } from './wire-format.ts';

/** All are called from events, timers and microtasks, never from within a method. */
export interface ConnectionPairEvents {
  controlUp(connection: Connection): void;
  controlDown(): void;
  /** The data connection is there, and control with it. Nothing has been read from it yet. */
  up(data: Connection, peer: Greeting): void;
  down(): void;
  /** Why the link is down, each time the reason changes. */
  why(reason: LinkReason): void;
  /** Something that does not change the state of the link; at most one per second. */
  notice(reason: LinkReason): void;
  message(connection: Connection, message: LinkMessage): void;
  /** The queue of the data connection has become shorter. */
  drained(): void;
  /** The connection for bulk is there: beside the link, which is up or down without it. */
  bulkUp(connection: Connection): void;
  bulkDown(): void;
}

export interface ConnectionPairOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly own: OwnIdentity;
  readonly peer: { readonly siteName: string; readonly address: string };
  readonly listen: string;
  acceptsPeerStore(storeId: StoreId): string | undefined;
  lastSession(): number;
  readonly role: 'dialer' | 'acceptor';
  readonly limits: LinkLimits;
  readonly timeouts: LinkTimeouts;
  readonly counters: ConnectionCounters;
  readonly events: ConnectionPairEvents;
}

interface Peered {
  readonly connection: Connection;
  readonly greeting: Greeting;
}

type PairPurpose = Exclude<Purpose, 'witness'>;

const noticeIntervalMs = 1000;

export class ConnectionPair {
  readonly #options: ConnectionPairOptions;
  readonly #connectors: Readonly<Record<PairPurpose, Connector>> | undefined;
  readonly #acceptor: Acceptor | undefined;
  readonly #connections: Record<PairPurpose, Peered | undefined> = {
    control: undefined,
    data: undefined,
    bulk: undefined,
  };
  #closed = false;
  /** Why it is down, as last told. */
  #reason: LinkReason | undefined;
  #lastNoticeAtMs = Number.NEGATIVE_INFINITY;
  /** Streams that are not gone yet; `close` waits for them. */
  #streamsAlive = 0;
  #onAllStreamsGone: (() => void) | undefined;

  constructor(options: ConnectionPairOptions) {
    const rules: HandshakeRules = {
      own: options.own,
      peerSiteName: options.peer.siteName,
      acceptsPeerStore: (storeId) => options.acceptsPeerStore(storeId),
      lastSession: () => options.lastSession(),
    };
    this.#options = options;
    this.#connectors =
      options.role === 'dialer'
        ? {
            control: this.#connector('control', rules),
            data: this.#connector('data', rules),
            bulk: this.#connector('bulk', rules),
          }
        : undefined;
    this.#acceptor = options.role === 'acceptor' ? this.#newAcceptor(rules) : undefined;
  }

  /** @throws LinkStartError ERR_LINK_LISTEN when it has to listen and cannot. */
  async start(): Promise<void> {
    this.#connectors?.control.dialNow();
    await this.#acceptor?.start();
  }

  /** Sends what is queued and ends both; resolves when nothing is left. No event comes any more. */
  async close(): Promise<void> {
    this.#closed = true;
    const purposes = ['data', 'control', 'bulk'] as const;
    for (const purpose of purposes) {
      this.#connectors?.[purpose].stop();
      const ended = this.#connections[purpose];
      this.#connections[purpose] = undefined;
      ended?.connection.end('flush');
    }
    await this.#acceptor?.close();
    if (this.#streamsAlive === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllStreamsGone = resolve;
    });
  }

  get listeningOn(): string | undefined {
    return this.#acceptor?.address;
  }

  /** There while the link is up. */
  get data(): Connection | undefined {
    return this.#connections.data?.connection;
  }

  #connector(purpose: PairPurpose, rules: HandshakeRules): Connector {
    const { network, clock, random, timeouts, peer } = this.#options;
    return new Connector({
      network,
      clock,
      random,
      timeouts,
      rules,
      purpose,
      address: peer.address,
      established: (stream, result) => this.#onEstablished(stream, result),
      failed: (reason) => {
        if (purpose !== 'bulk') this.#tellDown(reason);
      },
    });
  }

  #newAcceptor(rules: HandshakeRules): Acceptor {
    const { network, clock, limits, timeouts, listen } = this.#options;
    return new Acceptor({
      network,
      clock,
      limits,
      timeouts,
      rules,
      address: listen,
      admit: (peer) => this.#admit(peer),
      established: (stream, result) => this.#onEstablished(stream, result),
      failed: (reason, known) => {
        // A stranger's failure must not hide why the peer itself is not there.
        if (this.#connections.data !== undefined || !known) this.#notice(reason);
        else this.#tellDown(reason);
      },
    });
  }

  #admit(peer: Greeting): LinkReason | undefined {
    if (peer.purpose === 'control') return undefined;
    if (peer.purpose === 'witness') {
      const text = `${this.#options.own.siteName} is a site, not a witness`;
      return { code: 'purpose', text };
    }
    const control = this.#connections.control?.greeting;
    if (control?.bootId === peer.bootId && control.storeId === peer.storeId) return undefined;
    const here = control === undefined ? 'none' : `one of boot ${control.bootId}`;
    const text =
      `the control connection has to come first: ${peer.siteName} is at boot ${peer.bootId}, ` +
      `${this.#options.own.siteName} has ${here}`;
    return { code: 'no-control', text };
  }

  #onEstablished(stream: Stream, result: CompleteHandshake): void {
    const { peer: greeting } = result;
    const { purpose } = greeting;
    assert(purpose !== 'witness', 'a site is asked for connections of the pair only');
    const { control } = this.#connections;
    const text = `the peer made a new ${purpose} connection`;
    this.#lose(purpose, { code: 'replaced', text });
    const connection = this.#newConnection(stream, result);
    if (purpose !== 'control' && control?.greeting.bootId !== greeting.bootId) {
      // Only at the dialer: the peer was restarted between the two, control is of its last life.
      connection.end('drop');
      const restarted = `${greeting.siteName} was restarted (boot ${greeting.bootId})`;
      this.#lose('control', { code: 'restarted', text: restarted });
      return;
    }
    this.#connections[purpose] = { connection, greeting };
    if (purpose === 'control') {
      this.#options.events.controlUp(connection);
      this.#connectors?.data.dialNow();
    } else if (purpose === 'bulk') {
      this.#options.events.bulkUp(connection);
    } else {
      this.#reason = undefined;
      this.#options.events.up(connection, greeting);
      if (this.#connections.bulk === undefined) this.#connectors?.bulk.dialNow();
    }
    connection.start();
  }

  #newConnection(stream: Stream, result: CompleteHandshake): Connection {
    const { clock, limits, timeouts, counters, events } = this.#options;
    const { purpose } = result.peer;
    assert(purpose !== 'witness', 'a site is asked for connections of the pair only');
    this.#streamsAlive += 1;
    const connection: Connection = new Connection({
      stream,
      clock,
      purpose,
      limits,
      timeouts,
      received: result.rest,
      counters,
      events: {
        message: (message) => events.message(connection, message),
        drained: () => {
          if (purpose === 'data') events.drained();
        },
        closed: (reason) => {
          if (this.#connections[purpose]?.connection === connection) this.#lose(purpose, reason);
        },
        released: () => this.#onReleased(),
      },
    });
    return connection;
  }

  /** A connection is gone or has to go. Called from events only. */
  #lose(purpose: PairPurpose, reason: LinkReason): void {
    const lost = this.#connections[purpose];
    if (lost === undefined) return;
    if (purpose === 'bulk') {
      this.#loseBulk();
      this.#connectors?.bulk.dialAgain();
      return;
    }
    const wasUp = this.#connections.data !== undefined;
    this.#connections[purpose] = undefined;
    lost.connection.end('drop');
    if (purpose === 'control') {
      this.#connections.data?.connection.end('drop');
      this.#connections.data = undefined;
      this.#connectors?.data.stop();
      this.#connectors?.bulk.stop();
      this.#loseBulk();
    }
    if (purpose === 'control') this.#options.events.controlDown();
    if (wasUp) this.#options.events.down();
    const { siteName } = this.#options.peer;
    this.#tellDown({ code: reason.code, text: `${siteName}: ${reason.text}` });
    this.#connectors?.[purpose].dialAgain();
  }

  #loseBulk(): void {
    const { bulk } = this.#connections;
    if (bulk === undefined) return;
    this.#connections.bulk = undefined;
    bulk.connection.end('drop');
    this.#options.events.bulkDown();
  }

  #onReleased(): void {
    this.#streamsAlive -= 1;
    if (this.#streamsAlive === 0) this.#onAllStreamsGone?.();
  }

  /** Told on change only: a peer that stays away is one line in the log, not one per attempt. */
  #tellDown(reason: LinkReason): void {
    if (this.#closed) return;
    const last = this.#reason;
    if (last?.code === reason.code && last.text === reason.text) return;
    this.#reason = reason;
    this.#options.events.why(reason);
  }

  #notice(reason: LinkReason): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#closed || nowMs - this.#lastNoticeAtMs < noticeIntervalMs) return;
    this.#lastNoticeAtMs = nowMs;
    this.#options.events.notice(reason);
  }
}
