/**
 * The frame boundaries between the commit point and the end of the log: sequence, digest and the
 * time at which each frame was formed or received. A ring of parallel arrays that grows by
 * doubling and never shrinks, so that the path of a write allocates nothing; its length is bounded
 * by the frames in flight (I9), which the driver limits.
 *
 * The newest boundary at or below the commit point is kept as well, for its digest.
 */
import assert from 'node:assert/strict';
import type { Digest, HistoryPoint } from '../../wal/frame.ts';

const initialCapacity = 64;

export class FrameTail {
  #sequences: Float64Array = new Float64Array(initialCapacity);
  #times: Float64Array = new Float64Array(initialCapacity);
  #digests: Digest[] = new Array<Digest>(initialCapacity).fill('');
  #head = 0;
  #length = 0;

  /** Forgets everything but the given boundary. */
  reset(point: HistoryPoint, nowMs: number): void {
    this.#head = 0;
    this.#length = 0;
    this.push(point, nowMs);
  }

  /** Adds the boundary at the end of a frame; sequences must rise. */
  push(point: HistoryPoint, nowMs: number): void {
    if (this.#length > 0) {
      assert(point.sequence > this.#sequenceAt(this.#length - 1), 'frame boundaries rise');
    }
    if (this.#length === this.#sequences.length) this.#grow();
    const slot = (this.#head + this.#length) & (this.#sequences.length - 1);
    this.#sequences[slot] = point.sequence;
    this.#times[slot] = nowMs;
    this.#digests[slot] = point.digest;
    this.#length += 1;
  }

  /** Forgets the boundaries below `sequence`, but for the newest one at or below it. */
  discardBelow(sequence: number): void {
    while (this.#length > 1 && this.#sequenceAt(1) <= sequence) {
      this.#head = (this.#head + 1) & (this.#sequences.length - 1);
      this.#length -= 1;
    }
  }

  /** Forgets the boundaries above `sequence` (a cut). */
  discardAbove(sequence: number): void {
    while (this.#length > 0 && this.#sequenceAt(this.#length - 1) > sequence) this.#length -= 1;
  }

  /** The digest at `sequence`, if that is a boundary that is still known. */
  digestAt(sequence: number): Digest | undefined {
    const index = this.#firstAbove(sequence) - 1;
    if (index < 0 || this.#sequenceAt(index) !== sequence) return undefined;
    return this.#digests[(this.#head + index) & (this.#sequences.length - 1)];
  }

  /** When the oldest frame that ends above `sequence` was formed; undefined if there is none. */
  oldestAboveMs(sequence: number): number | undefined {
    const index = this.#firstAbove(sequence);
    if (index === this.#length) return undefined;
    return this.#times[(this.#head + index) & (this.#sequences.length - 1)];
  }

  #firstAbove(sequence: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sequenceAt(middle) > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #sequenceAt(index: number): number {
    return this.#sequences[(this.#head + index) & (this.#sequences.length - 1)] ?? 0;
  }

  #grow(): void {
    const capacity = this.#sequences.length;
    const sequences = new Float64Array(capacity * 2);
    const times = new Float64Array(capacity * 2);
    const digests = new Array<Digest>(capacity * 2).fill('');
    for (let index = 0; index < this.#length; index += 1) {
      const slot = (this.#head + index) & (capacity - 1);
      sequences[index] = this.#sequences[slot] ?? 0;
      times[index] = this.#times[slot] ?? 0;
      digests[index] = this.#digests[slot] ?? '';
    }
    this.#sequences = sequences;
    this.#times = times;
    this.#digests = digests;
    this.#head = 0;
  }
}
