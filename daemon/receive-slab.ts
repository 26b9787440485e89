/**
 * Where a connection's bytes are received. The socket reads straight into a slab; payloads of
 * writes are slices of it, and live for as long as the device needs them, so a slab is never
 * written twice where a payload was kept.
 *
 *     | chunk with payloads | chunk with payloads | next read goes here ...        |
 *                                                 ^position
 *
 * What a payload can pin is bounded by these rules:
 * - a chunk of which nothing was kept (headers, refused payloads) is written over by the next one,
 *   so only bytes of chunks that carry payloads take room in a slab;
 * - slabs start small (an idle connection costs 16 KiB) and grow only when a read fills what was
 *   left of one that size, which is a connection that sends much; the largest are used again
 *   (`slab-pool.ts`);
 * - payloads of one slab came one after the other, are committed and applied in that order, and so
 *   let go of the slab at about the same time.
 * Node's own way, a fresh 64 KiB allocation for each read that is then shrunk to what came, pins
 * less for one payload, but costs an allocation and a collection for every read.
 */
import { receivedMemory, slabBytes } from './slab-pool.ts';

const slabBytesMin = 16 * 1024;
/** Fewer bytes than this at a slab's end aren't worth a read of their own. */
const readBytesMin = 8 * 1024;

export class ReceiveSlab {
  #slab: Buffer = Buffer.allocUnsafeSlow(slabBytesMin);
  #position = 0;
  #space: Buffer = this.#slab;

  /** Where the next read goes; the same buffer until `keep`. */
  get space(): Buffer {
    return this.#space;
  }

  /** The bytes that a read has put at the beginning of `space`. */
  chunk(bytes: number): Buffer {
    return this.#space.subarray(0, bytes);
  }

  /**
   * Of the first `bytes` of `space`, which were received, others keep `keptBytes`, more than none:
   * the next read goes behind them.
   */
  keep(bytes: number, keptBytes: number): void {
    receivedMemory.hold(this.#slab, keptBytes);
    const filled = bytes === this.#space.length;
    this.#position += bytes;
    if (this.#slab.length - this.#position < readBytesMin) {
      receivedMemory.seal(this.#slab);
      this.#slab = nextSlab(filled ? this.#slab.length * 4 : this.#slab.length);
      this.#position = 0;
    }
    this.#space = this.#slab.subarray(this.#position);
  }
}

function nextSlab(sizeBytes: number): Buffer {
  return sizeBytes >= slabBytes ? receivedMemory.take() : Buffer.allocUnsafeSlow(sizeBytes);
}
