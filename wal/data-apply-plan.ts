/**
 * Which of the waiting records can be applied together, in any order and at once: a wave. Pure.
 *
 * A record is cut into at most three parts: the part of a block it begins in (an edge), whole
 * blocks (its body), the part of a block it ends in (another edge). Bodies overwrite what they
 * cover; edges are collected for each block, in order, for one read-modify-write. Within a wave no
 * two bodies overlap and no edge lies in a body: a body that a later one covers wholly is dropped,
 * with the edges below it, and the first record that overlaps in another way begins the next wave.
 * So a record is never applied after a later one to the same place.
 */
import assert from 'node:assert/strict';
import { blockSizeBytes } from './checksum.ts';
import { appliedBytes, type LogRecord } from './frame.ts';
import type { PendingRecord, PendingRecords } from './pending-records.ts';

/** One comparison with each body of the wave for each record: this keeps it below 0.2 us each. */
const recordsPerWaveMax = 256;
const bytesPerWaveMax = 8 * 1024 * 1024;

/** Whole blocks [offset, end) that one record fills. */
export interface Body {
  readonly offsetBytes: number;
  readonly endBytes: number;
  readonly pending: PendingRecord;
}

export interface ApplyPlan {
  /** How many waiting records the wave takes, from the front. */
  readonly count: number;
  /** Ordered by offset. */
  readonly bodies: readonly Body[];
  /** By number of the block: the records to patch into it, the oldest first. */
  readonly edges: ReadonlyMap<number, readonly PendingRecord[]>;
}

/** Plans the next wave; count is 0 only when no record waits. */
export function planWave(records: PendingRecords): ApplyPlan {
  const wave = new Wave();
  let bytes = 0;
  while (wave.count < recordsPerWaveMax && bytes < bytesPerWaveMax) {
    const pending = records.waiting(wave.count);
    if (pending === undefined || !wave.add(pending)) break;
    bytes += appliedBytes(pending.record);
  }
  wave.bodies.sort((a, b) => a.offsetBytes - b.offsetBytes);
  return wave;
}

/** Records of whole blocks that do not overlap, to be written apart from those that wait. */
export function planWhole(records: readonly LogRecord[]): ApplyPlan {
  const bodies = records.map((record): Body => {
    const { offsetBytes, lengthBytes } = record;
    const endBytes = offsetBytes + lengthBytes;
    assert(offsetBytes % blockSizeBytes === 0, 'whole blocks');
    assert(endBytes % blockSizeBytes === 0, 'whole blocks');
    const state = { state: 'started', appliedAfterRead: 0, sequence: 0, givenBack: false } as const;
    return { offsetBytes, endBytes, pending: { record, offsetBytes, endBytes, ...state } };
  });
  bodies.sort((a, b) => a.offsetBytes - b.offsetBytes);
  return { count: 0, bodies, edges: new Map() };
}

class Wave {
  count = 0;
  bodies: Body[] = [];
  readonly edges = new Map<number, PendingRecord[]>();

  /** False: the record overlaps the wave in a way that has to wait. */
  add(pending: PendingRecord): boolean {
    const { offsetBytes, endBytes } = pending;
    const firstBlock = Math.floor(offsetBytes / blockSizeBytes);
    const endBlock = Math.ceil(endBytes / blockSizeBytes);
    const headEdge = offsetBytes % blockSizeBytes !== 0;
    const tailEdge = endBytes % blockSizeBytes !== 0 && !(headEdge && endBlock - firstBlock === 1);
    const body: Body = {
      offsetBytes: (firstBlock + (headEdge ? 1 : 0)) * blockSizeBytes,
      endBytes: (endBlock - (tailEdge ? 1 : 0)) * blockSizeBytes,
      pending,
    };
    const touched = {
      offsetBytes: firstBlock * blockSizeBytes,
      endBytes: endBlock * blockSizeBytes,
    };
    let drops = false;
    for (const other of this.bodies) {
      if (!overlap(other, touched)) continue;
      if (!covers(body, other)) return false;
      drops = true;
    }
    if (drops) this.bodies = this.bodies.filter((other) => !covers(body, other));
    this.#takeBody(body);
    if (headEdge) this.#takeEdge(firstBlock, pending);
    if (tailEdge) this.#takeEdge(endBlock - 1, pending);
    this.count += 1;
    return true;
  }

  #takeBody(body: Body): void {
    if (body.offsetBytes >= body.endBytes) return;
    for (const block of this.edges.keys()) {
      const offsetBytes = block * blockSizeBytes;
      if (offsetBytes >= body.offsetBytes && offsetBytes < body.endBytes) this.edges.delete(block);
    }
    this.bodies.push(body);
  }

  #takeEdge(block: number, pending: PendingRecord): void {
    const edges = this.edges.get(block);
    if (edges === undefined) this.edges.set(block, [pending]);
    else edges.push(pending);
  }
}

interface Range {
  readonly offsetBytes: number;
  readonly endBytes: number;
}

function overlap(a: Range, b: Range): boolean {
  return a.offsetBytes < b.endBytes && b.offsetBytes < a.endBytes;
}

function covers(a: Range, b: Range): boolean {
  return a.offsetBytes <= b.offsetBytes && b.endBytes <= a.endBytes;
}
