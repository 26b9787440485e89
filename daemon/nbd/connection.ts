/**
 * One client's connection, from its socket being accepted to its close:
 *
 *     negotiating ──> transmission ──> leaving (last replies, then FIN) ──> closed
 *          └──────────────┴───────────────────────────────────────────────────^ hard disconnect
 *
 * It owns the socket and the timers; the bytes are for `Negotiation` and `Transmission`.
 */
import type { Socket } from 'node:net';
import { adoptSocket } from '../system-socket.ts';
import type { BlockDevice } from './block-device.ts';
import { ClientExports } from './client-access.ts';
import type { ClientTls, ConnectionHost } from './connection-host.ts';
import { type NegotiatedExport, Negotiation, type NegotiationHost } from './negotiation.ts';
import { Transmission } from './transmission.ts';

type Phase =
  | { readonly kind: 'negotiating'; readonly negotiation: Negotiation }
  | { readonly kind: 'transmission'; readonly transmission: Transmission }
  | { readonly kind: 'leaving' }
  | { readonly kind: 'closed' };

const keepAliveDelayMs = 15_000;

export class Connection {
  readonly #host: ConnectionHost;
  #socket: Socket;
  readonly #tls: ClientTls | undefined;
  #tlsActive = false;
  /** Of the client's certificate. */
  #names: readonly string[] = [];
  readonly #client: string;
  readonly #onClosed: (connection: Connection) => void;
  #phase: Phase;
  #device: BlockDevice | undefined;
  #transmission: Transmission | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The client has said its last: it sent FIN. */
  #clientEnded = false;

