/**
 * Where in the log each frame of one group is: a contiguous run of frames in order of sequence,
 * from a base point on. Memory is bounded by the size of the log (an entry takes at least one page
 * of it), about 100 bytes for each frame.
 */
import assert from 'node:assert/strict';
import type { Digest, HistoryPoint } from './frame.ts';

export interface IndexedFrame {
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Of the frame's log entry. */
  readonly lsn: number;
  readonly frameSizeBytes: number;
}

/** Dropped places at the front are given back when there are this many. */
const compactAt = 1024;

export class FrameIndex {
  #base: HistoryPoint;
  #head = 0;
  #lasts: number[] = [];
  #lsns: number[] = [];
  #sizes: number[] = [];
  #digests: Digest[] = [];

  constructor(base: HistoryPoint) {
    this.#base = base;
  }

  get length(): number {
    return this.#lasts.length - this.#head;
  }

  /** The point before the first frame. */
  get base(): HistoryPoint {
    return this.#base;
  }

  /** The point after the last frame. */
  get end(): HistoryPoint {
    const sequence = this.#lasts.at(-1);
    const digest = this.#digests.at(-1);
    if (this.length === 0 || sequence === undefined || digest === undefined) return this.#base;
    return { sequence, digest };
  }

  /** Sequence of the first record that is here; end + 1 if there is none. */
  get firstSequence(): number {
    return this.#base.sequence + 1;
  }

  /** Adds the frame that follows the end. */
  add(frame: IndexedFrame & { readonly digestAfter: Digest }): void {
    assert(frame.firstSequence === this.end.sequence + 1, 'frames are indexed in order');
    this.#lasts.push(frame.lastSequence);
    this.#lsns.push(frame.lsn);
    this.#sizes.push(frame.frameSizeBytes);
    this.#digests.push(frame.digestAfter);
  }

  /** Drops the frames after `sequence`, which is a boundary. */
  truncate(sequence: number): void {
    assert(this.digestAt(sequence) !== undefined, 'a run is cut at a frame boundary');
    while (this.length > 0 && (this.#lasts.at(-1) ?? 0) > sequence) {
      this.#lasts.pop();
      this.#lsns.pop();
      this.#sizes.pop();
      this.#digests.pop();
    }
  }

  /** Drops everything; the run begins anew after `base`. */
  restart(base: HistoryPoint): void {
    this.#base = base;
    this.#head = 0;
    this.#lasts = [];
    this.#lsns = [];
    this.#sizes = [];
    this.#digests = [];
  }

  /** Drops the frames whose entries lie below `lsn`. */
  dropBelow(lsn: number): void {
    while (this.length > 0 && (this.#lsns[this.#head] ?? lsn) < lsn) {
      const sequence = this.#lasts[this.#head] ?? 0;
      this.#base = { sequence, digest: this.#digests[this.#head] ?? this.#base.digest };
      this.#head += 1;
    }
    if (this.#head < compactAt || this.#head * 2 < this.#lasts.length) return;
    this.#lasts = this.#lasts.slice(this.#head);
    this.#lsns = this.#lsns.slice(this.#head);
    this.#sizes = this.#sizes.slice(this.#head);
    this.#digests = this.#digests.slice(this.#head);
    this.#head = 0;
  }

  /** The digest at `sequence`, if that is a boundary of the run (its base and end are). */
  digestAt(sequence: number): Digest | undefined {
    if (sequence === this.#base.sequence) return this.#base.digest;
    const place = this.#placeOf(sequence);
    return this.#lasts[place] === sequence ? this.#digests[place] : undefined;
  }

  /** Ordinal (from 0) of the frame that starts with `sequence`; undefined if none does. */
  ordinalOf(sequence: number): number | undefined {
    const place = this.#placeOf(sequence);
    if (place >= this.#lasts.length || this.#firstAt(place) !== sequence) return undefined;
    return place - this.#head;
  }

  at(ordinal: number): IndexedFrame | undefined {
    const place = this.#head + ordinal;
    const lastSequence = this.#lasts[place];
    const lsn = this.#lsns[place];
    const frameSizeBytes = this.#sizes[place];
    if (lastSequence === undefined || lsn === undefined || frameSizeBytes === undefined) {
      return undefined;
    }
    return { firstSequence: this.#firstAt(place), lastSequence, lsn, frameSizeBytes };
  }

  #firstAt(place: number): number {
    const before = place === this.#head ? this.#base.sequence : this.#lasts[place - 1];
    return (before ?? 0) + 1;
  }

  /** Place of the first frame that ends at or after `sequence`. */
  #placeOf(sequence: number): number {
    let low = this.#head;
    let high = this.#lasts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#lasts[middle] ?? 0) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
