/**
 * Where the HTTP API listens: on TCP, on TCP with TLS, on a Unix socket, all with the same handler.
 * Each connection is remembered by how it came, which decides what it may ask (`api/access.ts`).
 */
import { chmodSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { peerUserId } from '../wal/system-calls.ts';
import type { Origin } from './api/access.ts';
import type { Address } from './config/address.ts';
import { userName } from './system-host.ts';
import { socketDescriptor } from './system-socket.ts';
import { claimSocketPath } from './system-socket-path.ts';
import { handshakeMsMax, limitHandshakes, type TlsCredentials } from './system-tls.ts';

/** A connection that sends nothing is closed after so long. */
const idleMs = 60_000;
/** A request has to be there as a whole after so long. */
const requestMs = 30_000;
/** Connections of each listener; one more is closed at once. */
const connectionsMax = 256;
const socketMode = 0o660;

const socketPathWords = { key: 'api.unix', inUse: 'ERR_API_LISTEN', path: 'ERR_API_LISTEN' };

export class HttpListeners {
  readonly #handler: RequestListener;
  readonly #servers: (Server | SecureServer)[] = [];
  readonly #origins = new WeakMap<Socket, Origin>();
  readonly #forget: (() => void)[] = [];

  constructor(handler: RequestListener) {
    this.#handler = handler;
  }

  /** Listens where only this machine can connect, without TLS; gives the port. */
  async listenLoopback(address: Address): Promise<number> {
    const server = createServer(this.#handler);
    server.on('connection', (socket: Socket) => this.#came(socket, 'loopback'));
    return await this.#listen(server, address);
  }

  /** Listens on a network, with TLS and the certificate there is at the time; gives the port. */
  async listenSecure(address: Address, credentials: TlsCredentials): Promise<number> {
    // Whoever asks shows a token; a certificate is only what the server shows.
    const options = { ...credentials.options, handshakeTimeout: handshakeMsMax };
    const server = createSecureServer(options, this.#handler);
    limitHandshakes(server);
    server.on('secureConnection', (socket: Socket) => this.#came(socket, 'network'));
    const renew = (): void => server.setSecureContext(credentials.options);
    this.#forget.push(credentials.onReload(renew));
    return await this.#listen(server, address);
  }

  /** Listens on a Unix socket that its owner and group may use. */
  async listenUnix(path: string): Promise<void> {
    await claimSocketPath(path, socketPathWords);
    const server = createServer(this.#handler);
    server.on('connection', (socket: Socket) => {
      this.#origins.set(socket, { way: 'unix', user: userOf(socket) });
    });
    await this.#listen(server, { path });
    chmodSync(path, socketMode);
  }

  /** How a connection came that a request is from. */
  readonly originOf = (socket: Socket): Origin => {
    const origin = this.#origins.get(socket);
    if (origin === undefined) throw new Error('a request came by no listener');
    return origin;
  };

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    for (const forget of this.#forget) forget();
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        return closed;
      }),
    );
  }

  #came(socket: Socket, way: 'loopback' | 'network'): void {
    // An IPv4 address at a socket for both kinds.
    const address = socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '');
    this.#origins.set(socket, { way, address: address ?? 'an address unknown' });
  }

  #listen(server: Server | SecureServer, where: ListenOptions): Promise<number> {
    server.setTimeout(idleMs);
    server.requestTimeout = requestMs;
    server.keepAliveTimeout = idleMs;
    server.maxConnections = connectionsMax;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        // Such as running out of descriptors: the connection is lost, the listening goes on.
        server.on('error', () => undefined);
        this.#servers.push(server);
        const bound: AddressInfo | string | null = server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
      });
    });
  }
}

/** Whose process connected to a Unix socket, by name. */
function userOf(socket: Socket): string | undefined {
  const descriptor = socketDescriptor(socket);
  const userId = descriptor === undefined ? undefined : peerUserId(descriptor);
  return userId === undefined ? undefined : `${userName(userId)} (uid ${userId})`;
}
