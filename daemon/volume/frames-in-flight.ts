/**
 * The frames of one group that are not committed yet, in order, with the requests that wait for
 * them. On the primary they were formed here, on a secondary they came from the peer. Everything
 * in here may still be cut (I3); nothing in here may be shown to a read.
 */
import assert from 'node:assert/strict';
import { type Frame, frameWeightBytes } from '../../wal/frame.ts';
import { Queue } from './queue.ts';
import type { WritePart } from './write-part.ts';

export interface FrameInFlight {
  readonly frame: Frame;
  readonly weightBytes: number;
  /** It came from the peer and was given to no sender since: nothing of it waits in the link. */
  receivedOnly: boolean;
  /** The requests answered by this frame's commit; replaced when a returning origin is found. */
  parts: readonly WritePart[];
  readonly formedAtMs: number;
  /** When the frame was durable in this site's log, and at the peer; 0 while it is not. */
  durableAtMs: number;
  peerDurableAtMs: number;
}

export class FramesInFlight {
  readonly #frames = new Queue<FrameInFlight>();
  #bytes = 0;
  /** Frames before this index are known durable here, or at the peer. */
  #durableCount = 0;
  #peerDurableCount = 0;

  /** What the frames count for in the limits. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#frames.length;
  }

  get oldest(): FrameInFlight | undefined {
    return this.#frames.peek();
  }

  /** Adds the next frame; its records follow those that are there without a gap. */
  push(frame: Frame, parts: readonly WritePart[], nowMs: number, received = false): FrameInFlight {
    const last = this.#frames.last();
    assert(
      last === undefined || frame.firstSequence === last.frame.lastSequence + 1,
      'frames in flight follow each other without a gap (I2)',
    );
    const entry = {
      frame,
      weightBytes: frameWeightBytes(frame),
      receivedOnly: received,
      parts,
      formedAtMs: nowMs,
      durableAtMs: 0,
      peerDurableAtMs: 0,
    };
    this.#frames.push(entry);
    this.#bytes += entry.weightBytes;
    return entry;
  }

  /** Notes when frames became durable here, for the figures. */
  noteDurable(sequence: number, nowMs: number): void {
    for (;;) {
      const entry = this.#frames.at(this.#durableCount);
      if (entry === undefined || entry.frame.lastSequence > sequence) return;
      entry.durableAtMs = nowMs;
      this.#durableCount += 1;
    }
  }

  /** Notes when frames became durable at the peer, for the figures. */
  notePeerDurable(sequence: number, nowMs: number): void {
    for (;;) {
      const entry = this.#frames.at(this.#peerDurableCount);
      if (entry === undefined || entry.frame.lastSequence > sequence) return;
      entry.peerDurableAtMs = nowMs;
      this.#peerDurableCount += 1;
    }
  }

  /** Takes out the oldest frame if it ends at or below `sequence`. */
  shiftThrough(sequence: number): FrameInFlight | undefined {
    const entry = this.#frames.peek();
    if (entry === undefined || entry.frame.lastSequence > sequence) return undefined;
    this.#frames.shift();
    this.#bytes -= entry.weightBytes;
    if (this.#durableCount > 0) this.#durableCount -= 1;
    if (this.#peerDurableCount > 0) this.#peerDurableCount -= 1;
    return entry;
  }

  /** Takes out all frames after `sequence` (a frame boundary), oldest first. */
  cutAfter(sequence: number): FrameInFlight[] {
    const cut: FrameInFlight[] = [];
    for (;;) {
      const last = this.#frames.last();
      if (last === undefined || last.frame.lastSequence <= sequence) break;
      assert(last.frame.firstSequence > sequence, 'a cut falls between two frames (R28)');
      this.#frames.pop();
      this.#bytes -= last.weightBytes;
      cut.push(last);
    }
    this.#durableCount = Math.min(this.#durableCount, this.#frames.length);
    this.#peerDurableCount = Math.min(this.#peerDurableCount, this.#frames.length);
    return cut.reverse();
  }

  /**
   * All frames, for a session that begins. Received ones are among them when this site took over
   * with them. What the peer had acknowledged before says nothing of what this session will send.
   */
  forSending(): Frame[] {
    const frames: Frame[] = [];
    for (const entry of this.#frames) {
      entry.receivedOnly = false;
      entry.peerDurableAtMs = 0;
      frames.push(entry.frame);
    }
    this.#peerDurableCount = 0;
    return frames;
  }

  *[Symbol.iterator](): IterableIterator<FrameInFlight> {
    yield* this.#frames;
  }
}
