/**
 * A small seeded random generator (sfc32, by Chris Doty-Humphrey, PractRand), so that a simulation
 * is repeated exactly by its seed. One generator is shared by everything in one simulated case.
 */
export class SeededRandom {
  #a: number;
  #b: number;
  #c = 0x9e3779b9 | 0;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 0x100000000) | 0;
    for (let round = 0; round < 12; round += 1) this.unsigned32();
  }

  /** An integer from 0 to 2^32 - 1. */
  unsigned32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor((this.unsigned32() / 0x100000000) * limit);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.unsigned32() / 0x100000000 < probability;
  }

  /** One of the list, which must not be empty. */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)];
    if (picked === undefined) throw new RangeError('nothing to pick from');
    return picked;
  }

  /** Fills the buffer; zero bytes are as likely as any other. */
  fill(buffer: Buffer): void {
    for (let index = 0; index < buffer.length; index += 1) buffer[index] = this.unsigned32() & 0xff;
  }
}
