/**
 * One connection after its handshake: parses what comes in, batches what goes out, answers pings,
 * and notices when the other end is gone or does not read.
 *
 * Outgoing: everything sent in one turn of the event loop leaves with one system call, still in
 * that turn (a microtask, or the end of the chunk that is being parsed), because an acknowledgement
 * that waits costs a client its time. The queue is limited by `linkQueueBytesMax`.
 *
 * Incoming: messages are handed on one by one, at once. The stream is never paused here: the
 * handler is synchronous, one unfinished message is kept at most, and how much a sender may have in
 * flight is limited by the sender (its log and window), so there is nothing that could pile up.
 *
 * No method calls back into its caller; `closed` comes from an event, a timer or a microtask.
 */
import type { ChunkQueue } from './chunk-queue.ts';
import type { Clock } from './clock.ts';
import type { LinkReason } from './errors.ts';
import { LinkFormatError } from './errors.ts';
import type { LinkLimits, LinkTimeouts } from './limits.ts';
import type { LinkMessage } from './message-reader.ts';
import { MessageReader } from './message-reader.ts';
import type { Stream } from './network.ts';
import type { Purpose } from './wire-format.ts';
import { encodeEmpty, messageType } from './wire-format.ts';

export interface ConnectionEvents {
  message(message: LinkMessage): void;
  /** The queue has become shorter, at the latest when the stream has taken all of it. */
  drained(): void;
  /** Once, when the connection has ended by itself; not after `end`. */
  closed(reason: LinkReason): void;
  /** Once, the last event: the stream is gone, however it ended. */
  released(): void;
}

export interface ConnectionCounters {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
  framesIn: number;
  framesOut: number;
  /** Of the last answered ping; not of those on a data connection. Undefined before. */
  roundTripMs: number | undefined;
}

export interface ConnectionOptions {
  readonly stream: Stream;
  readonly clock: Clock;
  readonly purpose: Purpose;
  readonly limits: LinkLimits;
  readonly timeouts: LinkTimeouts;
  /** Bytes that came behind the handshake. */
  readonly received: ChunkQueue;
  readonly counters: ConnectionCounters;
  readonly events: ConnectionEvents;
}

