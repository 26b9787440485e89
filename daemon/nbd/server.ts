/**
 * The NBD server: listeners, the connections that came from them, and what the connections share.
 * It serves the exports of a directory and knows nothing of what is behind them.
 */
import { chmodSync } from 'node:fs';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { CasemateError } from '../errors.ts';
import { claimSocketPath } from '../system-socket-path.ts';
import type { ExportDirectory } from './block-device.ts';
import { ClientAccess } from './client-access.ts';
import { Connection } from './connection.ts';
import type { ClientTls, ConnectionHost, NbdCounters, NbdLogger } from './connection-host.ts';
import { type NbdLimits, nbdLimits } from './limits.ts';
import { ArenaPool } from './reply-queue.ts';
import { RequestPool } from './request.ts';
import { TrafficBudget } from './traffic-budget.ts';
import { TurnQueue } from './turn-queue.ts';

export interface NbdServerOptions {
  readonly exports: ExportDirectory;
  /** Who may attach to what; everybody to everything if absent. */
  readonly access?: ClientAccess;
  readonly limits?: Partial<NbdLimits>;
  readonly logger?: NbdLogger;
  /** The clock of `BlockRequest.receivedAtMs`: monotonic milliseconds. */
  nowMs(): number;
}

export interface NbdServerStats extends Readonly<NbdCounters> {
  readonly connections: number;
  /** Of those, the ones that have not chosen an export yet. */
  readonly negotiating: number;
  /** Bytes of requests in flight and of replies not taken yet. */
  readonly bytesInFlight: number;
}

const silent: NbdLogger = { info: () => {}, warn: () => {} };

const pooledRequestsMax = 4096;
const pooledArenasMax = 16;
const listenBacklog = 511;
const socketMode = 0o660;
const socketPathWords = {
  key: 'nbd.unix',
  inUse: 'ERR_NBD_SOCKET_IN_USE',
  path: 'ERR_NBD_SOCKET_PATH',
};

export class NbdServer {
  readonly #host: ConnectionHost;
  readonly #counters: NbdCounters = {
    accepted: 0,
    refused: 0,
    requests: 0,
    errors: 0,
    slowedDown: 0,
    dropped: 0,
  };
  readonly #connections = new Set<Connection>();
  readonly #listeners: Server[] = [];
  #closing = false;
  #full = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: NbdServerOptions) {
    const limits = nbdLimits(options.limits ?? {});
    const isClosing = (): boolean => this.#closing;
    this.#host = {
      exports: options.exports,
      access: options.access ?? new ClientAccess({}),
      limits,
      logger: options.logger ?? silent,
      requests: new RequestPool(pooledRequestsMax),
      arenas: new ArenaPool(pooledArenasMax),
      budget: new TrafficBudget(limits.bytesInFlightTotalMax),
      turns: new TurnQueue(),
      counters: this.#counters,
      get closing() {
        return isClosing();
      },
      nowMs: options.nowMs,
    };
  }

  /**
   * Listens on a Unix socket that its owner and group may use. Throws ERR_NBD_SOCKET_IN_USE,
   * ERR_NBD_SOCKET_PATH or ERR_NBD_LISTEN.
   */
  async listenUnix(path: string): Promise<void> {
    await claimSocketPath(path, socketPathWords);
    await this.#listen({ path, backlog: listenBacklog }, path);
    chmodSync(path, socketMode);
  }

  /**
   * Listens on TCP; gives the port, which the system chooses if 0 is asked. With
   * `tls` clients get STARTTLS. Throws ERR_NBD_LISTEN.
   */
  async listenTcp(host: string, port: number, tls?: ClientTls): Promise<number> {
    const options = { host, port, backlog: listenBacklog };
    const listener = await this.#listen(options, `${host}:${port}`, tls);
    const address = listener.address();
    if (address === null || typeof address === 'string') return port;
    return address.port;
  }

  /** Clients of an export; without a name, all of them, also those that still negotiate. */
  connectionCount(name?: string): number {
    if (name === undefined) return this.#connections.size;
    let count = 0;
    for (const connection of this.#connections) if (connection.device?.name === name) count += 1;
    return count;
  }

  stats(): NbdServerStats {
    let negotiating = 0;
    for (const connection of this.#connections) if (connection.negotiating) negotiating += 1;
    return {
      ...this.#counters,
      connections: this.#connections.size,
      negotiating,
      bytesInFlight: this.#host.budget.usedBytes,
    };
  }

  /** The export is gone: its clients get NBD_ESHUTDOWN for what they wait for, and are closed. */
  disconnectExport(name: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.device?.name === name) connection.abandon();
    }
  }

  /**
   * Stops listening, finishes what is in flight for at most `graceMs`, then closes every
   * connection; requests that are still held are then answered NBD_ESHUTDOWN if `answerHeld` says
   * so.
   */
  async close(options: { graceMs: number; answerHeld?: boolean }): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    for (const listener of this.#listeners) listener.close();
    for (const connection of [...this.#connections]) connection.shutDown();
    await this.#whenEmpty(options.graceMs, (connection) => !connection.negotiating);
    if (options.answerHeld === true) {
      for (const connection of [...this.#connections]) connection.abandon();
      await this.#whenEmpty(this.#host.limits.lingerMs, () => true);
    }
    for (const connection of [...this.#connections]) connection.destroy();
  }

  #listen(listenOptions: ListenOptions, where: string, tls?: ClientTls): Promise<Server> {
    const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    listener.on('connection', (accepted) => this.#onConnection(accepted, where, tls));
    return new Promise((resolve, reject) => {
      listener.once('error', (cause) => {
        const message = `can't listen for NBD clients on ${where}: ${cause.message}`;
        reject(new CasemateError('ERR_NBD_LISTEN', message, { cause }));
      });
      listener.listen(listenOptions, () => {
        listener.removeAllListeners('error');
        listener.on('error', (error) => {
          this.#host.logger.warn({ where, error: error.message }, 'NBD listener failed to accept');
        });
        this.#listeners.push(listener);
        resolve(listener);
      });
    });
  }

  #onConnection(accepted: Socket, where: string, tls: ClientTls | undefined): void {
    const { connectionsMax } = this.#host.limits;
    if (this.#closing || this.#connections.size >= connectionsMax) {
      this.#counters.refused += 1;
      accepted.destroy();
      if (!this.#full) {
        this.#host.logger.warn({ connectionsMax, where }, 'NBD connections refused: limit reached');
      }
      this.#full = true;
      return;
    }
    this.#full = false;
    this.#counters.accepted += 1;
    const client =
      accepted.remoteAddress === undefined
        ? where
        : `${accepted.remoteAddress}:${accepted.remotePort}`;
    const connection = new Connection({
      host: this.#host,
      accepted,
      client,
      address: accepted.remoteAddress,
      tls,
      onClosed: this.#onClosed,
    });
    this.#connections.add(connection);
  }

  readonly #onClosed = (connection: Connection): void => {
    this.#connections.delete(connection);
    this.#onEmpty?.();
  };

  /** Resolves when no connection that `counts` is left, or after `timeoutMs`. */
  #whenEmpty(timeoutMs: number, counts: (connection: Connection) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => finish(), timeoutMs);
      const finish = (): void => {
        clearTimeout(timer);
        this.#onEmpty = undefined;
        resolve();
      };
      this.#onEmpty = () => {
        if (![...this.#connections].some(counts)) finish();
      };
      this.#onEmpty();
    });
  }
}
