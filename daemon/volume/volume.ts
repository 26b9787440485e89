/**
 * One volume on this site: what its NBD export talks to. Reads are answered from the volume's
 * store if this site may serve reads now; everything else goes to the group's request desk.
 */
import type { LatencyHistogram } from '../../wal/latency-histogram.ts';
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
  readonly store: VolumeStore;
  readonly counters: VolumeCounters;
  readonly #host: VolumeHost;
  #sizeBytes: number;
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
    this.store = options.store;
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
