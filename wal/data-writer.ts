/**
 * Carries out waves of committed records on one volume's data file and keeps its checksums in
 * step. Holds no state but what is under way; what is pending, and what an error means, is
 * decided in `volume-store.ts`.
 */
import { promisify } from 'node:util';
import type { BlockChecksums } from './block-checksums.ts';
import { zeroBlockChecksum } from './block-checksums.ts';
import { type BlockHealing, isMarked, markedChecksum } from './block-healing.ts';
import { blockSizeBytes, crc32c, verifyPieces } from './checksum.ts';
import type { ApplyPlan, Body } from './data-apply-plan.ts';
import { RecordChecksumError } from './data-errors.ts';
import type { DiskFile } from './disk.ts';
import { isWrittenZeroes, recordKind } from './frame.ts';
import { type PendingRecord, type PendingRecords, patch } from './pending-records.ts';

/** Adjacent blocks are written with one call up to this size and number of buffers. */
const mergedBytesMax = 1024 * 1024;
const mergedBuffersMax = 1024;
/** Writes up to this size are done many in one call, larger ones each by themselves. */
const smallWriteBytesMax = 32 * 1024;
/** Checking payloads stops to let others run after this much (about 0.2 ms). */
const checkedBytesAtOnce = 1024 * 1024;
const zeroChunk = Buffer.alloc(1024 * 1024);
const nextTurn = promisify(setImmediate);

export interface DataWriterOptions {
  readonly file: DiskFile;
  readonly checksums: BlockChecksums;
  readonly pending: PendingRecords;
  readonly concurrency: number;
  /** Runs a call again when the disk was full and has room again; gives other errors on. */
  readonly retryWhenFull: <T>(call: () => Promise<T>) => Promise<T>;
  /** What to do with a bad block that is to be changed in part (R34). */
  readonly mend: BlockHealing['mend'];
  /** The block will be written anew as a whole: its content is nobody's concern until then. */
  readonly isUnsettled: (block: number) => boolean;
}

export class DataWriter {
  readonly #file: DiskFile;
  readonly #checksums: BlockChecksums;
  readonly #pending: PendingRecords;
  readonly #concurrency: number;
  readonly #retryWhenFull: <T>(call: () => Promise<T>) => Promise<T>;
  readonly #mend: BlockHealing['mend'];
  readonly #isUnsettled: (block: number) => boolean;

  constructor(options: DataWriterOptions) {
    this.#file = options.file;
    this.#checksums = options.checksums;
    this.#pending = options.pending;
    this.#concurrency = options.concurrency;
    this.#retryWhenFull = options.retryWhenFull;
    this.#mend = options.mend;
    this.#isUnsettled = options.isUnsettled;
  }

