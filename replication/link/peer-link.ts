/**
 * The link between the two sites: two connections (`data` and `control`), the sessions of the
 * groups on one, calls on the other. This file wires the parts and decides when the link is up;
 * the bytes are in `wire-format.ts`, dialing in `connector.ts`, listening in `acceptor.ts`.
 *
 * The site whose name sorts first dials. It makes the control connection first, then data; a data
 * connection is taken only from the life of the peer that has the control connection. The link is
 * up while both are there. Losing data closes every session and leaves control alone, because that
 * is when the register is needed most; losing control ends both.
 *
 * The handler is called from events, timers and microtasks only, never from within a method of the
 * link, so a caller can carry out a list of effects without being entered again.
 */
import assert from 'node:assert/strict';
import type { Frame, GroupId, StoreId } from '../../wal/frame.ts';
import type { PairMessage } from '../core/messages.ts';
import { Acceptor } from './acceptor.ts';
import { Calls } from './calls.ts';
import type { Clock, Random } from './clock.ts';
import type { ConnectionCounters } from './connection.ts';
import { Connection } from './connection.ts';
import type { CompleteHandshake } from './connector.ts';
import { Connector } from './connector.ts';
import type { LinkReason } from './errors.ts';
import { LinkStartError } from './errors.ts';
import type { ForwardReply, ForwardRequest } from './forward-format.ts';
import { encodeForward, encodeForwardReply } from './forward-format.ts';
import type { HandshakeRules, OwnIdentity } from './handshake.ts';
import type { Greeting } from './handshake-format.ts';
import type { LinkLimits, LinkTimeouts } from './limits.ts';
import { checkLinkOptions, defaultLinkLimits, defaultLinkTimeouts } from './limits.ts';
import type { LinkMessage } from './message-reader.ts';
import type { Network, Stream } from './network.ts';
import { encodePairDocument } from './pair-documents.ts';
import { Sessions } from './sessions.ts';
import type { Purpose } from './wire-format.ts';
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

interface Peered {
  readonly connection: Connection;
  readonly greeting: Greeting;
}

const noticeIntervalMs = 1000;

