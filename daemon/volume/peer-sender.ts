/**
 * Sends a group's frames to the joined peer, in order, without a gap: from memory while the peer
 * keeps up, from the log while it does not. Between the two there is no mode to get wrong: a frame
 * after the cursor is taken from the tail in memory if it is there, else read from the log.
 *
 * What is sent and not acknowledged is bounded by a window, so a peer whose disk is slow fills
 * neither its own memory nor ours (I9). From the log little is sent ahead: what waits at the peer
 * is what a client's write waits for once the peer is near enough to be waited for (R17), and its
 * disk and network are those that clients use.
 */
import type { HeartbeatMessage } from '../../replication/core/messages.ts';
import { type Frame, frameWeightBytes, type HistoryPoint } from '../../wal/frame.ts';
import { Queue } from './queue.ts';

export interface PeerSenderHost {
  /** Number for the next frame, from the core. */
  nextNumber(): number;
  sendFrame(session: number, number: number, frame: Frame): void;
  sendHeartbeat(session: number, heartbeat: HeartbeatMessage): void;
  /** Tells the core what was sent. */
  sent(session: number, number: number, sent: HistoryPoint): void;
  readFrames(afterSequence: number, budgetBytes: number): Promise<readonly Frame[]>;
  /** The log no longer has what the peer needs: the session has to start anew. */
  logGone(session: number, error: Error): void;
}

/** Read from the log at once; about twice as much may be sent and not yet acknowledged. */
const catchUpBytes = 1024 * 1024;

/** A frame with what it counts for in the limits, looked at once. */
interface WeighedFrame {
  readonly frame: Frame;
  readonly weightBytes: number;
}

export class PeerSender {
  readonly #host: PeerSenderHost;
  readonly #windowBytesMax: number;
  readonly #catchUpBytes: number;
  #session: number | undefined;
  #cursor: HistoryPoint = { sequence: 0, digest: '' };
  #end = 0;
  #reading = false;
  /** Newest frames, kept while a session is open and bounded by the window. */
  readonly #tail = new Queue<WeighedFrame>();
  #tailBytes = 0;
  /** Sent and not yet acknowledged. */
  readonly #unacknowledged = new Queue<{ lastSequence: number; weightBytes: number }>();
  #unacknowledgedBytes = 0;

  constructor(host: PeerSenderHost, windowBytesMax: number) {
    this.#host = host;
    this.#windowBytesMax = windowBytesMax;
    this.#catchUpBytes = Math.min(windowBytesMax, catchUpBytes);
  }

  /** Starts to send everything after `from`; `end` is the group's newest sequence. */
  start(session: number, from: HistoryPoint, end: number, inMemory: Iterable<Frame>): void {
    this.stop();
    this.#session = session;
    this.#cursor = from;
    this.#end = end;
    for (const frame of inMemory) this.#keep(frame);
    this.#pump();
  }

  /** Sends nothing yet; what will be sent follows `from`. */
  hold(from: HistoryPoint): void {
    this.stop();
    this.#cursor = from;
  }

  stop(): void {
    this.#session = undefined;
    this.#tail.drain();
    this.#tailBytes = 0;
    this.#unacknowledged.drain();
    this.#unacknowledgedBytes = 0;
  }

  /** A frame was formed at the group's end. Sent at once if the peer keeps up. */
  formed(frame: Frame): void {
    this.#end = frame.lastSequence;
    if (this.#session === undefined) return;
    this.#keep(frame);
    this.#pump();
  }

  /** Sent where there is no frame to send: a frame would say the same (R16). */
  heartbeat(
    { session, epoch, commit }: { session: number; epoch: number; commit: number },
    checkpoint: number,
  ): void {
    const number = this.#host.nextNumber();
    const sent = this.#cursor;
    const heartbeat = { kind: 'heartbeat', epoch, number, commit, sent, checkpoint } as const;
    this.#host.sendHeartbeat(session, heartbeat);
    this.#host.sent(session, number, sent);
  }

  /** The peer's log has everything up to `sequence`. */
  acknowledged(sequence: number): void {
    for (;;) {
      const oldest = this.#unacknowledged.peek();
      if (oldest === undefined || oldest.lastSequence > sequence) break;
      this.#unacknowledged.shift();
      this.#unacknowledgedBytes -= oldest.weightBytes;
    }
    this.#pump();
  }

  /** More of the log is durable, so more of it can be read. */
  wake(): void {
    this.#pump();
  }

  /** The last record sent on the session. */
  get cursor(): HistoryPoint {
    return this.#cursor;
  }

  get unacknowledgedBytes(): number {
    return this.#unacknowledgedBytes;
  }

  #keep(frame: Frame): void {
    const weighed = weigh(frame);
    this.#tail.push(weighed);
    this.#tailBytes += weighed.weightBytes;
    while (this.#tailBytes > this.#windowBytesMax && this.#tail.length > 1) {
      this.#tailBytes -= this.#tail.shift()?.weightBytes ?? 0;
    }
  }

  #pump(): void {
    while (this.#session !== undefined && !this.#reading) {
      if (this.#cursor.sequence >= this.#end) return;
      if (this.#unacknowledgedBytes >= this.#windowBytesMax) return;
      const next = this.#nextInMemory();
      if (next === undefined) {
        if (this.#unacknowledgedBytes < this.#catchUpBytes) this.#read(this.#session);
        return;
      }
      this.#send(this.#session, next);
    }
  }

  #nextInMemory(): WeighedFrame | undefined {
    for (;;) {
      const kept = this.#tail.peek();
      if (kept === undefined) return undefined;
      const { frame, weightBytes } = kept;
      if (frame.firstSequence > this.#cursor.sequence + 1) return undefined;
      this.#tail.shift();
      this.#tailBytes -= weightBytes;
      if (frame.firstSequence === this.#cursor.sequence + 1) return kept;
    }
  }

  #send(session: number, { frame, weightBytes }: WeighedFrame): void {
    const number = this.#host.nextNumber();
    this.#cursor = { sequence: frame.lastSequence, digest: frame.digestAfter };
    this.#unacknowledged.push({ lastSequence: frame.lastSequence, weightBytes });
    this.#unacknowledgedBytes += weightBytes;
    this.#host.sendFrame(session, number, frame);
    this.#host.sent(session, number, this.#cursor);
  }

  #read(session: number): void {
    this.#reading = true;
    const after = this.#cursor.sequence;
    this.#host.readFrames(after, this.#catchUpBytes).then(
      (frames) => {
        this.#reading = false;
        if (this.#session === session && this.#cursor.sequence === after) {
          for (const frame of frames) {
            // Few bytes of log can be much for the peer to do: the rest is read again when it has.
            if (this.#unacknowledgedBytes >= 2 * this.#catchUpBytes) break;
            // The frames in memory may have caught up with the reading.
            if (frame.firstSequence === this.#cursor.sequence + 1)
              this.#send(session, weigh(frame));
          }
          // Nothing durable yet after the cursor: the next frame formed or acknowledged goes on.
          if (frames.length === 0) return;
        }
        this.#pump();
      },
      (error: unknown) => {
        this.#reading = false;
        if (this.#session !== session) {
          this.#pump();
          return;
        }
        this.stop();
        this.#host.logGone(session, error instanceof Error ? error : new Error(String(error)));
      },
    );
  }
}

function weigh(frame: Frame): WeighedFrame {
  return { frame, weightBytes: frameWeightBytes(frame) };
}
