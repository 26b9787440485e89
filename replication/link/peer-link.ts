/**
 * The link between the two sites, as the rest of the program sees it: sessions of the groups on the
 * data connection, calls on the control connection. This file checks and routes what goes through;
 * the connections are kept by `connection-pair.ts`, the bytes are in `wire-format.ts`.
 *
 * The handler is called from events, timers and microtasks only, never from within a method of the
 * link, so a caller can carry out a list of effects without being entered again.
 */
import assert from 'node:assert/strict';
import type { Frame, GroupId, StoreId } from '../../wal/frame.ts';
import type { PairMessage } from '../core/messages.ts';
import { Calls } from './calls.ts';
import type { Clock, Random } from './clock.ts';
import type { Connection, ConnectionCounters } from './connection.ts';
import type { ConnectionPairEvents } from './connection-pair.ts';
import { ConnectionPair } from './connection-pair.ts';
import type { LinkReason } from './errors.ts';
import { LinkStartError } from './errors.ts';
import type { ForwardReply, ForwardRequest } from './forward-format.ts';
import { encodeForward, encodeForwardReply } from './forward-format.ts';
import type { OwnIdentity } from './handshake.ts';
import type { LinkLimits, LinkTimeouts } from './limits.ts';
import { checkLinkOptions, defaultLinkLimits, defaultLinkTimeouts } from './limits.ts';
import type { LinkMessage } from './message-reader.ts';
import type { Network } from './network.ts';
import { encodePairDocument } from './pair-documents.ts';
import { Sessions } from './sessions.ts';
import {
  encodeAck,
  encodeFrameEnvelope,
  encodeHeartbeat,
  encodeWithBody,
  messageType,
} from './wire-format.ts';

export type { ForwardReply, ForwardRequest } from './forward-format.ts';

export interface PeerIdentity {
  readonly siteName: string;
  readonly storeId: StoreId;
  readonly bootId: string;
  readonly softwareVersion: string;
}

export interface PeerLinkHandler {
  /** Both connections are there. */
  linkUp(peer: PeerIdentity): void;
  /** Not, or no longer; called again, while it stays so, when the reason changes. */
  linkDown(reason: LinkReason): void;
  sessionOpened(groupId: GroupId, session: number): void;
  /** Once for every sessionOpened, whoever closed it. */
  sessionClosed(groupId: GroupId, session: number): void;
  message(groupId: GroupId, session: number, message: PairMessage): void;
  /** Decoded, every checksum verified (I7), of this group. Its payloads are slices of chunks. */
  frame(groupId: GroupId, session: number, number: number, frame: Frame): void;
  forward(groupId: GroupId, session: number, request: ForwardRequest): void;
  forwardReply(groupId: GroupId, session: number, reply: ForwardReply): void;
  /** A call of the peer. A rejection goes back as {code, text}. Parameters are unchecked. */
  call(method: string, parameters: unknown): Promise<unknown>;
  /** A call of the peer on the connection for bulk. */
  bulkCall(method: string, parameters: unknown): Promise<unknown>;
  /**
   * Something for the operator's log that does not change the state of the link: a stranger that
   * was turned away, say. At most one per second.
   */
  notice?(reason: LinkReason): void;
}

export interface PeerLinkOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly handler: PeerLinkHandler;
  readonly own: OwnIdentity;
  readonly peer: { readonly siteName: string; readonly address: string };
  /** Where to listen; used by the site whose name sorts last. */
  readonly listen: string;
  /** Why this store is not the peer's, in words that name both ids; undefined if it is welcome. */
  acceptsPeerStore(storeId: StoreId): string | undefined;
  /** What differs from `defaultLinkLimits` and `defaultLinkTimeouts`. */
  readonly limits?: Partial<LinkLimits>;
  readonly timeouts?: Partial<LinkTimeouts>;
}

export interface PeerLinkStats {
  readonly up: boolean;
  readonly sessions: number;
  readonly queuedBytes: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly framesIn: number;
  readonly framesOut: number;
  /** How often the link came up again after it had been up. */
  readonly reconnects: number;
  readonly roundTripMs: number | undefined;
}