type ConnectionState = 'open' | 'failing' | 'ended';

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #reader: MessageReader;
  #state: ConnectionState = 'open';
  #outgoing: Buffer[] = [];
  #outgoingBytes = 0;
  #flushScheduled = false;
  #cancelPing: () => void = () => undefined;
  #pingNumber = 0;
  #pingSentAtMs = 0;
  #silentPings = 0;
  #heardSincePing = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#reader = new MessageReader(options.received, options.purpose, options.limits);
  }

  /** Begins to read and to ping; a separate step, so that its owner knows it by then. */
  start(): void {
    const { stream, counters, received } = this.#options;
    stream.attach({
      data: (chunk) => this.#onData(chunk),
      drained: () => this.#options.events.drained(),
      closed: (error) => this.#onClosed(error),
    });
    this.#ping();
    counters.bytesIn += received.sizeBytes;
    this.#parse();
  }

  get purpose(): Purpose {
    return this.#options.purpose;
  }

  get remoteAddress(): string {
    return this.#options.stream.remoteAddress;
  }

  /** Bytes that were sent and are not yet with the operating system. */
  get queuedBytes(): number {
    return this.#outgoingBytes + this.#options.stream.queuedBytes;
  }

  /** Queues the buffers as one message. They must not change afterwards. */
  send(message: readonly Buffer[]): void {
    for (const buffer of message) {
      this.#outgoing.push(buffer);
      this.#outgoingBytes += buffer.length;
    }
    this.#queued();
  }

  /** Queues one message that lies in one buffer. */
  sendOne(message: Buffer): void {
    this.#outgoing.push(message);
    this.#outgoingBytes += message.length;
    this.#queued();
  }

  /** The peer broke the protocol. To be called from within `events` only: it calls `closed`. */
  violated(text: string): void {
    this.#fail({ code: 'protocol', text: `${this.purpose} connection: ${text}` });
  }

  /** Ends it: `flush` sends first what is queued. No event but `released` comes after. */
  end(how: 'flush' | 'drop'): void {
    if (this.#state === 'ended') return;
    if (how === 'flush') this.#writeOut();
    this.#ended();
    if (how === 'flush') this.#options.stream.close();
    else this.#options.stream.abort();
  }

  #queued(): void {
    const { limits, counters, purpose } = this.#options;
    if (this.#state !== 'open') {
      this.#outgoing = [];
      this.#outgoingBytes = 0;
      return;
    }
    counters.messagesOut += 1;
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      queueMicrotask(() => this.#onFlush());
    }
    if (this.queuedBytes > limits.linkQueueBytesMax) {
      const waiting = `${this.queuedBytes} bytes wait, at most ${limits.linkQueueBytesMax} may`;
      const text = `the peer does not read the ${purpose} connection: ${waiting}`;
      this.#failSoon({ code: 'stuck', text });
    }
  }

  #onFlush(): void {
    this.#flushScheduled = false;
    this.#flush();
  }

  #flush(): void {
    if (this.#outgoing.length === 0 || this.#state !== 'open') return;
    if (this.#writeOut()) this.#options.events.drained();
  }

  #writeOut(): boolean {
    const buffers = this.#outgoing;
    this.#options.counters.bytesOut += this.#outgoingBytes;
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    return buffers.length === 0 || this.#options.stream.write(buffers);
  }

  #onData(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    this.#options.counters.bytesIn += chunk.length;
    this.#heardSincePing = true;
    this.#reader.push(chunk);
    this.#parse();
  }

  #parse(): void {
    const { events, counters } = this.#options;
    while (this.#state === 'open') {
      const message = this.#nextMessage();
      if (message === undefined) break;
      counters.messagesIn += 1;
      if (message.kind === 'ping') this.sendOne(encodeEmpty(messageType.pong, message.id));
      else if (message.kind === 'pong') this.#onPong(message.id);
      else events.message(message);
    }
    this.#flush();
  }

  /** Only decoding is guarded: what the handler throws goes to the top. */
  #nextMessage(): LinkMessage | undefined {
    try {
      return this.#reader.next();
    } catch (error) {
      if (!(error instanceof LinkFormatError)) throw error;
      const text = `wrong bytes on the ${this.purpose} connection: ${error.message}`;
      this.#fail({ code: 'format', text });
      return undefined;
    }
  }

  /**
   * Counts pings in which nothing was heard rather than time, so that a pause of this process (one
   * late timer, everything unread in the socket) is not taken for the peer's silence.
   */
  #ping(): void {
    const { clock, timeouts } = this.#options;
    this.#silentPings = this.#heardSincePing ? 0 : this.#silentPings + 1;
    this.#heardSincePing = false;
    if ((this.#silentPings - 1) * timeouts.pingMs >= timeouts.pingTimeoutMs) {
      const { pingTimeoutMs } = timeouts;
      const text = `nothing came on the ${this.purpose} connection for ${pingTimeoutMs} ms`;
      this.#fail({ code: 'silent', text });
      return;
    }
    this.#pingNumber += 1;
    this.#pingSentAtMs = clock.nowMs();
    this.sendOne(encodeEmpty(messageType.ping, this.#pingNumber));
    this.#cancelPing = clock.setTimer(timeouts.pingMs, () => this.#ping());
  }

  #onPong(id: number): void {
    if (id !== this.#pingNumber || this.purpose === 'data') return;
    this.#options.counters.roundTripMs = this.#options.clock.nowMs() - this.#pingSentAtMs;
  }

  #onClosed(error: Error | undefined): void {
    const how = error === undefined ? 'closed by the peer' : `lost: ${error.message}`;
    this.#fail({ code: 'lost', text: `${this.purpose} connection ${how}` });
    this.#options.events.released();
  }

  /** Fails from within a method of the API: nothing more goes in or out, `closed` comes later. */
  #failSoon(reason: LinkReason): void {
    this.#state = 'failing';
    queueMicrotask(() => this.#fail(reason));
  }

  #fail(reason: LinkReason): void {
    if (this.#state === 'ended') return;
    this.#ended();
    this.#options.stream.abort();
    this.#options.events.closed(reason);
  }

  #ended(): void {
    this.#state = 'ended';
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    this.#cancelPing();
  }
}
