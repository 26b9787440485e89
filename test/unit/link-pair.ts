/**
 * Two links on loopback for the tests, each with a handler that records what it is told and can be
 * waited on. `raw` connections speak the wire by hand, as a broken or hostile peer would.
 */
import { connect, type Socket } from 'node:net';
import { randomId, systemClock, systemRandom } from '../../daemon/system-clock.ts';
import { systemNetwork } from '../../daemon/system-network.ts';
import type { AckMessage, PairMessage } from '../../replication/core/messages.ts';
import { ChunkQueue } from '../../replication/link/chunk-queue.ts';
import type { LinkReason } from '../../replication/link/errors.ts';
import {
  encodeAccepted,
  encodeGreeting,
  type Greeting,
  type HandshakePacket,
  takeHandshakePacket,
} from '../../replication/link/handshake-format.ts';
import type {
  ForwardReply,
  ForwardRequest,
  PeerIdentity,
  PeerLinkHandler,
  PeerLinkOptions,
} from '../../replication/link/peer-link.ts';
import { PeerLink } from '../../replication/link/peer-link.ts';
import { type Purpose, protocolVersion } from '../../replication/link/wire-format.ts';
import { checksumPieces } from '../../wal/checksum.ts';
import type { Frame, GroupId } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';

/** Waits for a state, looked at whenever something was recorded. */
class Recorder {
  readonly #waiters = new Set<() => void>();

  changed(): void {
    for (const look of [...this.#waiters]) look();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }
}

export type Told =
  | { kind: 'up'; peer: PeerIdentity }
  | { kind: 'down'; reason: LinkReason }
  | { kind: 'notice'; reason: LinkReason }
  | { kind: 'opened'; groupId: GroupId; session: number }
  | { kind: 'closed'; groupId: GroupId; session: number }
  | { kind: 'message'; groupId: GroupId; session: number; message: PairMessage }
  | { kind: 'frame'; groupId: GroupId; session: number; number: number; frame: Frame }
  | { kind: 'forward'; session: number; request: ForwardRequest }
  | { kind: 'forwardReply'; session: number; reply: ForwardReply };

export class RecordingHandler extends Recorder implements PeerLinkHandler {
  readonly told: Told[] = [];
  /** Runs when something was told, still within the link's callback. */
  react: (told: Told) => void = () => undefined;
  answer: (method: string, parameters: unknown) => Promise<unknown> = async () => null;

  get up(): boolean {
    const last = this.told.findLast((told) => told.kind === 'up' || told.kind === 'down');
    return last?.kind === 'up';
  }

  of<Kind extends Told['kind']>(kind: Kind): Extract<Told, { kind: Kind }>[] {
    return this.told.filter((told): told is Extract<Told, { kind: Kind }> => told.kind === kind);
  }

  async first<Kind extends Told['kind']>(
    kind: Kind,
    matches: (told: Extract<Told, { kind: Kind }>) => boolean = () => true,
  ): Promise<Extract<Told, { kind: Kind }>> {
    await this.until(() => this.of(kind).some(matches));
    const found = this.of(kind).find(matches);
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  linkUp(peer: PeerIdentity): void {
    this.#tell({ kind: 'up', peer });
  }
  linkDown(reason: LinkReason): void {
    this.#tell({ kind: 'down', reason });
  }
  notice(reason: LinkReason): void {
    this.#tell({ kind: 'notice', reason });
  }
  sessionOpened(groupId: GroupId, session: number): void {
    this.#tell({ kind: 'opened', groupId, session });
  }
  sessionClosed(groupId: GroupId, session: number): void {
    this.#tell({ kind: 'closed', groupId, session });
  }
  message(groupId: GroupId, session: number, message: PairMessage): void {
    this.#tell({ kind: 'message', groupId, session, message });
  }
  frame(groupId: GroupId, session: number, number: number, frame: Frame): void {
    this.#tell({ kind: 'frame', groupId, session, number, frame });
  }
  forward(_groupId: GroupId, session: number, request: ForwardRequest): void {
    this.#tell({ kind: 'forward', session, request });
  }
  forwardReply(_groupId: GroupId, session: number, reply: ForwardReply): void {
    this.#tell({ kind: 'forwardReply', session, reply });
  }
  bulkCall(method: string, parameters: unknown): Promise<unknown> {
    return this.call(method, parameters);
  }

  call(method: string, parameters: unknown): Promise<unknown> {
    return this.answer(method, parameters);
  }

  #tell(told: Told): void {
    this.told.push(told);
    this.react(told);
    this.changed();
  }
}

export interface TestSite {
  readonly link: PeerLink;
  readonly handler: RecordingHandler;
  readonly options: PeerLinkOptions;
}

type Changes = Partial<Omit<PeerLinkOptions, 'own'>> & { own?: Partial<PeerLinkOptions['own']> };

/** Short times, so that retries cost a test little; none of them decides whether it passes. */
export const quickTimeouts = { reconnectMs: 5, reconnectMsMax: 40, sessionRetryMs: 2 } as const;

export function makeSite(siteName: string, peerName: string, changes: Changes = {}): TestSite {
  const handler = new RecordingHandler();
  const { own, ...others } = changes;
  const options: PeerLinkOptions = {
    network: systemNetwork,
    clock: systemClock,
    random: systemRandom,
    handler,
    peer: { siteName: peerName, address: '127.0.0.1:1' },
    listen: '127.0.0.1:0',
    acceptsPeerStore: () => undefined,
    timeouts: quickTimeouts,
    ...others,
    own: {
      clusterId: 'cluster-1',
      siteName,
      storeId: randomId(),
      bootId: randomId(),
      softwareVersion: '0.1.0',
      ...own,
    },
  };
  return { link: new PeerLink(options), handler, options };
}

export interface TestPair {
  /** Dials. */
  readonly a: TestSite;
  /** Listens. */
  readonly b: TestSite;
  close(): Promise<void>;
}

/** Starts lux-2, which listens, then lux-1, which dials; does not wait for the link. */
export async function startPair(changesA: Changes = {}, changesB: Changes = {}): Promise<TestPair> {
  const b = makeSite('lux-2', 'lux-1', changesB);
  await b.link.start();
  const address = addressOf(b);
  const a = makeSite('lux-1', 'lux-2', { peer: { siteName: 'lux-2', address }, ...changesA });
  await a.link.start();
  return {
    a,
    b,
    async close() {
      await Promise.all([a.link.close(), b.link.close()]);
    },
  };
}

export async function startedPair(
  changesA: Changes = {},
  changesB: Changes = {},
): Promise<TestPair> {
  const pair = await startPair(changesA, changesB);
  await Promise.all([pair.a, pair.b].map(({ handler }) => handler.until(() => handler.up)));
  return pair;
}

/** Opens a session of a group on both sides and gives its number. */
export async function openSession(pair: TestPair, groupId: GroupId): Promise<number> {
  pair.a.link.setWilling(groupId, true);
  pair.b.link.setWilling(groupId, true);
  const opened = await pair.a.handler.first('opened', (told) => told.groupId === groupId);
  await pair.b.handler.first('opened', (told) => told.groupId === groupId);
  return opened.session;
}

export function addressOf(site: TestSite): string {
  const address = site.link.listeningOn;
  if (address === undefined) throw new Error('the site does not listen');
  return address;
}

/** One end of a connection, spoken by hand. */
export class RawConnection extends Recorder {
  readonly socket: Socket;
  readonly received = new ChunkQueue();
  readonly packets: HandshakePacket[] = [];
  closed = false;
  #inHandshake = true;

  constructor(socket: Socket) {
    super();
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received.push(chunk);
      while (this.#inHandshake && this.received.sizeBytes > 0) {
        const packet = takeHandshakePacket(this.received);
        if (packet === undefined) break;
        this.packets.push(packet);
        if (packet.kind === 'greeting') this.#inHandshake = false;
      }
      this.changed();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.changed();
    });
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes);
  }
}

