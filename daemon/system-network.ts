/**
 * The network port on TCP (node:net). TCP_NODELAY, because an acknowledgement must not wait for
 * company; keepalive, for connections that a firewall forgot. Everything of one `write` leaves with
 * one system call: short neighbours are copied together, the rest goes as a vector.
 */
import { connect, createServer, type Socket } from 'node:net';
import type { Listener, Network, Stream, StreamEvents } from '../replication/link/network.ts';
import { type Address, formatAddress, parseAddress } from './config/address.ts';
import { CasemateError } from './errors.ts';
import { receivedMemory } from './slab-pool.ts';
import { adoptSocket, type ByteReceiver, slabReading } from './system-socket.ts';

export const socketOptions = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 10_000,
} as const;
/** How long a stream that was closed may take to send what is queued. */
const lingerMs = 1000;
/** Buffers up to this are copied together: cheaper than one more entry of a vectored write. */
const copiedBytesMax = 1024;

class TcpNetwork implements Network {
  dial(address: string, done: (result: Stream | Error) => void): () => void {
    const { host, port } = endpoint(address);
    const inlet = new Inlet();
    const socket = connect({ host, port, ...socketOptions, onread: slabReading(inlet) });
    const onError = (error: Error): void => done(error);
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      done(new SocketStream(socket, inlet));
    });
    return () => {
      socket.off('error', onError);
      socket.removeAllListeners('connect');
      socket.on('error', () => undefined);
      socket.destroy();
    };
  }

  listen(address: string, onStream: (stream: Stream) => void): Promise<Listener> {
    const { host, port } = endpoint(address);
    const server = createServer({ ...socketOptions, pauseOnConnect: true });
    server.on('connection', (accepted) => {
      const inlet = new Inlet();
      onStream(new SocketStream(adoptSocket(accepted, inlet), inlet));
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        // Such as running out of descriptors: the connection is lost, the listening goes on.
        server.on('error', () => undefined);
        const bound = server.address();
        const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
        const listener: Listener = {
          address: formatAddress({ host, port: boundPort }),
          close: () => new Promise((closed) => void server.close(() => closed())),
        };
        resolve(listener);
      });
    });
  }
}

/** TCP between the two sites. */
export const systemNetwork: Network = new TcpNetwork();

/** Host and port of an address that was checked before. */
export function endpoint(address: string): Address {
  const parsed = parseAddress(address);
  if (parsed !== undefined) return parsed;
  throw new CasemateError('ERR_ADDRESS', `"${address}" is not an address`, {
    hint: 'Write host:port, or [address]:port for IPv6.',
  });
}

/**
 * Takes what a socket receives. Frames are kept as slices of it, so every chunk counts as kept
 * until it is given back: in large slabs, used again when the frames in them are applied.
 */
export class Inlet implements ByteReceiver {
  take: ((chunk: Buffer) => void) | undefined;

  receive(chunk: Buffer): number {
    this.take?.(chunk);
    return chunk.length;
  }
}

/** A connected socket as the link sees it; `vouchesFor` comes from a certificate. */
export class SocketStream implements Stream {
  readonly remoteAddress: string;
  readonly vouchesFor: Stream['vouchesFor'];
  readonly #socket: Socket;
  readonly #inlet: Inlet;
  #events: StreamEvents | undefined;
  #error: Error | undefined;
  #closing = false;

  constructor(socket: Socket, inlet: Inlet, vouchesFor?: Stream['vouchesFor']) {
    this.vouchesFor = vouchesFor;
    this.#socket = socket;
    this.#inlet = inlet;
    const host = socket.remoteAddress ?? 'unknown';
    this.remoteAddress = formatAddress({ host, port: socket.remotePort ?? 0 });
    socket.on('drain', () => this.#events?.drained());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => this.#events?.closed(this.#error));
    // The protocol has no half-closed connections; what is queued is for nobody.
    socket.on('end', () => {
      if (!this.#closing) socket.destroy();
    });
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  attach(events: StreamEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (!first) return;
    this.#inlet.take = (chunk) => {
      if (!this.#closing) this.#events?.data(chunk);
    };
    this.#socket.resume();
  }

  write(buffers: readonly Buffer[]): boolean {
    const socket = this.#socket;
    if (this.#closing || socket.destroyed) return true;
    const parts = mergeShort(buffers);
    const [only] = parts;
    if (only === undefined) return true;
    if (parts.length === 1) return socket.write(only);
    socket.cork();
    for (const part of parts) socket.write(part);
    socket.uncork();
    return !socket.writableNeedDrain;
  }

  giveBack(chunk: Buffer, bytes: number): void {
    receivedMemory.giveBack(chunk, bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const socket = this.#socket;
    // Input is still read (and dropped): unread bytes would turn the end into a reset, and the
    // peer might never see the last words that were sent.
    socket.resume();
    socket.end();
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
  }

  abort(): void {
    this.#closing = true;
    this.#socket.destroy();
  }
}

/** The same bytes in fewer buffers: runs of short ones become one. */
function mergeShort(buffers: readonly Buffer[]): readonly Buffer[] {
  if (buffers.length < 2) return buffers;
  const merged: Buffer[] = [];
  let run: Buffer[] = [];
  const endRun = (): void => {
    const [only] = run;
    if (only !== undefined) merged.push(run.length === 1 ? only : Buffer.concat(run));
    run = [];
  };
  for (const buffer of buffers) {
    if (buffer.length <= copiedBytesMax) {
      run.push(buffer);
    } else {
      endRun();
      merged.push(buffer);
    }
  }
  endRun();
  return merged;
}
