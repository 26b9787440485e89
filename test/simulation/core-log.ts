/**
 * A simulated log of one group on one site: entries in the order in which they were written (frames
 * and cuts), a synced prefix, and what recovery makes of what a crash left.
 */
import type { EpochEntry, GroupConfig } from '../../replication/core/config.ts';
import { type Digest, emptyHistoryDigest, type HistoryPoint } from '../../wal/frame.ts';

export class Violation extends Error {}

export interface SimulatedRecord {
  readonly block: number;
  readonly value: number;
  readonly operation: number;
}

export interface SimulatedFrame {
  readonly epoch: number;
  readonly epochId: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly commit: number;
  readonly digestBefore: Digest;
  readonly digestAfter: Digest;
  readonly epochStart?: GroupConfig;
  readonly records: readonly SimulatedRecord[];
}

type Entry =
  | { readonly kind: 'frame'; readonly frame: SimulatedFrame }
  | { readonly kind: 'cut'; readonly to: HistoryPoint };

/** A running hash that is good enough to tell histories apart. */
export function nextDigest(before: Digest, content: string): Digest {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  const text = before + content;
  for (let index = 0; index < text.length; index += 1) {
    low = Math.imul(low ^ text.charCodeAt(index), 0x01000193) >>> 0;
    high = Math.imul(high ^ (text.charCodeAt(index) + index), 0x85ebca6b) >>> 0;
  }
  return (high.toString(16) + low.toString(16)).padStart(32, '0');
}

export class SimulatedLog {
  #entries: Entry[] = [];
  /** Cuts are not there after a crash (a mutation). */
  forgetsCuts = false;
  /** How many entries are on stable storage. */
  #synced = 0;
  /** The live history: what is left after the cuts. */
  frames: SimulatedFrame[] = [];

  get end(): HistoryPoint {
    const last = this.frames.at(-1);
    return last === undefined
      ? { sequence: 0, digest: emptyHistoryDigest }
      : { sequence: last.lastSequence, digest: last.digestAfter };
  }

  /** The history of another site up to `sequence`, durable here as if it had been copied whole. */
  static copyOf(log: SimulatedLog, sequence: number): SimulatedLog {
    const copy = new SimulatedLog();
    for (const frame of log.frames) if (frame.lastSequence <= sequence) copy.append(frame);
    copy.forgetsCuts = log.forgetsCuts;
    copy.#synced = copy.#entries.length;
    return copy;
  }

  get quiet(): boolean {
    return this.#synced === this.#entries.length;
  }

  get unsynced(): number {
    return this.#entries.length - this.#synced;
  }

  append(frame: SimulatedFrame): void {
    if (frame.firstSequence !== this.end.sequence + 1 || frame.digestBefore !== this.end.digest) {
      throw new Violation(`log: frame ${frame.firstSequence} does not follow ${this.end.sequence}`);
    }
    this.#entries.push({ kind: 'frame', frame });
    this.frames.push(frame);
  }

  cut(to: HistoryPoint): void {
    this.#entries.push({ kind: 'cut', to });
    this.#applyCut(to);
  }

  #applyCut(to: HistoryPoint): void {
    while ((this.frames.at(-1)?.lastSequence ?? 0) > to.sequence) this.frames.pop();
    if (this.end.sequence !== to.sequence || this.end.digest !== to.digest) {
      throw new Violation(`log: cut to ${to.sequence}, which is no frame boundary here`);
    }
  }

  /** Syncs the next `count` entries; gives the sequence that is durable now, if that is a frame. */
  sync(count: number): number | undefined {
    const until = Math.min(this.#synced + count, this.#entries.length);
    let durable: number | undefined;
    for (; this.#synced < until; this.#synced += 1) {
      const entry = this.#entries[this.#synced];
      if (entry?.kind !== 'frame') continue;
      // Of a frame that was cut meanwhile nothing is told.
      if (this.#isLive(entry.frame)) durable = entry.frame.lastSequence;
    }
    return durable;
  }

  #isLive(frame: SimulatedFrame): boolean {
    return this.frames.includes(frame);
  }

  /** Power is lost: some of the unsynced entries are there afterwards, in order. */
  crash(kept: number): void {
    const left = this.#entries.slice(0, this.#synced + kept);
    this.#entries = [];
    this.frames = [];
    for (const entry of left) {
      if (entry.kind === 'frame') this.append(entry.frame);
      else if (!this.forgetsCuts) this.cut(entry.to);
    }
    this.#synced = this.#entries.length;
  }

  /** Only the end of the synced history, for tests of disks that lie. */
  loseTail(frames: number): void {
    for (let index = 0; index < frames; index += 1) this.frames.pop();
    this.#entries = this.frames.map((frame) => ({ kind: 'frame', frame }));
    this.#synced = this.#entries.length;
  }

  /** Durable frames after a record, up to the first reign of another store. */
  framesOf(storeId: string, sequence: number): readonly SimulatedFrame[] {
    const durable = new Set(this.#entries.slice(0, this.#synced));
    const rest = this.frames.filter((frame) => frame.firstSequence > sequence);
    const end = rest.findIndex(({ epochStart }) => {
      return epochStart !== undefined && epochStart.primary !== storeId;
    });
    const own = end < 0 ? rest : rest.slice(0, end);
    const isDurable = (frame: SimulatedFrame): boolean => {
      return [...durable].some((entry) => entry.kind === 'frame' && entry.frame === frame);
    };
    return own.filter(isDurable);
  }

  digestAt(sequence: number): Digest | undefined {
    if (sequence === 0) return emptyHistoryDigest;
    return this.frames.find((frame) => frame.lastSequence === sequence)?.digestAfter;
  }

  get epochHistory(): EpochEntry[] {
    return this.frames
      .filter(({ epochStart }) => epochStart !== undefined)
      .map(({ epoch, epochId, firstSequence }) => ({ epoch, epochId, firstSequence }));
  }

  get lastEpochStart(): GroupConfig | undefined {
    return this.frames.findLast(({ epochStart }) => epochStart !== undefined)?.epochStart;
  }

  /** Value of a block after the records up to and with `sequence`. */
  valueAt(block: number, sequence: number): number {
    for (let index = this.frames.length - 1; index >= 0; index -= 1) {
      const frame = this.frames[index];
      if (frame === undefined || frame.firstSequence > sequence) continue;
      for (let at = frame.records.length - 1; at >= 0; at -= 1) {
        const record = frame.records[at];
        if (record?.block === block && frame.firstSequence + at <= sequence) return record.value;
      }
    }
    return 0;
  }
}