export function dialRaw(site: TestSite): RawConnection {
  const port = Number(addressOf(site).split(':').at(-1));
  return new RawConnection(connect({ host: '127.0.0.1', port }));
}

export function greetingFor(
  site: TestSite,
  purpose: Purpose,
  changes: Partial<Greeting> = {},
): Greeting {
  return {
    clusterId: site.options.own.clusterId,
    siteName: site.options.peer.siteName,
    storeId: '1'.repeat(32),
    bootId: 'boot-of-raw',
    softwareVersion: '0.1.0',
    purpose,
    lastSession: 0,
    ...changes,
  };
}

/** Shakes hands as the configured peer would. */
export async function handshakeRaw(
  site: TestSite,
  purpose: Purpose,
  changes: Partial<Greeting> = {},
): Promise<RawConnection> {
  const raw = dialRaw(site);
  raw.send(encodeGreeting(protocolVersion, greetingFor(site, purpose, changes)));
  await raw.until(() => raw.packets.length > 0);
  raw.send(encodeAccepted(protocolVersion));
  return raw;
}

/** Control, then data, as the configured peer's. */
export async function rawPeer(
  site: TestSite,
  changes: Partial<Greeting> = {},
): Promise<{ control: RawConnection; data: RawConnection }> {
  const control = await handshakeRaw(site, 'control', changes);
  // The site pings once it has taken the connection.
  await control.until(() => control.received.sizeBytes > 0);
  const data = await handshakeRaw(site, 'data', changes);
  await data.until(() => data.received.sizeBytes > 0);
  return { control, data };
}

export function makeFrame(groupId: GroupId, lengthBytes: number, fill = 7): Frame {
  const payload = [Buffer.alloc(lengthBytes, fill)];
  return encodeFrame({
    groupId,
    epoch: 1,
    epochId: '2'.repeat(32),
    firstSequence: 1,
    commit: 0,
    timeMs: 1,
    digestBefore: '0'.repeat(32),
    records: [
      {
        kind: 1,
        volume: 1,
        offsetBytes: 0,
        lengthBytes,
        origin: { boot: 1n, number: 1 },
        flags: 0,
        payload,
        checksums: checksumPieces(payload, 0, lengthBytes),
      },
    ],
  });
}

export function ackOf(number: number): AckMessage {
  return { kind: 'ack', epoch: 1, durable: number, number, checkpoint: 0 };
}
