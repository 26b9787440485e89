/**
 * A set of whole numbers (of blocks, of extents) as a sparse bitmap, with a memory of which parts
 * of it have changed since they were last kept in a store. Chunks of 32768 numbers; what is empty
 * takes no memory, so that the set of a large volume of which little is in it is small (I9: at most
 * one bit for each number that can be in it).
 */
import assert from 'node:assert/strict';

/** Numbers in one chunk; 4 KiB of bits. */
export const chunkNumbers = 32_768;
const chunkBytes = chunkNumbers / 8;

/** One chunk as it is kept: bits, lowest number in the lowest bit of the first byte. */
export interface SetChunk {
  readonly chunk: number;
  /** Undefined: nothing of the chunk is in the set. */
  readonly bits: Uint8Array | undefined;
}

/** What has to be kept of a set, as it was when this was taken. */
export interface SetChanges {
  readonly chunks: readonly SetChunk[];
  /** For `kept`. */
  readonly versions: ReadonlyMap<number, number>;
}

interface Chunk {
  readonly bits: Uint8Array;
  count: number;
}

export interface NumberRun {
  readonly first: number;
  readonly end: number;
}

export class SparseSet {
  readonly #chunks = new Map<number, Chunk>();
  /** Chunks that differ from what is kept, each with the number of its last change. */
  readonly #changed = new Map<number, number>();
  /** The chunks' numbers in order, until one comes or goes. */
  #order: number[] | undefined;
  #version = 0;
  #size = 0;

  /** How many numbers are in the set. */
  get size(): number {
    return this.#size;
  }

