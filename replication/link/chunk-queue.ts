/**
 * Bytes received and not yet understood: a list of chunks as they came from the network, read from
 * the front as slices. Nothing is copied but small runs that happen to straddle two chunks, so a
 * payload of many megabytes goes to the log as slices of the buffers it was received into.
 *
 * What was taken contiguously has to be understood at once: its memory is given back, and is
 * written over by what is received next. Slices that were taken belong to whoever took them.
 */
import assert from 'node:assert/strict';

/** `bytes` of `chunk`, or of a chunk that it is a slice of, are not looked at any more. */
export type GiveBack = (chunk: Buffer, bytes: number) => void;

const keep: GiveBack = () => undefined;

export class ChunkQueue {
  /** To be told what is not looked at any more; what was taken as slices is told by its owner. */
  readonly giveBack: GiveBack;
  #chunks: Buffer[] = [];
  /** Index of the first chunk still in use; those before are dropped now and then. */
  #head = 0;
  /** Bytes of the first chunk that were taken already. */
  #offsetBytes = 0;
  #sizeBytes = 0;

  constructor(giveBack: GiveBack = keep) {
    this.giveBack = giveBack;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
  }

  /** Takes the next `lengthBytes`, which must be there, as slices that the caller keeps. */
  take(lengthBytes: number): Buffer[] {
    assert(lengthBytes <= this.#sizeBytes, 'more bytes are taken than were received');
    const slices: Buffer[] = [];
    let missing = lengthBytes;
    while (missing > 0) {
      const chunk = this.#front();
      const end = Math.min(chunk.length, this.#offsetBytes + missing);
      slices.push(chunk.subarray(this.#offsetBytes, end));
      missing -= end - this.#offsetBytes;
      this.#advance(chunk, end);
    }
    this.#sizeBytes -= lengthBytes;
    return slices;
  }

  /**
   * Takes the next `lengthBytes` in one piece, a slice if they lie in one chunk, else a copy; valid
   * until the next chunk comes.
   */
  takeContiguous(lengthBytes: number): Buffer {
    assert(lengthBytes <= this.#sizeBytes, 'more bytes are taken than were received');
    if (lengthBytes === 0) return Buffer.alloc(0);
    const chunk = this.#front();
    const end = this.#offsetBytes + lengthBytes;
    if (end > chunk.length) return this.#takeCopy(lengthBytes);
    this.giveBack(chunk, lengthBytes);
    const slice = chunk.subarray(this.#offsetBytes, end);
    this.#advance(chunk, end);
    this.#sizeBytes -= lengthBytes;
    return slice;
  }

  #takeCopy(lengthBytes: number): Buffer {
    const slices = this.take(lengthBytes);
    for (const slice of slices) this.giveBack(slice, slice.length);
    return Buffer.concat(slices, lengthBytes);
  }

  /** The next `lengthBytes` in one piece, left in the queue; for short headers only. */
  peek(lengthBytes: number): Buffer {
    assert(lengthBytes <= this.#sizeBytes, 'more bytes are looked at than were received');
    if (lengthBytes === 0) return Buffer.alloc(0);
    const front = this.#front().subarray(this.#offsetBytes);
    if (front.length >= lengthBytes) return front.subarray(0, lengthBytes);
    const rest = this.#chunks.slice(this.#head + 1, this.#head + 1 + lengthBytes);
    return Buffer.concat([front, ...rest], lengthBytes);
  }

  /** Takes everything that is there. */
  takeAll(): Buffer[] {
    return this.take(this.#sizeBytes);
  }

  #front(): Buffer {
    const chunk = this.#chunks[this.#head];
    assert(chunk, 'the queue has as many bytes as its chunks');
    return chunk;
  }

  #advance(chunk: Buffer, offsetBytes: number): void {
    if (offsetBytes < chunk.length) {
      this.#offsetBytes = offsetBytes;
      return;
    }
    this.#offsetBytes = 0;
    this.#head += 1;
    if (this.#head === this.#chunks.length) {
      this.#chunks = [];
      this.#head = 0;
    } else if (this.#head >= 64) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
  }
}
