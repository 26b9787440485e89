/**
 * What a volume does about blocks of its data file that can't be read or do not match their
 * checksum (R34): it asks the other site for them, proves what it is given, and writes it in place.
 * A block that can't be had is never given to anyone: reads of it fail until it is healed or
 * written anew as a whole.
 *
 * What the other site gives is taken if one of these proves it:
 *
 * - it has the checksum that is kept here for the block;
 * - it is the same as what is in the data file: then the checksum is what has rotted;
 * - the block has no checksum of its own here any more (it was changed in part while the rest was
 *   lost), and both sites are in sync, their histories proven the same (I11). The other site has
 *   checked it against its own checksum.
 *
 * A block that had to be changed in part although the rest of it was lost is marked: its checksum
 * is kept with some bits turned over, so that it matches nothing, in this life and in later ones.
 *
 * This file looks at and writes single blocks, in the pauses that `volume-store.ts` makes between
 * waves of application, so that nobody else changes them meanwhile.
 */
import type { BlockChecksums } from './block-checksums.ts';
import { blockSizeBytes, crc32c } from './checksum.ts';
import type { Body } from './data-apply-plan.ts';
import type { DiskFile } from './disk.ts';
import { DiskError } from './disk-error.ts';
import type { PendingRecords } from './pending-records.ts';

/** So many blocks are asked for at once. */
const blocksAtOnceMax = 64;
/** A block may have been changed at the other site and not yet here: then it is asked for again. */
const attemptsMax = 5;
const againMs = 20;
/** Bad blocks that are remembered for status; those beyond it are found again when read. */
const rememberedBlocksMax = 4096;
const markedBits = 0x5bad_b10c;

/** Blocks of the same volume at the other site, checked there. */
export interface PeerBlocks {
  readonly data: Buffer;
  /** The two sites are in sync, which is proven by their digests. */
  readonly inSync: boolean;
}

/**
 * Asks the other site for a range of the volume, with every record that is committed here.
 * Undefined: it can't help. Does not reject.
 */
export type FetchBlocks = (
  offsetBytes: number,
  lengthBytes: number,
) => Promise<PeerBlocks | undefined>;

export interface HealingReport {
  readonly kind: 'healed' | 'unreadable';
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface BlockHealingOptions {
  readonly file: DiskFile;
  readonly checksums: BlockChecksums;
  readonly pending: PendingRecords;
  readonly retryWhenFull: <T>(call: () => Promise<T>) => Promise<T>;
  readonly fetch: FetchBlocks;
  /** Runs a task while nothing is being applied. Rejects when the volume is closed or failed. */
  readonly betweenWaves: <T>(task: () => Promise<T>) => Promise<T>;
  readonly delay: (ms: number) => Promise<void>;
  readonly told: (report: HealingReport) => void;
  /** Writing the data file failed: final (I8). */
  readonly failed: (error: unknown) => void;
}

interface BadBlock {
  readonly block: number;
  readonly expected: number;
  /** Undefined: the disk does not give it. */
  readonly content: Buffer | undefined;
}

export class BlockHealing {
  readonly #options: BlockHealingOptions;
  readonly #bad = new Set<number>();
  #last: Promise<unknown> = Promise.resolve();
  /** Blocks that were rewritten from the other site in this life. */
  healedBlocks = 0;

  constructor(options: BlockHealingOptions) {
    this.#options = options;
  }

  get badBlockCount(): number {
    return this.#bad.size;
  }

