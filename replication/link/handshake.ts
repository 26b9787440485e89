/**
 * The handshake of one connection, from the first byte until both sides have accepted each other
 * (or one has refused, with a sentence that names both values). It owns the stream for that time;
 * what the peer has sent behind its last packet is handed on. Who dials and who listens, and what
 * happens after, is in `connector.ts`, `acceptor.ts` and `peer-link.ts`.
 */
import assert from 'node:assert/strict';
import type { StoreId } from '../../wal/frame.ts';
import { ChunkQueue } from './chunk-queue.ts';
import type { Clock } from './clock.ts';
import type { LinkReason } from './errors.ts';
import { LinkFormatError } from './errors.ts';
import type { Greeting } from './handshake-format.ts';
import {
  decodeGreeting,
  encodeAccepted,
  encodeGreeting,
  encodeRefused,
  takeHandshakePacket,
} from './handshake-format.ts';
import type { Stream } from './network.ts';
import type { Purpose } from './wire-format.ts';
import { protocolVersion } from './wire-format.ts';

/** This site as it introduces itself. */
export interface OwnIdentity {
  readonly clusterId: string;
  readonly siteName: string;
  readonly storeId: StoreId;
  readonly bootId: string;
  readonly softwareVersion: string;
}

export interface HandshakeRules {
  readonly own: OwnIdentity;
  readonly peerSiteName: string;
  /** Why this store is not to be talked to, or undefined. */
  readonly acceptsPeerStore: (storeId: StoreId) => string | undefined;
  /** Highest session number of this process so far. */
  readonly lastSession: () => number;
}

/**
 * The rules for whoever sent this greeting, or why it is not talked to: a witness serves many
 * pairs, and is to each what that pair expects.
 */
export type ChooseRules = (peer: Greeting) => HandshakeRules | LinkReason;

export type HandshakeResult =
  | { readonly kind: 'complete'; readonly peer: Greeting; readonly rest: ChunkQueue }
  /** `known`: the other end showed itself to be a Casemate site: its reason is worth telling. */
  | { readonly kind: 'failed'; readonly reason: LinkReason; readonly known: boolean };

export interface HandshakeOptions {
  readonly stream: Stream;
  readonly clock: Clock;
  readonly rules: HandshakeRules;
  /** Takes the place of `rules` once the other end has greeted. */
  readonly choose?: ChooseRules | undefined;
  readonly role: 'dialer' | 'acceptor';
  /** What the dialer wants; the acceptor takes either. */
  readonly purpose: Purpose | undefined;
  readonly timeoutMs: number;
  /** The acceptor's own reason to refuse; asked when greeted, and again when accepted. */
  readonly admit: (peer: Greeting) => LinkReason | undefined;
  readonly done: (result: HandshakeResult) => void;
}

type HandshakeState =
  | { readonly kind: 'awaiting-greeting' }
  | { readonly kind: 'awaiting-accepted'; readonly peer: Greeting }
  | { readonly kind: 'over' };

