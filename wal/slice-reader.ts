/** Lists of slices read as one run of bytes, without copying what need not be copied. */
import assert from 'node:assert/strict';

/** The first `lengthBytes` of the slices as one buffer; copied only if they are spread. */
export function gather(slices: readonly Buffer[], lengthBytes: number): Buffer {
  const first = slices[0];
  if (first !== undefined && first.length >= lengthBytes) return first.subarray(0, lengthBytes);
  return Buffer.concat(slices, lengthBytes);
}

/** Hands out runs of bytes of a list of slices, in order, as slices of them. */
export class SliceReader {
  readonly #slices: readonly Buffer[];
  #index = 0;
  #position: number;

  constructor(slices: readonly Buffer[], startBytes: number) {
    this.#slices = slices;
    this.#position = startBytes;
  }

  /** Puts the next `lengthBytes` bytes at the end of `target`, as slices. */
  take(lengthBytes: number, target: Buffer[]): void {
    let missingBytes = lengthBytes;
    while (missingBytes > 0) {
      const slice = this.#slices[this.#index];
      assert(slice !== undefined, 'the slices hold all payloads');
      if (this.#position >= slice.length) {
        this.#position -= slice.length;
        this.#index += 1;
        continue;
      }
      const end = Math.min(slice.length, this.#position + missingBytes);
      target.push(slice.subarray(this.#position, end));
      missingBytes -= end - this.#position;
      this.#position = end;
    }
  }
}