  /** The blocks that are known to be bad, adjacent ones together. */
  badRanges(): { readonly offsetBytes: number; readonly lengthBytes: number }[] {
    const blocks = [...this.#bad].sort((left, right) => left - right);
    return runsOf(blocks, rememberedBlocksMax).map(({ first, count }) => ({
      offsetBytes: first * blockSizeBytes,
      lengthBytes: count * blockSizeBytes,
    }));
  }

  /** Heals what is bad in a range; true: everything in it can be read now. One at a time. */
  heal(offsetBytes: number, lengthBytes: number): Promise<boolean> {
    const first = Math.floor(offsetBytes / blockSizeBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / blockSizeBytes);
    const healing = this.#last.then(() => this.#heal(first, end));
    this.#last = healing.catch(() => undefined);
    return healing;
  }

  /** Tries again with every block that is known to be bad. */
  async healKnown(): Promise<void> {
    for (const { offsetBytes, lengthBytes } of this.badRanges()) {
      if (!(await this.heal(offsetBytes, lengthBytes))) return;
    }
  }

  /**
   * A block that is about to be changed in part, in a wave, is bad. Gives what to change: the other
   * site's, or the rotten content itself, not `proven` then, so that its checksum must be marked.
   * Undefined: there is nothing to change at all.
   */
  async mend(bad: BadBlock): Promise<{ content: Buffer; proven: boolean } | undefined> {
    const { block, content } = bad;
    const found = await this.#options.fetch(block * blockSizeBytes, blockSizeBytes);
    if (found !== undefined && (found.inSync || isProven(found, bad, found.data))) {
      this.#healed(block);
      // A copy: it will be changed, and what came may be a part of a larger buffer.
      return { content: Buffer.from(found.data), proven: true };
    }
    this.#remember([block]);
    return content === undefined ? undefined : { content, proven: false };
  }

  /** Bodies were written: whatever was bad there is gone. */
  overwritten(bodies: readonly Body[]): void {
    if (this.#bad.size === 0) return;
    for (const block of [...this.#bad]) {
      const offsetBytes = block * blockSizeBytes;
      const isGone = bodies.some(
        (body) => body.offsetBytes <= offsetBytes && offsetBytes < body.endBytes,
      );
      if (isGone) this.#bad.delete(block);
    }
  }

  async #heal(first: number, end: number): Promise<boolean> {
    const { betweenWaves, delay, fetch } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      const bad = await betweenWaves(() => this.#badBlocks(first, end));
      if (bad.length === 0) return true;
      if (attempt === attemptsMax) {
        this.#remember(bad);
        return false;
      }
      if (attempt > 0) await delay(againMs);
      for (const run of runsOf(bad, blocksAtOnceMax)) {
        const found = await fetch(run.first * blockSizeBytes, run.count * blockSizeBytes);
        if (found === undefined) {
          this.#remember(bad);
          return false;
        }
        await betweenWaves(() => this.#install(run, found));
      }
    }
  }

  async #badBlocks(first: number, end: number): Promise<number[]> {
    const bad: number[] = [];
    for (let block = first; block < end; block += 1) {
      if ((await this.#inspect(block)) !== undefined) bad.push(block);
      else this.#bad.delete(block);
    }
    return bad;
  }

  /** Undefined: the block is good, or a replay will write it anew. */
  async #inspect(block: number): Promise<BadBlock | undefined> {
    const { file, pending } = this.#options;
    const offsetBytes = block * blockSizeBytes;
    const touching = pending.overlapping(offsetBytes, offsetBytes + blockSizeBytes);
    if (touching.some((record) => pending.mayBeHalfApplied(record))) return undefined;
    const content = Buffer.allocUnsafeSlow(blockSizeBytes);
    const expected = await this.#expected(block);
    try {
      await file.read(content, offsetBytes, 'read-data');
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return { block, expected, content: undefined };
    }
    return crc32c(content) === expected ? undefined : { block, expected, content };
  }

  async #expected(block: number): Promise<number> {
    const { checksums, retryWhenFull } = this.#options;
    for (;;) {
      const expected = checksums.get(block);
      if (expected >= 0) return expected;
      await retryWhenFull(() => checksums.load(block));
    }
  }

  async #install(run: Run, found: PeerBlocks): Promise<void> {
    for (let place = 0; place < run.count; place += 1) {
      const bad = await this.#inspect(run.first + place);
      if (bad === undefined) continue;
      const start = place * blockSizeBytes;
      const data = found.data.subarray(start, start + blockSizeBytes);
      if (isProven(found, bad, data)) await this.#rewrite(bad.block, data);
    }
  }

  async #rewrite(block: number, data: Buffer): Promise<void> {
    const { file, checksums, retryWhenFull, failed } = this.#options;
    const offsetBytes = block * blockSizeBytes;
    try {
      await retryWhenFull(() => file.write([data], offsetBytes, 'apply-data'));
    } catch (error) {
      failed(error);
      throw error;
    }
    const checksum = crc32c(data);
    while (!checksums.set(block, checksum)) await retryWhenFull(() => checksums.load(block));
    this.#healed(block);
  }

  #healed(block: number): void {
    this.healedBlocks += 1;
    this.#bad.delete(block);
    const offsetBytes = block * blockSizeBytes;
    this.#options.told({ kind: 'healed', offsetBytes, lengthBytes: blockSizeBytes });
  }

  #remember(blocks: readonly number[]): void {
    const added = blocks.filter((block) => !this.#bad.has(block));
    for (const { first, count } of runsOf(added, rememberedBlocksMax)) {
      if (this.#bad.size + count > rememberedBlocksMax) return;
      for (let block = first; block < first + count; block += 1) this.#bad.add(block);
      this.#options.told({
        kind: 'unreadable',
        offsetBytes: first * blockSizeBytes,
        lengthBytes: count * blockSizeBytes,
      });
    }
  }
}

/** The checksum to keep for a block that is not what it should be, though its content is wanted. */
export function markedChecksum(content: Buffer): number {
  return (crc32c(content) ^ markedBits) >>> 0;
}

/** Was the block left so by an earlier change of a part of it? */
export function isMarked(content: Buffer, expected: number): boolean {
  return markedChecksum(content) === expected;
}

function isProven(found: PeerBlocks, bad: BadBlock, data: Buffer): boolean {
  if (crc32c(data) === bad.expected) return true;
  if (bad.content === undefined) return false;
  return bad.content.equals(data) || (found.inSync && isMarked(bad.content, bad.expected));
}

interface Run {
  readonly first: number;
  readonly count: number;
}

/** Adjacent blocks together, at most `countMax` of them. The blocks are in order. */
function runsOf(blocks: readonly number[], countMax: number): Run[] {
  const runs: { first: number; count: number }[] = [];
  for (const block of blocks) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === block && last.count < countMax) {
      last.count += 1;
    } else {
      runs.push({ first: block, count: 1 });
    }
  }
  return runs;
}