  has(number: number): boolean {
    const chunk = this.#chunks.get(Math.floor(number / chunkNumbers));
    if (chunk === undefined) return false;
    const bit = number % chunkNumbers;
    return ((chunk.bits[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** Puts the numbers from `first` up to, but not with, `end` into the set. */
  add(first: number, end = first + 1): void {
    assert(first >= 0 && Number.isSafeInteger(end), 'numbers of a set are whole');
    this.#each(first, end, (index, from, to) => {
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        chunk = { bits: new Uint8Array(chunkBytes), count: 0 };
        this.#chunks.set(index, chunk);
        this.#order = undefined;
      }
      this.#assign(index, chunk, { from, to, value: true });
    });
  }

  /** Takes the numbers from `first` up to, but not with, `end` out of the set. */
  delete(first: number, end = first + 1): void {
    this.#each(first, end, (index, from, to) => {
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) return;
      this.#assign(index, chunk, { from, to, value: false });
      if (chunk.count > 0) return;
      this.#chunks.delete(index);
      this.#order = undefined;
    });
  }

  /** Puts everything that is in the other set into this one. */
  addAll(other: SparseSet): void {
    for (const { first, end } of other.runs()) this.add(first, end);
  }

  /** Empties the set; what is kept of it counts as changed. */
  clear(): void {
    for (const { first, end } of [...this.runs()]) this.delete(first, end);
  }

  /** The smallest number in the set from `from` up to, but not with, `limit`. */
  next(from: number, limit = Number.POSITIVE_INFINITY): number | undefined {
    const order = this.#inOrder();
    for (let place = placeOf(order, Math.floor(from / chunkNumbers)); ; place += 1) {
      const index = order[place];
      if (index === undefined || index * chunkNumbers >= limit) return undefined;
      const found = this.#nextInChunk(index, from);
      if (found !== undefined) return found < limit ? found : undefined;
    }
  }

  #nextInChunk(index: number, from: number): number | undefined {
    const bits = this.#chunks.get(index)?.bits;
    if (bits === undefined) return undefined;
    const base = index * chunkNumbers;
    for (let bit = Math.max(0, from - base); bit < chunkNumbers; ) {
      const byte = bits[bit >> 3] ?? 0;
      if (byte >> (bit & 7) === 0) bit = (bit | 7) + 1;
      else if ((byte & (1 << (bit & 7))) !== 0) return base + bit;
      else bit += 1;
    }
    return undefined;
  }

  /** What is in the set, as runs of numbers in rising order; the set must not change meanwhile. */
  *runs(from = 0): IterableIterator<NumberRun> {
    for (let first = this.next(from); first !== undefined; ) {
      const end = this.#nextAbsent(first, Number.MAX_SAFE_INTEGER);
      yield { first, end };
      first = this.next(end);
    }
  }

  /** The end of the run from `first` on, up to `limit`, that is all in the set or all not. */
  runEnd(first: number, limit: number): number {
    return this.has(first) ? this.#nextAbsent(first, limit) : (this.next(first, limit) ?? limit);
  }

  /** The smallest number that is not in the set, from `from` on; at most `limit`. */
  #nextAbsent(from: number, limit: number): number {
    for (let at = from; at < limit; ) {
      const index = Math.floor(at / chunkNumbers);
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) return at;
      const base = index * chunkNumbers;
      if (chunk.count < chunkNumbers) {
        for (let bit = at - base; bit < chunkNumbers; ) {
          const byte = chunk.bits[bit >> 3] ?? 0;
          if (byte === 0xff) bit = (bit | 7) + 1;
          else if ((byte & (1 << (bit & 7))) === 0) return Math.min(limit, base + bit);
          else bit += 1;
        }
      }
      at = base + chunkNumbers;
    }
    return limit;
  }

  /** All chunks of the set, in order. */
  chunks(): SetChunk[] {
    return this.#inOrder().map((chunk) => ({
      chunk,
      bits: this.#chunks.get(chunk)?.bits.slice(),
    }));
  }

  /** Takes over a chunk that was kept. It does not count as changed. */
  load(chunk: number, bits: Uint8Array): void {
    assert(bits.length === chunkBytes, 'a chunk has its size');
    const count = countBits(bits);
    this.#size += count - (this.#chunks.get(chunk)?.count ?? 0);
    this.#order = undefined;
    if (count === 0) this.#chunks.delete(chunk);
    else this.#chunks.set(chunk, { bits: Uint8Array.from(bits), count });
  }

  /** What differs from what is kept. */
  changes(): SetChanges {
    const chunks = [...this.#changed.keys()].map((chunk) => ({
      chunk,
      bits: this.#chunks.get(chunk)?.bits.slice(),
    }));
    return { chunks, versions: new Map(this.#changed) };
  }

  /** These changes are kept now; what has changed since they were taken is not. */
  kept(changes: SetChanges): void {
    for (const [chunk, version] of changes.versions) {
      if (this.#changed.get(chunk) === version) this.#changed.delete(chunk);
    }
  }

  #each(
    first: number,
    end: number,
    visit: (index: number, from: number, to: number) => void,
  ): void {
    for (let at = first; at < end; ) {
      const index = Math.floor(at / chunkNumbers);
      const base = index * chunkNumbers;
      const to = Math.min(end - base, chunkNumbers);
      visit(index, at - base, to);
      at = base + to;
    }
  }

  #assign(
    index: number,
    chunk: Chunk,
    range: { readonly from: number; readonly to: number; readonly value: boolean },
  ): void {
    const { from, to, value } = range;
    const { bits } = chunk;
    let changed = 0;
    for (let bit = from; bit < to; ) {
      const place = bit >> 3;
      const byte = bits[place] ?? 0;
      const upper = Math.min(to, (bit | 7) + 1);
      const mask = ((1 << (upper - (place << 3))) - 1) & ~((1 << (bit & 7)) - 1);
      const next = value ? byte | mask : byte & ~mask;
      if (next !== byte) {
        changed += bitsOfByte(next) - bitsOfByte(byte);
        bits[place] = next;
      }
      bit = upper;
    }
    if (changed === 0) return;
    chunk.count += changed;
    this.#size += changed;
    this.#version += 1;
    this.#changed.set(index, this.#version);
  }

  #inOrder(): readonly number[] {
    this.#order ??= [...this.#chunks.keys()].sort((left, right) => left - right);
    return this.#order;
  }
}

/** The first place in rising numbers that holds `number` or more. */
function placeOf(numbers: readonly number[], number: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

const bitCounts = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest >>= 1) count += rest & 1;
  return count;
});

function bitsOfByte(byte: number): number {
  return bitCounts[byte & 0xff] ?? 0;
}

function countBits(bits: Uint8Array): number {
  let count = 0;
  for (const byte of bits) count += bitsOfByte(byte);
  return count;
}
