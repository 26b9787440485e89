/**
 * Makes an accepted socket read into buffers of ours. `net.Server` has no option for that; a socket
 * made anew around the accepted handle has (`onread`). On a runtime whose handles can't do it the
 * accepted socket is used as it is, and hands over chunks of its own.
 */
import { type OnReadOpts, Socket } from 'node:net';
import { ReceiveSlab } from './receive-slab.ts';

/** Takes received bytes; gives how many of them it has kept, as slices of the chunk. */
export interface ByteReceiver {
  receive(chunk: Buffer): number;
}

/**
 * Gives the socket to use in place of `accepted`, which the server must have made with
 * `pauseOnConnect`. Received bytes go to `receiver` until it stops the socket (`pause`) and again
 * from `resume` on.
 */
export function adoptSocket(accepted: Socket, receiver: ByteReceiver): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (!readsIntoBuffers(handle)) {
    accepted.on('data', (chunk: Buffer) => receiver.receive(chunk));
    return accepted;
  }
  Reflect.set(accepted, '_handle', null);
  accepted.destroy();
  const options = { handle, allowHalfOpen: true, onread: slabReading(receiver) };
  return new Socket(options);
}

/** The `onread` option of a socket, by which it reads into slabs and tells the receiver. */
export function slabReading(receiver: ByteReceiver): OnReadOpts & { buffer: () => Buffer } {
  const slab = new ReceiveSlab();
  return {
    buffer: () => slab.space,
    callback: (bytes) => {
      const keptBytes = receiver.receive(slab.chunk(bytes));
      if (keptBytes > 0) slab.keep(bytes, keptBytes);
      return true;
    },
  };
}

/** The file descriptor of a connected socket, where the runtime shows it. */
export function socketDescriptor(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined;
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

function readsIntoBuffers(handle: unknown): handle is object {
  return (
    typeof handle === 'object' &&
    handle !== null &&
    'useUserBuffer' in handle &&
    typeof handle.useUserBuffer === 'function'
  );
}