export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #limits: LinkLimits;
  readonly #timeouts: LinkTimeouts;
  readonly #sessions: Sessions;
  readonly #calls: Calls;
  readonly #connectors: { readonly control: Connector; readonly data: Connector } | undefined;
  readonly #acceptor: Acceptor | undefined;
  readonly #connections: { control: Peered | undefined; data: Peered | undefined } = {
    control: undefined,
    data: undefined,
  };
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
  #up = false;
  #timesUp = 0;
  /** Why it is down, as last told. */
  #reason: LinkReason | undefined;
  #lastNoticeAtMs = Number.NEGATIVE_INFINITY;
  #drainWaiters: (() => void)[] = [];
  /** Streams that are not gone yet; `close` waits for them. */
  #streamsAlive = 0;
  #onAllStreamsGone: (() => void) | undefined;

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
    this.#timeouts = timeouts;
    const role = own.siteName < peer.siteName ? 'dialer' : 'acceptor';
    this.#sessions = new Sessions({ role, clock, timeouts, events: handler });
    this.#calls = new Calls({
      clock,
      limits,
      peerSiteName: peer.siteName,
      answer: (method, parameters) => handler.call(method, parameters),
    });
    const rules: HandshakeRules = {
      own,
      peerSiteName: peer.siteName,
      acceptsPeerStore: (storeId) => options.acceptsPeerStore(storeId),
      lastSession: () => this.#sessions.lastSession,
    };
    this.#connectors =
      role === 'dialer'
        ? { control: this.#connector('control', rules), data: this.#connector('data', rules) }
        : undefined;
    this.#acceptor = role === 'acceptor' ? this.#newAcceptor(rules) : undefined;
  }

  // ---- life -------------------------------------------------------------------------------------

  /**
   * Begins to dial or to listen. The link comes up later, or says by `linkDown` why not.
   * @throws LinkStartError ERR_LINK_LISTEN when it has to listen and cannot.
   */
  async start(): Promise<void> {
    assert(this.#state === 'new', 'a link is started once');
    this.#state = 'running';
    this.#connectors?.control.dialNow();
    await this.#acceptor?.start();
  }

  /** Sends what is queued, closes everything; after it nothing is called any more. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#connectors?.control.stop();
    this.#connectors?.data.stop();
    const { control, data } = this.#connections;
    data?.connection.end('flush');
    control?.connection.end('flush');
    this.#connections.data = undefined;
    this.#connections.control = undefined;
    await this.#acceptor?.close();
    this.#calls.disconnected();
    this.#sessions.linkDown();
    this.#wakeDrainWaiters();
    if (this.#streamsAlive === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllStreamsGone = resolve;
    });
  }

  /** The address that is listened on, with its real port; undefined at the dialer. */
  get listeningOn(): string | undefined {
    return this.#acceptor?.address;
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
    const body = encodeForward(request);
    this.#connectionOf(session)?.send(encodeWithBody(messageType.forward, session, body));
  }

  sendForwardReply(session: number, reply: ForwardReply): void {
    const body = encodeForwardReply(reply);
    this.#connectionOf(session)?.send(encodeWithBody(messageType.forwardReply, session, body));
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

  // ---- back pressure and figures ----------------------------------------------------------------

  /** Bytes of the data connection that wait for the network. */
  get queuedBytes(): number {
    return this.#connections.data?.connection.queuedBytes ?? 0;
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
      up: this.#up,
      sessions: this.#sessions.openCount,
      queuedBytes: this.queuedBytes,
      reconnects: Math.max(0, this.#timesUp - 1),
    };
  }

  // ---- connections come and go ------------------------------------------------------------------

  #connector(purpose: Purpose, rules: HandshakeRules): Connector {
    const { network, clock, random, peer } = this.#options;
    return new Connector({
      network,
      clock,
      random,
      timeouts: this.#timeouts,
      rules,
      purpose,
      address: peer.address,
      established: (stream, result) => this.#onEstablished(stream, result),
      failed: (reason) => this.#tellDown(reason),
    });
  }

  #newAcceptor(rules: HandshakeRules): Acceptor {
    const { network, clock, listen } = this.#options;
    return new Acceptor({
      network,
      clock,
      limits: this.#limits,
      timeouts: this.#timeouts,
      rules,
      address: listen,
      admit: (peer) => this.#admit(peer),
      established: (stream, result) => this.#onEstablished(stream, result),
      failed: (reason, known) => {
        // A stranger's failure must not hide why the peer itself is not there.
        if (this.#up || !known) this.#notice(reason);
        else this.#tellDown(reason);
      },
    });
  }

  #admit(peer: Greeting): LinkReason | undefined {
    if (peer.purpose === 'control') return undefined;
    const control = this.#connections.control?.greeting;
    if (control?.bootId === peer.bootId && control.storeId === peer.storeId) return undefined;
    const here = control === undefined ? 'none' : `one of boot ${control.bootId}`;
    const text = `the control connection has to come first: ${peer.siteName} is at boot ${peer.bootId}, ${this.#options.own.siteName} has ${here}`;
    return { code: 'no-control', text };
  }

  #onEstablished(stream: Stream, result: CompleteHandshake): void {
    const { peer: greeting } = result;
    const { purpose } = greeting;
    const { control } = this.#connections;
    const text = `the peer made a new ${purpose} connection`;
    this.#lose(purpose, { code: 'replaced', text });
    const connection = this.#newConnection(stream, result);
    if (purpose === 'data' && control?.greeting.bootId !== greeting.bootId) {
      // Only at the dialer: the peer was restarted between the two, control is of its last life.
      connection.end('drop');
      const restarted = `${greeting.siteName} was restarted (boot ${greeting.bootId})`;
      this.#lose('control', { code: 'restarted', text: restarted });
      return;
    }
    this.#connections[purpose] = { connection, greeting };
    if (purpose === 'control') {
      this.#calls.connected(connection);
      this.#connectors?.data.dialNow();
    } else {
      this.#comeUp(connection, greeting);
    }
    connection.start();
  }

  #newConnection(stream: Stream, result: CompleteHandshake): Connection {
    const { clock } = this.#options;
    const { purpose } = result.peer;
    this.#streamsAlive += 1;
    const connection: Connection = new Connection({
      stream,
      clock,
      purpose,
      limits: this.#limits,
      timeouts: this.#timeouts,
      received: result.rest,
      counters: this.#counters,
      events: {
        message: (message) => this.#onMessage(connection, message),
        drained: () => {
          if (purpose === 'data') this.#onDrained();
        },
        closed: (reason) => {
          if (this.#connections[purpose]?.connection === connection) this.#lose(purpose, reason);
        },
        released: () => this.#onReleased(),
      },
    });
    return connection;
  }

  #comeUp(connection: Connection, greeting: Greeting): void {
    const { siteName, storeId, bootId, softwareVersion } = greeting;
    this.#up = true;
    this.#timesUp += 1;
    this.#reason = undefined;
    this.#options.handler.linkUp({ siteName, storeId, bootId, softwareVersion });
    this.#sessions.linkUp(connection, greeting.lastSession);
  }

  /** A connection is gone or has to go. Called from events only. */
  #lose(purpose: Purpose, reason: LinkReason): void {
    const lost = this.#connections[purpose];
    if (lost === undefined) return;
    this.#connections[purpose] = undefined;
    lost.connection.end('drop');
    if (purpose === 'control') {
      this.#calls.disconnected();
      this.#connections.data?.connection.end('drop');
      this.#connections.data = undefined;
      this.#connectors?.data.stop();
    }
    if (this.#up) {
      this.#up = false;
      this.#sessions.linkDown();
      this.#wakeDrainWaiters();
    }
    const { siteName } = this.#options.peer;
    this.#tellDown({ code: reason.code, text: `${siteName}: ${reason.text}` });
    this.#connectors?.[purpose].dialAgain();
  }

  #onReleased(): void {
    this.#streamsAlive -= 1;
    if (this.#streamsAlive === 0) this.#onAllStreamsGone?.();
  }

  /** Told on change only: a peer that stays away is one line in the log, not one per attempt. */
  #tellDown(reason: LinkReason): void {
    if (this.#state === 'closed') return;
    const last = this.#reason;
    if (last?.code === reason.code && last.text === reason.text) return;
    this.#reason = reason;
    this.#options.handler.linkDown(reason);
  }

  #notice(reason: LinkReason): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#state === 'closed' || nowMs - this.#lastNoticeAtMs < noticeIntervalMs) return;
    this.#lastNoticeAtMs = nowMs;
    this.#options.handler.notice?.(reason);
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
      case 'call':
        this.#calls.onCall(connection, message.id, message.method, message.parameters);
        return undefined;
      case 'result':
        this.#calls.onResult(message.id, message.value);
        return undefined;
      case 'callError':
        this.#calls.onCallError(message.id, message.code, message.text);
        return undefined;
      case 'ping':
      case 'pong':
        return undefined;
    }
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

  #connectionOf(session: number): Connection | undefined {
    if (this.#sessions.groupOf(session) === undefined) return undefined;
    return this.#connections.data?.connection;
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
