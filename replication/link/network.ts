/**
 * The network port: everything the link asks of TCP, small enough that a simulated network (delay,
 * loss of connections, one-way partitions) can stand in; the real one is in
 * `daemon/system-network.ts`.
 *
 * Addresses are `host:port`, IPv6 hosts in square brackets. TLS, if any, lies behind this port.
 */

export interface StreamEvents {
  /**
   * Bytes arrived. The chunk belongs to the receiver and is not written to again before the
   * receiver has given all of it back (`Stream.giveBack`), which it need not.
   */
  data(chunk: Buffer): void;
  /** What was queued when `write` said false has been handed over. */
  drained(): void;
  /** Called once, the last event: the peer closed it, it broke (`error`), or it was closed here. */
  closed(error: Error | undefined): void;
}

export interface Stream {
  /** Where the other end is, for messages to people. */
  readonly remoteAddress: string;
  /**
   * Whether the other end has proven to be this site (or witness) of this cluster. Absent where
   * connections prove nothing: then what it says of itself is taken.
   */
  readonly vouchesFor?: ((clusterId: string, name: string) => boolean) | undefined;
  /** Bytes written and not yet taken by the operating system. */
  readonly queuedBytes: number;
  /** Says who hears of events from now on. No event comes before the first call. */
  attach(events: StreamEvents): void;
  /**
   * Sends the buffers in order, with one system call if it can. They must not change afterwards.
   * False: more is queued than the stream likes, `drained` will follow. Never calls back.
   */
  write(buffers: readonly Buffer[]): boolean;
  /** `bytes` of a chunk, or of slices of it, are not looked at any more: their memory is free. */
  giveBack(chunk: Buffer, bytes: number): void;
  /** Stops (or goes on with) reading: the peer is slowed down by TCP. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then ends; what still arrives is dropped. Bounded in time. */
  close(): void;
  /** Ends at once; what is queued is lost. */
  abort(): void;
}

export interface Listener {
  /** The address with the port that was really bound (port 0 asks for any free one). */
  readonly address: string;
  /** Takes no new connections; those that were taken live on. */
  close(): Promise<void>;
}

export interface Network {
  /**
   * Opens a connection and calls `done` once, later, unless cancelled by what is returned. It never
   * gives up by itself: the caller has the timer.
   */
  dial(address: string, done: (result: Stream | Error) => void): () => void;
  /** Rejects when it cannot listen on that address. */
  listen(address: string, onStream: (stream: Stream) => void): Promise<Listener>;
}