export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #limits: LinkLimits;
  readonly #sessions: Sessions;
  readonly #calls: Calls;
  readonly #bulkCalls: Calls;
  readonly #pair: ConnectionPair;
  readonly #counters: ConnectionCounters = {
    bytesIn: 0,
    bytesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    framesIn: 0,
    framesOut: 0,
    roundTripMs: undefined,
  };
  #state: 'new' | 'running' | 'closed' = 'new';
  #timesUp = 0;
  #drainWaiters: (() => void)[] = [];

  /** @throws LinkStartError ERR_LINK_OPTIONS when limits, times or names contradict each other. */
  constructor(options: PeerLinkOptions) {
    const { own, peer, clock, handler } = options;
    const limits = { ...defaultLinkLimits, ...options.limits };
    const timeouts = { ...defaultLinkTimeouts, ...options.timeouts };
    checkLinkOptions(limits, timeouts);
    if (own.siteName === peer.siteName) {
      const text = `this site and its peer are both named "${own.siteName}"`;
      throw new LinkStartError('ERR_LINK_OPTIONS', text);
    }
    this.#options = options;
    this.#limits = limits;
    const role = own.siteName < peer.siteName ? 'dialer' : 'acceptor';
    this.#sessions = new Sessions({ role, clock, timeouts, events: handler });
    this.#calls = new Calls({
      clock,
      limits,
      peerSiteName: peer.siteName,
      answer: (method, parameters) => handler.call(method, parameters),
    });
    this.#bulkCalls = new Calls({
      clock,
      limits,
      peerSiteName: peer.siteName,
      answer: (method, parameters) => handler.bulkCall(method, parameters),
    });
    this.#pair = new ConnectionPair({
      ...options,
      limits,
      timeouts,
      role,
      counters: this.#counters,
      lastSession: () => this.#sessions.lastSession,
      events: this.#connectionEvents(),
    });
  }

  // ---- life -------------------------------------------------------------------------------------

  /**
   * Begins to dial or to listen. The link comes up later, or says by `linkDown` why not.
   * @throws LinkStartError ERR_LINK_LISTEN when it has to listen and cannot.
   */
  async start(): Promise<void> {
    assert(this.#state === 'new', 'a link is started once');
    this.#state = 'running';
    await this.#pair.start();
  }

  /** Sends what is queued, closes everything; after it nothing is called any more. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const closed = this.#pair.close();
    // What the handler is told comes later, as ever.
    await Promise.resolve();
    this.#calls.disconnected();
    this.#bulkCalls.disconnected();
    this.#sessions.linkDown();
    this.#wakeDrainWaiters();
    await closed;
  }

  /** The address that is listened on, with its real port; undefined at the dialer. */
  get listeningOn(): string | undefined {
    return this.#pair.listeningOn;
  }

  // ---- sessions ---------------------------------------------------------------------------------

  /** Whether this side wants a session for the group now. An open one is not closed by false. */
  setWilling(groupId: GroupId, willing: boolean): void {
    this.#sessions.setWilling(groupId, willing);
  }

  /** Closes it on both sides; nothing of it is delivered or sent here from now on (R13). */
  closeSession(session: number, reason: string): void {
    this.#sessions.closeSession(session, reason);
  }

  /** Sends in order with everything else of the session; drops it if the session is not open. */
  send(session: number, message: PairMessage): void {
    const connection = this.#connectionOf(session);
    if (connection === undefined) return;
    switch (message.kind) {
      case 'ack':
        connection.sendOne(encodeAck(session, message));
        break;
      case 'heartbeat':
        connection.sendOne(encodeHeartbeat(session, message));
        break;
      default: {
        const body = encodePairDocument(message);
        assert(
          body.length <= this.#limits.documentBytesMax,
          `a ${message.kind} of ${body.length} bytes is above documentBytesMax`,
        );
        connection.send(encodeWithBody(messageType.pair, session, [body]));
      }
    }
  }

  /** Sends the frame's bytes as they are, without a copy. */
  sendFrame(session: number, number: number, frame: Frame): void {
    const connection = this.#connectionOf(session);
    if (connection === undefined) return;
    this.#counters.framesOut += 1;
    connection.send([encodeFrameEnvelope(session, number, frame), ...frame.bytes]);
  }

  sendForward(session: number, request: ForwardRequest): void {
    this.#sendForwarded(messageType.forward, session, encodeForward(request));
  }

  sendForwardReply(session: number, reply: ForwardReply): void {
    this.#sendForwarded(messageType.forwardReply, session, encodeForwardReply(reply));
  }

  // ---- calls ------------------------------------------------------------------------------------

  /**
   * Calls a method of the peer over the control connection, also while data is down. Parameters
   * and result are plain data (msgpack).
   * @throws LinkCallError: not sent, outcome unknown, or the peer's own error.
   */
  call(method: string, parameters: unknown, timeoutMs: number): Promise<unknown> {
    return this.#calls.call(method, parameters, timeoutMs);
  }

  /**
   * As `call`, over the connection for bulk, where large answers are in nobody's way. Calls under
   * way are bounded by the caller.
   */
  bulkCall(method: string, parameters: unknown, timeoutMs: number): Promise<unknown> {
    return this.#bulkCalls.call(method, parameters, timeoutMs);
  }

  // ---- back pressure and figures ----------------------------------------------------------------

  /** Bytes of the data connection that wait for the network. */
  get queuedBytes(): number {
    return this.#pair.data?.queuedBytes ?? 0;
  }

  /**
   * Calls back once, later: when no more than `limits.linkDrainedBytes` wait, or the data
   * connection is gone (look whether the session is still open). Senders of bulk send up to a
   * window, then wait here; clients' frames, limited by the log, need not.
   */
  whenDrained(callback: () => void): void {
    assert(
      this.#drainWaiters.length < this.#limits.drainWaitersMax,
      'each bulk sender waits once at a time',
    );
    this.#drainWaiters.push(callback);
    queueMicrotask(() => this.#onDrained());
  }

  stats(): PeerLinkStats {
    return {
      ...this.#counters,
      up: this.#pair.data !== undefined,
      sessions: this.#sessions.openCount,
      queuedBytes: this.queuedBytes,
      reconnects: Math.max(0, this.#timesUp - 1),
    };
  }

  // ---- what the connections tell -----------------------------------------------------------

  #connectionEvents(): ConnectionPairEvents {
    const { handler } = this.#options;
    return {
      controlUp: (connection) => this.#calls.connected(connection),
      controlDown: () => this.#calls.disconnected(),
      up: (connection, { siteName, storeId, bootId, softwareVersion, lastSession }) => {
        this.#timesUp += 1;
        handler.linkUp({ siteName, storeId, bootId, softwareVersion });
        this.#sessions.linkUp(connection, lastSession);
      },
      down: () => {
        this.#sessions.linkDown();
        this.#wakeDrainWaiters();
      },
      why: (reason) => handler.linkDown(reason),
      notice: (reason) => handler.notice?.(reason),
      message: (connection, message) => this.#onMessage(connection, message),
      drained: () => this.#onDrained(),
      bulkUp: (connection) => this.#bulkCalls.connected(connection),
      bulkDown: () => this.#bulkCalls.disconnected(),
    };
  }

  // ---- messages ---------------------------------------------------------------------------------

  #onMessage(connection: Connection, message: LinkMessage): void {
    const violation = this.#dispatch(connection, message);
    if (violation !== undefined) connection.violated(violation);
  }

  /** Gives what the peer did wrong, or undefined. */
  #dispatch(connection: Connection, message: LinkMessage): string | undefined {
    switch (message.kind) {
      case 'frame':
        return this.#onFrame(message.session, message.number, message.frame);
      case 'pair':
        return this.#onPairMessage(message.session, message.message);
      case 'forward':
      case 'forwardReply':
        this.#onForward(message);
        return undefined;
      case 'open':
        return this.#sessions.onOpen(message.session, message.groupId);
      case 'opened':
        return this.#sessions.onOpened(message.session);
      case 'close':
        this.#sessions.onClose(message.session);
        return undefined;
      case 'willing':
        return this.#sessions.onWilling(message.groupId);
      case 'call': {
        const { id, method, parameters } = message;
        this.#callsOn(connection).onCall(connection, id, method, parameters);
        return undefined;
      }
      case 'result':
        this.#callsOn(connection).onResult(message.id, message.value);
        return undefined;
      case 'callError':
        this.#callsOn(connection).onCallError(message.id, message.code, message.text);
        return undefined;
      case 'ping':
      case 'pong':
        return undefined;
    }
  }

  #callsOn(connection: Connection): Calls {
    return connection.purpose === 'bulk' ? this.#bulkCalls : this.#calls;
  }

  #onFrame(session: number, number: number, frame: Frame): string | undefined {
    this.#counters.framesIn += 1;
    const groupId = this.#sessions.groupOf(session);
    if (groupId === undefined) return undefined;
    if (frame.groupId !== groupId) {
      return `a frame of group ${frame.groupId} in a session of group ${groupId}`;
    }
    this.#options.handler.frame(groupId, session, number, frame);
    return undefined;
  }

  #onPairMessage(session: number, message: PairMessage): string | undefined {
    const groupId = this.#sessions.groupOf(session);
    if (groupId === undefined) return undefined;
    if (message.kind === 'hello' && message.groupId !== groupId) {
      return `a hello of group ${message.groupId} in a session of group ${groupId}`;
    }
    this.#options.handler.message(groupId, session, message);
    return undefined;
  }

  #onForward(message: Extract<LinkMessage, { kind: 'forward' | 'forwardReply' }>): void {
    const { session } = message;
    const groupId = this.#sessions.groupOf(session);
    if (groupId === undefined) return;
    if (message.kind === 'forward')
      this.#options.handler.forward(groupId, session, message.request);
    else this.#options.handler.forwardReply(groupId, session, message.reply);
  }

  #sendForwarded(
    type: typeof messageType.forward | typeof messageType.forwardReply,
    session: number,
    body: readonly Buffer[],
  ): void {
    const connection = this.#connectionOf(session);
    if (connection === undefined) return;
    const bodyBytes = body.reduce((sum, slice) => sum + slice.length, 0);
    assert(bodyBytes <= this.#limits.forwardBytesMax, 'a forward is within forwardBytesMax');
    connection.send(encodeWithBody(type, session, body));
  }

  #connectionOf(session: number): Connection | undefined {
    if (this.#sessions.groupOf(session) === undefined) return undefined;
    return this.#pair.data;
  }

  #onDrained(): void {
    if (this.#drainWaiters.length === 0) return;
    if (this.queuedBytes <= this.#limits.linkDrainedBytes) this.#wakeDrainWaiters();
  }

  #wakeDrainWaiters(): void {
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const callback of waiters) callback();
  }
}