  /**
   * Applies a wave: when this resolves, all of it is in the file and its checksums are set. Throws
   * DiskError or RecordChecksumError; the wave is then partly applied.
   */
  async apply(plan: ApplyPlan): Promise<void> {
    await this.#checkPayloads(plan);
    const jobs: (() => Promise<void>)[] = [];
    const small: (readonly Body[])[] = [];
    for (const run of adjacentRuns(plan.bodies)) {
      if (isSmallWrite(run)) small.push(run);
      else jobs.push(() => this.#writeRun(run));
    }
    if (small.length > 0) jobs.push(() => this.#writeSmallRuns(small));
    for (const [block, records] of plan.edges) jobs.push(() => this.#modifyBlock(block, records));
    let next = 0;
    const work = async (): Promise<void> => {
      for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
        await job();
      }
    };
    const workers: Promise<void>[] = [];
    for (let count = Math.min(this.#concurrency, jobs.length); count > 0; count -= 1) {
      workers.push(work());
    }
    // All have to end before an error is reported: none may touch the file after that.
    for (const result of await Promise.allSettled(workers)) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  /** I7: what is applied is what was logged. */
  async #checkPayloads(plan: ApplyPlan): Promise<void> {
    const edged = new Set<PendingRecord>();
    for (const records of plan.edges.values()) for (const pending of records) edged.add(pending);
    let checkedBytes = 0;
    const check = ({ record, offsetBytes }: PendingRecord): void => {
      if (record.kind !== recordKind.write) return;
      const { payload, lengthBytes, checksums } = record;
      if (!verifyPieces(payload, offsetBytes, lengthBytes, checksums)) {
        throw new RecordChecksumError(this.#file.path, offsetBytes);
      }
      checkedBytes += lengthBytes;
    };
    for (const { pending } of plan.bodies) {
      check(pending);
      edged.delete(pending);
      if (checkedBytes < checkedBytesAtOnce) continue;
      await nextTurn();
      checkedBytes = 0;
    }
    for (const pending of edged) check(pending);
  }

  async #writeRun(run: readonly Body[]): Promise<void> {
    const first = run[0];
    if (first === undefined) return;
    const { record } = first.pending;
    if (record.kind === recordKind.write) {
      await this.#write(buffersOf(run), first.offsetBytes);
      await this.#setRunChecksums(run);
      return;
    }
    const lengthBytes = first.endBytes - first.offsetBytes;
    if (isWrittenZeroes(record)) {
      await this.#writeZeros(first.offsetBytes, lengthBytes);
    } else {
      await this.#retryWhenFull(() => this.#file.punchHole(first.offsetBytes, lengthBytes));
    }
    const firstBlock = first.offsetBytes / blockSizeBytes;
    const endBlock = first.endBytes / blockSizeBytes;
    await this.#retryWhenFull(() => this.#checksums.setZero(firstBlock, endBlock));
  }

  async #writeSmallRuns(runs: readonly (readonly Body[])[]): Promise<void> {
    const writes = runs.map((run) => ({
      offsetBytes: run[0]?.offsetBytes ?? 0,
      buffers: buffersOf(run),
    }));
    await this.#retryWhenFull(() => this.#file.writeMany(writes, 'apply-data'));
    for (const run of runs) await this.#setRunChecksums(run);
  }

  async #setRunChecksums(run: readonly Body[]): Promise<void> {
    for (const body of run) {
      if (!this.#setChecksums(body, 0)) await this.#setChecksumsSlowly(body);
    }
  }

  /** Sets the checksums of a body, from its record, from the given block on; false at a miss. */
  #setChecksums(body: Body, from: number): boolean {
    const { record, offsetBytes } = body.pending;
    const recordBlock = Math.floor(offsetBytes / blockSizeBytes);
    const endBlock = body.endBytes / blockSizeBytes;
    for (
      let block = Math.max(from, body.offsetBytes / blockSizeBytes);
      block < endBlock;
      block += 1
    ) {
      const checksum = record.checksums[block - recordBlock] ?? zeroBlockChecksum;
      if (!this.#checksums.set(block, checksum)) return false;
    }
    return true;
  }

  async #setChecksumsSlowly(body: Body): Promise<void> {
    const endBlock = body.endBytes / blockSizeBytes;
    const { offsetBytes } = body;
    for (let block = offsetBytes / blockSizeBytes; block < endBlock; ) {
      const pageEnd = Math.min(endBlock, this.#checksums.nextPageBlock(block));
      const part = {
        ...body,
        offsetBytes: block * blockSizeBytes,
        endBytes: pageEnd * blockSizeBytes,
      };
      while (!this.#setChecksums(part, block)) await this.#load(block);
      block = pageEnd;
    }
  }

  async #writeZeros(offsetBytes: number, lengthBytes: number): Promise<void> {
    for (let doneBytes = 0; doneBytes < lengthBytes; doneBytes += zeroChunk.length) {
      const chunk = zeroChunk.subarray(0, Math.min(zeroChunk.length, lengthBytes - doneBytes));
      await this.#write([chunk], offsetBytes + doneBytes);
    }
  }

  /** Read, check, patch, write: for the blocks that records change in part. */
  async #modifyBlock(block: number, records: readonly PendingRecord[]): Promise<void> {
    const offsetBytes = block * blockSizeBytes;
    const { content, proven } = await this.#oldContent(block, records);
    for (const pending of records) patch(content, offsetBytes, pending);
    const checksum = proven ? crc32c(content) : markedChecksum(content);
    this.#pending.comingChecksums.set(block, checksum);
    await this.#write([content], offsetBytes);
    while (!this.#checksums.set(block, checksum)) await this.#load(block);
    this.#pending.comingChecksums.delete(block);
  }

  /** What a block holds before it is changed in part; not `proven`: a part of it is lost. */
  async #oldContent(
    block: number,
    records: readonly PendingRecord[],
  ): Promise<{ readonly content: Buffer; readonly proven: boolean }> {
    const offsetBytes = block * blockSizeBytes;
    const content = Buffer.allocUnsafeSlow(blockSizeBytes);
    let problem: unknown;
    try {
      if (!this.#file.readCached(content, offsetBytes)) {
        await this.#file.read(content, offsetBytes, 'read-data');
      }
    } catch (error) {
      problem = error;
    }
    let expected = this.#checksums.get(block);
    for (; expected < 0; expected = this.#checksums.get(block)) await this.#load(block);
    const isReplay =
      this.#isUnsettled(block) ||
      records.some((pending) => this.#pending.mayBeHalfApplied(pending));
    if (problem === undefined) {
      if (isReplay) return { content, proven: !isMarked(content, expected) };
      if (crc32c(content) === expected) return { content, proven: true };
    }
    const readable = problem === undefined ? content : undefined;
    const mended = await this.#mend({ block, expected, content: readable });
    if (mended === undefined) throw problem;
    return mended;
  }

  // Each call is repeated by itself when the disk was full: a block that is half modified must not
  // be read and checked again.

  #write(buffers: readonly Buffer[], offsetBytes: number): Promise<void> {
    return this.#retryWhenFull(() => this.#file.write(buffers, offsetBytes, 'apply-data'));
  }

  #load(block: number): Promise<void> {
    return this.#retryWhenFull(() => this.#checksums.load(block));
  }
}

/** Bodies that one vectored write can take: adjacent data. Zeroes and holes stay alone. */
function adjacentRuns(bodies: readonly Body[]): Body[][] {
  const runs: Body[][] = [];
  let run: Body[] = [];
  let runBytes = 0;
  let buffers = 0;
  for (const body of bodies) {
    const { record } = body.pending;
    const last = run.at(-1);
    const joins =
      last !== undefined &&
      last.endBytes === body.offsetBytes &&
      record.kind === recordKind.write &&
      last.pending.record.kind === recordKind.write &&
      runBytes + record.lengthBytes <= mergedBytesMax &&
      buffers + record.payload.length <= mergedBuffersMax;
    if (!joins) {
      run = [];
      runs.push(run);
      runBytes = 0;
      buffers = 0;
    }
    run.push(body);
    runBytes += record.lengthBytes;
    buffers += record.payload.length;
  }
  return runs;
}

/**
 * Data of few bytes in few buffers: the way to the worker thread would cost more than the write.
 */
function isSmallWrite(run: readonly Body[]): boolean {
  const first = run[0];
  const last = run.at(-1);
  if (first === undefined || last === undefined) return false;
  if (first.pending.record.kind !== recordKind.write) return false;
  return last.endBytes - first.offsetBytes <= smallWriteBytesMax;
}

function buffersOf(run: readonly Body[]): readonly Buffer[] {
  const only = run[0];
  if (run.length === 1 && only !== undefined && isWhole(only)) return only.pending.record.payload;
  const buffers: Buffer[] = [];
  for (const body of run) {
    let position = body.pending.offsetBytes;
    for (const slice of body.pending.record.payload) {
      const from = Math.max(0, body.offsetBytes - position);
      const to = Math.min(slice.length, body.endBytes - position);
      if (from < to) buffers.push(slice.subarray(from, to));
      position += slice.length;
    }
  }
  return buffers;
}

function isWhole(body: Body): boolean {
  const { pending } = body;
  return body.offsetBytes === pending.offsetBytes && body.endBytes === pending.endBytes;
}
