/**
 * Large pieces of memory that sockets read into, used again and again. Fresh memory for everything
 * that is received costs page faults and, worse, full collections: the collector is driven by the
 * bytes that buffers hold, and at hundreds of MiB/s it would hardly do anything else.
 *
 *     free --take--> being received into --seal--> full --all given back--> free
 *
 * Whoever keeps bytes of a slab has them counted (`hold`); whoever is done with them says so
 * (`giveBack`). A slab is used again when it is full and everything in it was given back. Giving
 * back is never owed: a slab of which bytes were forgotten, because a connection broke or a request
 * took a rare path, is left to the collector. What must not happen is giving back what somebody
 * still looks at.
 */
import assert from 'node:assert/strict';

export const slabBytes = 256 * 1024;
/** Free slabs that are kept; 64 MiB, as much as one group may have committed and not applied. */
const freeCountMax = 256;

interface Slab {
  readonly memory: Buffer;
  heldBytes: number;
  sealed: boolean;
}

export class SlabPool {
  readonly #slabs = new WeakMap<ArrayBufferLike, Slab>();
  readonly #free: Slab[] = [];
  /** The slab of the last question, which most often is that of the next one. */
  #lastMemory: ArrayBufferLike | undefined;
  #lastSlab: Slab | undefined;

  /** Memory of `slabBytes` to receive into, until `seal`. */
  take(): Buffer {
    const free = this.#free.pop();
    if (free !== undefined) {
      free.sealed = false;
      return free.memory;
    }
    const memory = Buffer.allocUnsafeSlow(slabBytes);
    this.#slabs.set(memory.buffer, { memory, heldBytes: 0, sealed: false });
    return memory;
  }

  /** `bytes` more of the slab that `buffer` is of are kept by somebody. */
  hold(buffer: Buffer, bytes: number): void {
    const slab = this.#slabOf(buffer);
    if (slab !== undefined) slab.heldBytes += bytes;
  }

  /** Nothing more is received into the slab that `buffer` is of. */
  seal(buffer: Buffer): void {
    const slab = this.#slabOf(buffer);
    if (slab === undefined) return;
    slab.sealed = true;
    this.#reuse(slab);
  }

  /** Nobody looks at `bytes` of `buffer` any more. Memory that is of no slab is none of ours. */
  giveBack(buffer: Buffer, bytes: number): void {
    const slab = this.#slabOf(buffer);
    if (slab === undefined) return;
    slab.heldBytes -= bytes;
    if (slab.sealed) this.#reuse(slab);
  }

  #reuse(slab: Slab): void {
    assert(slab.heldBytes >= 0, 'bytes of a slab are given back once');
    if (slab.heldBytes > 0) return;
    if (this.#free.length < freeCountMax) this.#free.push(slab);
    else this.#forget(slab);
  }

  #forget(slab: Slab): void {
    this.#slabs.delete(slab.memory.buffer);
    if (this.#lastSlab === slab) this.#lastMemory = undefined;
  }

  #slabOf(buffer: Buffer): Slab | undefined {
    const memory = buffer.buffer;
    if (memory !== this.#lastMemory) {
      this.#lastMemory = memory;
      this.#lastSlab = this.#slabs.get(memory);
    }
    return this.#lastSlab;
  }
}

/** What the sockets of this process receive into. */
export const receivedMemory = new SlabPool();