export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #received: ChunkQueue;
  #rules: HandshakeRules;
  #state: HandshakeState = { kind: 'awaiting-greeting' };
  readonly #cancelTimer: () => void;

  /** Starts at once. `done` is called once, later, unless it is abandoned. */
  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#rules = options.rules;
    const { stream, clock, timeoutMs, role } = options;
    this.#received = new ChunkQueue((chunk, bytes) => stream.giveBack(chunk, bytes));
    this.#cancelTimer = clock.setTimer(timeoutMs, () => this.#onTimeout());
    stream.attach({
      data: (chunk) => this.#onData(chunk),
      drained: () => undefined,
      closed: (error) => this.#onClosed(error),
    });
    if (role === 'dialer') {
      assert(options.purpose, 'a dialer knows what it dials for');
      this.#sendGreeting(options.purpose);
    }
  }

  /** Ends it without a result: the connection is not wanted any more. */
  abandon(): void {
    if (this.#state.kind === 'over') return;
    this.#over();
    this.#options.stream.abort();
  }

  #sendGreeting(purpose: Purpose): void {
    const { own, lastSession } = this.#rules;
    const greeting: Greeting = {
      clusterId: own.clusterId,
      siteName: own.siteName,
      storeId: own.storeId,
      bootId: own.bootId,
      softwareVersion: own.softwareVersion,
      purpose,
      lastSession: lastSession(),
    };
    this.#options.stream.write([encodeGreeting(protocolVersion, greeting)]);
  }

  #onData(chunk: Buffer): void {
    if (this.#state.kind === 'over') return;
    this.#received.push(chunk);
    try {
      this.#takePackets();
    } catch (error) {
      if (!(error instanceof LinkFormatError)) throw error;
      const where = this.#options.stream.remoteAddress;
      this.#fail({ code: 'handshake-format', text: `${where}: ${error.message}` }, false);
      this.#options.stream.abort();
    }
  }

  #takePackets(): void {
    while (this.#state.kind !== 'over' && this.#received.sizeBytes > 0) {
      const packet = takeHandshakePacket(this.#received);
      if (packet === undefined) return;
      switch (packet.kind) {
        case 'refused':
          this.#onRefused(packet.reason);
          break;
        case 'greeting':
          this.#onGreeting(packet.version, packet.body);
          break;
        case 'accepted':
          this.#onAccepted();
          break;
      }
    }
  }

  #onGreeting(version: number, body: Buffer): void {
    if (this.#state.kind !== 'awaiting-greeting') throw new LinkFormatError('a second greeting');
    const { role, purpose, stream } = this.#options;
    const versions = versionProblem(this.#rules, stream.remoteAddress, version);
    if (versions !== undefined) {
      this.#refuse(versions);
      return;
    }
    const peer = decodeGreeting(body);
    const problem =
      this.#checkProof(peer) ??
      this.#chooseRules(peer) ??
      checkGreeting(this.#rules, peer, purpose) ??
      this.#options.admit(peer);
    if (problem !== undefined) {
      this.#refuse(problem);
    } else if (role === 'acceptor') {
      this.#state = { kind: 'awaiting-accepted', peer };
      this.#sendGreeting(peer.purpose);
    } else {
      stream.write([encodeAccepted(protocolVersion)]);
      this.#complete(peer);
    }
  }

  #checkProof({ clusterId, siteName }: Greeting): LinkReason | undefined {
    const { stream } = this.#options;
    if (stream.vouchesFor?.(clusterId, siteName) ?? true) return undefined;
    const text =
      `${stream.remoteAddress} says that it is ${siteName} of cluster "${clusterId}", ` +
      'its certificate is for somebody else';
    return { code: 'certificate', text };
  }

  #chooseRules(peer: Greeting): LinkReason | undefined {
    const chosen = this.#options.choose?.(peer);
    if (chosen === undefined) return undefined;
    if ('code' in chosen) return chosen;
    this.#rules = chosen;
    return undefined;
  }

  #onAccepted(): void {
    if (this.#state.kind !== 'awaiting-accepted') {
      throw new LinkFormatError('accepted before any greeting');
    }
    const { peer } = this.#state;
    const problem = this.#options.admit(peer);
    if (problem === undefined) {
      this.#complete(peer);
      return;
    }
    // The dialer has accepted and takes no refusal any more: it sees the connection end.
    this.#fail(problem, true);
    this.#options.stream.abort();
  }

  #complete(peer: Greeting): void {
    this.#over();
    this.#options.done({ kind: 'complete', peer, rest: this.#received });
  }

  /** The peer's words are passed on as they are: they name both values. */
  #onRefused(reason: LinkReason): void {
    const { stream } = this.#options;
    const text = `${this.#rules.peerSiteName} (${stream.remoteAddress}) refused: ${reason.text}`;
    this.#fail({ code: reason.code, text }, true);
    stream.close();
  }

  #refuse(reason: LinkReason): void {
    const { stream } = this.#options;
    stream.write([encodeRefused(protocolVersion, reason)]);
    this.#fail(
      { code: reason.code, text: `refused ${stream.remoteAddress}: ${reason.text}` },
      true,
    );
    stream.close();
  }

  #onTimeout(): void {
    const { stream, timeoutMs } = this.#options;
    const text = `${stream.remoteAddress}: no handshake within ${timeoutMs} ms`;
    this.#fail({ code: 'handshake-timeout', text }, false);
    stream.abort();
  }

  #onClosed(error: Error | undefined): void {
    const how =
      error === undefined ? 'closed the connection' : `connection broke: ${error.message}`;
    const text = `${this.#options.stream.remoteAddress}: ${how} during the handshake`;
    this.#fail({ code: 'handshake-lost', text }, false);
  }

  #fail(reason: LinkReason, known: boolean): void {
    if (this.#state.kind === 'over') return;
    this.#over();
    this.#options.done({ kind: 'failed', reason, known });
  }

  #over(): void {
    this.#state = { kind: 'over' };
    this.#cancelTimer();
  }
}

/** Why this version can't be talked to, and which end is upgraded first, or undefined. */
export function versionProblem(
  { own, peerSiteName }: Pick<HandshakeRules, 'own' | 'peerSiteName'>,
  remoteAddress: string,
  version: number,
): LinkReason | undefined {
  if (version === protocolVersion) return undefined;
  // A witness learns who it is from the greeting, which only its own version can be read of.
  const peer = peerSiteName === '' ? remoteAddress : peerSiteName;
  const older = version > protocolVersion ? own.siteName : peer;
  const text =
    `protocol version differs: ${own.siteName} speaks version ${protocolVersion}, ` +
    `${peer} speaks version ${version}; upgrade ${older} first`;
  return { code: 'protocol-version', text };
}

/** Why this peer is not to be talked to, naming both values, or undefined. */
export function checkGreeting(
  rules: HandshakeRules,
  peer: Greeting,
  purpose: Purpose | undefined,
): LinkReason | undefined {
  const { own, peerSiteName } = rules;
  if (peer.clusterId !== own.clusterId) {
    return differs('cluster-id', 'cluster id', rules, own.clusterId, peer, peer.clusterId);
  }
  if (peer.siteName !== peerSiteName) {
    const text =
      `site name differs: ${own.siteName} is configured with the peer "${peerSiteName}", ` +
      `the other site is "${peer.siteName}"`;
    return { code: 'site-name', text };
  }
  if (peer.storeId === own.storeId) {
    const text =
      `both sites have the same store id: ${own.siteName} has ${own.storeId}, ${peer.siteName} ` +
      `has ${peer.storeId}; one is a copy of the other and must get an id of its own`;
    return { code: 'same-store', text };
  }
  if (purpose !== undefined && peer.purpose !== purpose) {
    return differs('purpose', 'purpose of the connection', rules, purpose, peer, peer.purpose);
  }
  const problem = rules.acceptsPeerStore(peer.storeId);
  if (problem === undefined) return undefined;
  const text = `${peer.siteName} has store id ${peer.storeId}, which is not accepted: ${problem}`;
  return { code: 'peer-store', text };
}

function differs(
  code: string,
  what: string,
  rules: HandshakeRules,
  ownValue: string,
  peer: Greeting,
  peerValue: string,
): LinkReason {
  const own = `${rules.own.siteName} has "${ownValue}"`;
  return { code, text: `${what} differs: ${own}, ${peer.siteName} has "${peerValue}"` };
}
