/**
 * A volume in memory, for tests of what stands in front of it: does what it is asked, and no more.
 * A write takes effect when it is completed, and it is completed
 *
 * - `at-once`: before `submit` returns;
 * - `shuffled`: later, in an order that a seed decides;
 * - `held`: when the test says so, in the order that the test says.
 */
import {
  type BlockDevice,
  type BlockError,
  type BlockRequest,
  blockError,
  type ExportDirectory,
  type StatusExtent,
} from '../../daemon/nbd/block-device.ts';
import { SeededRandom } from './seeded-random.ts';

export interface MemoryDeviceOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly description?: string;
  readonly readOnly?: boolean;
  readonly answers?: 'at-once' | 'shuffled' | 'held';
  readonly seed?: number;
  /** Requests that it holds before it is congested. */
  readonly heldMax?: number;
}

const blockBytes = 4096;

export class MemoryDevice implements BlockDevice {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly data: Buffer;
  /** Requests that wait for the test, oldest first. */
  readonly held: BlockRequest[] = [];
  attachedCount = 0;
  submittedCount = 0;
  readNowCount = 0;
  /** While set, every request fails with it and does nothing. */
  failure: BlockError | undefined;
  answers: 'at-once' | 'shuffled' | 'held';
  readonly #heldMax: number;
  readonly #random: SeededRandom;
  readonly #allocated: Uint8Array;
  #waiting: (() => void)[] = [];
  #answerScheduled = false;

  constructor(options: MemoryDeviceOptions) {
    this.name = options.name;
    this.description = options.description ?? `memory volume ${options.name}`;
    this.sizeBytes = options.sizeBytes;
    this.readOnly = options.readOnly ?? false;
    this.answers = options.answers ?? 'at-once';
    this.data = Buffer.alloc(options.sizeBytes);
    this.#allocated = new Uint8Array(Math.ceil(options.sizeBytes / blockBytes));
    this.#heldMax = options.heldMax ?? Number.POSITIVE_INFINITY;
    this.#random = new SeededRandom(options.seed ?? 1);
  }

  get congested(): boolean {
    return this.held.length >= this.#heldMax;
  }

  whenRoom(resume: () => void): void {
    this.#waiting.push(resume);
  }

  attached(): void {
    this.attachedCount += 1;
  }

  detached(): void {
    this.attachedCount -= 1;
  }

  readNow(target: Buffer, offsetBytes: number): boolean {
    if (this.answers !== 'at-once' || this.failure !== undefined) return false;
    this.readNowCount += 1;
    this.data.copy(target, 0, offsetBytes, offsetBytes + target.length);
    return true;
  }

  submit(request: BlockRequest): void {
    this.submittedCount += 1;
    if (this.answers === 'at-once') {
      this.#answer(request);
      return;
    }
    this.held.push(request);
    if (this.answers === 'shuffled' && !this.#answerScheduled) {
      this.#answerScheduled = true;
      setImmediate(() => this.#answerShuffled());
    }
  }

  /** Answers the held request at `index`; the oldest by default. */
  answer(index = 0): void {
    const [request] = this.held.splice(index, 1);
    if (request === undefined) throw new Error(`no request is held at ${index}`);
    this.#answer(request);
    this.#wake();
  }

  answerAll(): void {
    while (this.held.length > 0) this.answer();
  }

  #answerShuffled(): void {
    this.#answerScheduled = false;
    const count = this.held.length;
    for (let index = 0; index < count; index += 1)
      this.answer(this.#random.below(this.held.length));
  }

  #wake(): void {
    if (this.congested) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #answer(request: BlockRequest): void {
    if (this.failure !== undefined) {
      request.complete(this.failure);
      return;
    }
    this.#perform(request);
    request.complete(blockError.none);
  }

  #perform(request: BlockRequest): void {
    const { offsetBytes, lengthBytes } = request;
    const end = offsetBytes + lengthBytes;
    switch (request.command) {
      case 'read':
        this.data.copy(request.target, 0, offsetBytes, end);
        return;
      case 'write': {
        let position = offsetBytes;
        for (const slice of request.payload) position += slice.copy(this.data, position);
        this.#mark(offsetBytes, end, 1);
        return;
      }
      case 'writeZeroes':
      case 'trim':
        this.data.fill(0, offsetBytes, end);
        this.#mark(offsetBytes, end, request.noHole ? 1 : 0);
        return;
      case 'status':
        request.extents = this.#extents(offsetBytes, end);
        return;
      case 'flush':
      case 'cache':
        return;
    }
  }

  /** A hole is made of whole blocks only; data makes every block that it touches allocated. */
  #mark(start: number, end: number, allocated: 0 | 1): void {
    const first = allocated === 1 ? Math.floor(start / blockBytes) : Math.ceil(start / blockBytes);
    const last = allocated === 1 ? Math.ceil(end / blockBytes) : Math.floor(end / blockBytes);
    if (last > first) this.#allocated.fill(allocated, first, last);
  }

  #extents(start: number, end: number): StatusExtent[] {
    const extents: StatusExtent[] = [];
    for (let position = start; position < end; ) {
      const block = Math.floor(position / blockBytes);
      const next = Math.min(end, (block + 1) * blockBytes);
      const hole = this.#allocated[block] === 0;
      const last = extents.at(-1);
      if (last?.hole === hole) last.lengthBytes += next - position;
      else extents.push({ lengthBytes: next - position, hole });
      position = next;
    }
    return extents;
  }
}

/** The given devices as a server's exports. */
export function memoryExports(...devices: BlockDevice[]): ExportDirectory {
  return {
    find: (name) =>
      name === '' && devices.length === 1
        ? devices[0]
        : devices.find((device) => device.name === name),
    list: () => devices,
  };
}