  /** `client` names the other side in the log; `accepted` is a paused socket of a server. */
  constructor(options: {
    host: ConnectionHost;
    accepted: Socket;
    client: string;
    /** Undefined on a Unix socket. */
    address?: string | undefined;
    /** Undefined: this listener has none. */
    tls?: ClientTls | undefined;
    onClosed: (connection: Connection) => void;
  }) {
    const { host } = options;
    this.#host = host;
    this.#client = options.client;
    this.#onClosed = options.onClosed;
    this.#tls = options.tls;
    const tlsState = (): NegotiationHost['tls'] => this.#tlsState();
    const negotiation = new Negotiation({
      exports: new ClientExports({
        all: host.exports,
        access: host.access,
        client: () => ({ address: options.address, names: this.#names }),
        refused: (volume) => {
          const values = { client: options.client, names: this.#names, volume };
          host.logger.warn(values, 'NBD client refused: it is not on the lists of the volume');
        },
      }),
      limits: host.limits,
      get closing() {
        return host.closing;
      },
      get tls() {
        return tlsState();
      },
      send: (bytes) => this.#socket.write(bytes),
    });
    this.#phase = { kind: 'negotiating', negotiation };
    this.#socket = adoptSocket(options.accepted, this);
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, keepAliveDelayMs);
    this.#listenTo(this.#socket);
    this.#timer = setTimeout(
      () => this.drop('the handshake took too long'),
      host.limits.handshakeTimeoutMs,
    );
    this.#socket.write(Negotiation.greeting());
    this.#socket.resume();
  }

  /** The export that the client has chosen. */
  get device(): BlockDevice | undefined {
    return this.#device;
  }

  get negotiating(): boolean {
    return this.#phase.kind === 'negotiating';
  }

  receive(chunk: Buffer): number {
    const phase = this.#phase;
    if (phase.kind === 'transmission') return phase.transmission.receive(chunk);
    if (phase.kind === 'negotiating') return this.#negotiate(phase.negotiation, chunk);
    return 0;
  }

  /** Finishes what is in flight, refuses what still comes, then closes. */
  shutDown(): void {
    if (this.#phase.kind === 'transmission') this.#phase.transmission.refuseFurther();
  }

  /** Answers what is in flight with NBD_ESHUTDOWN, then closes. */
  abandon(): void {
    if (this.#phase.kind === 'transmission') this.#phase.transmission.abandonAll();
    else if (this.#phase.kind === 'negotiating') this.#hardDisconnect();
  }

  /** Ends the connection because of what the client did or failed to do. */
  drop(reason: string): void {
    if (this.#phase.kind === 'closed') return;
    this.#host.counters.dropped += 1;
    this.#host.logger.warn(
      { client: this.#client, volume: this.#device?.name, reason },
      'NBD client dropped',
    );
    this.#hardDisconnect();
  }

  /** Ends the connection at once; requests in flight are completed into the void. */
  destroy(): void {
    this.#hardDisconnect();
  }

  /** The transmission has answered everything: closes after the client has taken it. */
  transmissionDone(): void {
    this.#leave();
  }

  clientLeft(): void {
    this.#hardDisconnect();
  }

  violation(reason: string): void {
    this.drop(reason);
  }

  #negotiate(negotiation: Negotiation, chunk: Buffer): number {
    const outcome = negotiation.receive(chunk);
    switch (outcome.kind) {
      case 'more':
        // A client sends its next option after the answer; one that takes no answers floods.
        if (this.#socket.writableLength > this.#host.limits.replyQueueBytesMax) {
          this.drop('options are sent, but their answers not taken');
        }
        return 0;
      case 'aborted':
        this.#leave();
        return 0;
      case 'start-tls':
        this.#startTls();
        return 0;
      case 'drop':
        this.drop(outcome.reason);
        return 0;
      case 'transmission':
        this.#enter(outcome.negotiated);
        return outcome.position < chunk.length ? this.receive(chunk.subarray(outcome.position)) : 0;
      default: {
        const never: never = outcome;
        throw new Error(`no such outcome ${String(never)}`);
      }
    }
  }

  #listenTo(socket: Socket): void {
    socket.on('error', this.#onError);
    socket.on('end', this.#onClientEnd);
    socket.on('close', this.#onClose);
  }

  #tlsState(): NegotiationHost['tls'] {
    if (this.#tlsActive) return 'active';
    if (this.#tls === undefined) return 'none';
    return this.#tls.required ? 'required' : 'offered';
  }

  /** From here on the TLS layer reads the socket; its time counts as part of the handshake. */
  #startTls(): void {
    this.#socket.off('end', this.#onClientEnd);
    // The TLS layer tells of a close as well, and why.
    this.#socket.off('close', this.#onClose);
    this.#tls?.start(this.#socket, (result) => {
      if (this.#phase.kind !== 'negotiating') {
        if (!(result instanceof Error)) result.socket.destroy();
        return;
      }
      if (result instanceof Error) {
        this.drop(`TLS failed: ${result.message}`);
        return;
      }
      const { socket, names } = result;
      this.#socket = socket;
      this.#names = names;
      this.#tlsActive = true;
      this.#listenTo(socket);
      socket.on('data', (chunk: Buffer) => this.receive(chunk));
    });
  }

  #enter(negotiated: NegotiatedExport): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const transmission = new Transmission({
      negotiated,
      socket: this.#socket,
      host: this.#host,
      owner: this,
    });
    this.#transmission = transmission;
    this.#phase = { kind: 'transmission', transmission };
    this.#device = negotiated.device;
    negotiated.device.attached();
    this.#host.logger.info(
      {
        client: this.#client,
        names: this.#names,
        volume: negotiated.device.name,
        readOnly: negotiated.device.readOnly,
      },
      'NBD client attached',
    );
  }

  #leave(): void {
    if (this.#phase.kind === 'closed' || this.#phase.kind === 'leaving') return;
    this.#phase = { kind: 'leaving' };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hardDisconnect(), this.#host.limits.lingerMs);
    this.#socket.resume();
    if (this.#clientEnded) this.#socket.end(() => this.#hardDisconnect());
    else this.#socket.end();
  }

  readonly #onError = (error: Error): void => {
    this.#host.logger.info(
      { client: this.#client, volume: this.#device?.name, error: error.message },
      'NBD connection lost',
    );
  };

  readonly #onClientEnd = (): void => {
    this.#clientEnded = true;
    // After NBD_CMD_DISC the requests before it are still done; without it the client is gone.
    if (this.#phase.kind === 'transmission' && this.#phase.transmission.leaving) return;
    if (this.#phase.kind === 'leaving' && this.#socket.writableLength > 0) return;
    this.#hardDisconnect();
  };

  readonly #onClose = (): void => {
    this.#closed();
  };

  #hardDisconnect(): void {
    this.#closed();
    this.#socket.destroy();
  }

  #closed(): void {
    if (this.#phase.kind === 'closed') return;
    this.#phase = { kind: 'closed' };
    clearTimeout(this.#timer);
    this.#transmission?.disconnect();
    if (this.#device !== undefined) {
      this.#device.detached();
      this.#host.logger.info(
        { client: this.#client, volume: this.#device.name },
        'NBD client detached',
      );
    }
    this.#onClosed(this);
  }
}
