/**
 * One volume on this site: what its NBD export talks to. Reads are answered from the volume's
 * store if this site may serve reads now; everything else goes to the group's request desk.
 */
import { StoreClosedError } from '../../wal/data-errors.ts';
import { LatencyHistogram } from '../../wal/latency-histogram.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';
import type { BlockDevice, BlockRequest } from '../nbd/block-device.ts';

/** Plain counters of one volume, kept on the path of its requests and read by the metrics. */
export interface VolumeCounters {
  readonly operations: Record<'read' | 'write' | 'writeZeroes' | 'trim' | 'flush', number>;
  readBytes: number;
  writtenBytes: number;
  errors: number;
  readonly readLatency: LatencyHistogram;
  readonly writeLatency: LatencyHistogram;
}

/** All zero. */
export function newCounters(): VolumeCounters {
  return {
    operations: { read: 0, write: 0, writeZeroes: 0, trim: 0, flush: 0 },
    readBytes: 0,
    writtenBytes: 0,
    errors: 0,
    readLatency: new LatencyHistogram(),
    writeLatency: new LatencyHistogram(),
  };
}

/** What a volume needs of its group. */
export interface VolumeHost {
  readonly groupName: string;
  /** This site may answer reads at this very moment; reads the clock (R19, H12). */
  mayRead(): boolean;
  submit(volume: Volume, request: BlockRequest): void;
  readonly congested: boolean;
  whenRoom(resume: () => void): void;
  nowMs(): number;
}

export class Volume implements BlockDevice {
  /** Number within the group. */
  readonly number: number;
  readonly name: string;
  readonly counters: VolumeCounters;
  readonly #host: VolumeHost;
  #store: VolumeStore;
  #sizeBytes: number;
  #allocatedBytes = 0;
  #connections = 0;

  constructor(options: {
    number: number;
    name: string;
    sizeBytes: number;
    store: VolumeStore;
    host: VolumeHost;
    counters: VolumeCounters;
  }) {
    this.number = options.number;
    this.name = options.name;
    this.#store = options.store;
    this.counters = options.counters;
    this.#host = options.host;
    this.#sizeBytes = options.sizeBytes;
  }

  get description(): string {
    return `Casemate volume ${this.name}, kept on two sites (group ${this.#host.groupName})`;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The size took effect: its record is committed and the data file has grown (R40). */
  setSize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
  }

  get store(): VolumeStore {
    return this.#store;
  }

  /** The volume's files were opened anew, in another state (R26); its clients stay. */
  replaceStore(store: VolumeStore, sizeBytes: number): void {
    this.#store = store;
    this.#sizeBytes = sizeBytes;
  }

  /** Bytes that the volume takes on this site's disk; the last that is known while it is closed. */
  async allocatedBytes(): Promise<number> {
    try {
      this.#allocatedBytes = await this.#store.allocatedBytes();
    } catch (error) {
      if (!(error instanceof StoreClosedError)) throw error;
    }
    return this.#allocatedBytes;
  }

  get readOnly(): boolean {
    return false;
  }

  get connections(): number {
    return this.#connections;
  }

  attached(): void {
    this.#connections += 1;
  }

  detached(): void {
    this.#connections -= 1;
  }

  get congested(): boolean {
    return this.#host.congested;
  }

  whenRoom(resume: () => void): void {
    this.#host.whenRoom(resume);
  }

  readNow(target: Buffer, offsetBytes: number): boolean {
    if (!this.#host.mayRead()) return false;
    if (!this.store.readNow(target, offsetBytes)) return false;
    this.counters.operations.read += 1;
    this.counters.readBytes += target.length;
    return true;
  }

  submit(request: BlockRequest): void {
    this.#host.submit(this, request);
  }
}
