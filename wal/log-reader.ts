/**
 * Reads frames of one group back from the log, for a peer that catches up and for applying after a
 * restart. What comes back is checked like everything that enters (I7).
 */
import { decodeEntryHeader, entryHeaderBytes, entryKind, entrySizeBytes } from './entry-format.ts';
import { LogError } from './errors.ts';
import type { Frame, GroupId } from './frame.ts';
import { decodeFrame, FrameFormatError } from './frame-format.ts';
import type { IndexedFrame } from './frame-index.ts';
import type { LogGroup, LogGroups } from './log-groups.ts';
import type { Segments } from './segments.ts';

export interface LogReaderOptions {
  readonly groups: LogGroups;
  readonly segments: Segments;
  readonly segmentSizeBytes: number;
  readonly seed: number;
}

/** Frames that lie next to each other in the log, so that one read gets them. */
interface Run {
  readonly startLsn: number;
  endLsn: number;
  readonly frames: IndexedFrame[];
}

/** One read takes at most about so much. */
const runBytesMax = 4 * 1024 * 1024;

export class LogReader {
  readonly #options: LogReaderOptions;

  constructor(options: LogReaderOptions) {
    this.#options = options;
  }

  /** As `Log.readFrames`. */
  async readFrames(
    groupId: GroupId,
    afterSequence: number,
    budgetBytes: number,
  ): Promise<readonly Frame[]> {
    const group = this.#options.groups.get(groupId);
    if (group === undefined) {
      if (afterSequence === 0) return [];
      throw notRetained(groupId, afterSequence);
    }
    const frames: Frame[] = [];
    for (const run of this.#plan(groupId, group, afterSequence, budgetBytes)) {
      frames.push(...(await this.#readRun(groupId, group, run)));
    }
    return frames;
  }

  #plan(groupId: GroupId, group: LogGroup, afterSequence: number, budgetBytes: number): Run[] {
    const { index } = group;
    if (afterSequence >= group.durableSequence) return [];
    if (afterSequence + 1 < index.firstSequence) throw notRetained(groupId, afterSequence);
    const first = index.ordinalOf(afterSequence + 1);
    if (first === undefined) {
      throw new LogError(
        'ERR_LOG_NOT_A_BOUNDARY',
        `no frame of group ${groupId} starts after sequence ${afterSequence}`,
      );
    }
    const runs: Run[] = [];
    let leftBytes = budgetBytes;
    for (let ordinal = first; ; ordinal += 1) {
      const frame = index.at(ordinal);
      if (frame === undefined || frame.lastSequence > group.durableSequence) break;
      if (ordinal > first && frame.frameSizeBytes > leftBytes) break;
      leftBytes -= frame.frameSizeBytes;
      this.#addToRuns(runs, frame);
    }
    return runs;
  }

  #addToRuns(runs: Run[], frame: IndexedFrame): void {
    const endLsn = frame.lsn + entrySizeBytes(frame.frameSizeBytes);
    const last = runs.at(-1);
    const adjoins = last !== undefined && last.endLsn === frame.lsn;
    // A segment begins with a header, so entries of two segments never adjoin.
    if (adjoins && endLsn - last.startLsn <= runBytesMax) {
      last.endLsn = endLsn;
      last.frames.push(frame);
    } else {
      runs.push({ startLsn: frame.lsn, endLsn, frames: [frame] });
    }
  }

  async #readRun(groupId: GroupId, group: LogGroup, run: Run): Promise<Frame[]> {
    const { segments, segmentSizeBytes } = this.#options;
    const segment = segments.segmentOf(run.startLsn);
    const first = run.frames[0];
    if (segment === undefined || first === undefined) throw notRetained(groupId, 0);
    const bytes = Buffer.allocUnsafeSlow(run.endLsn - run.startLsn);
    let problem: unknown;
    try {
      await segment.slot.file.read(bytes, run.startLsn % segmentSizeBytes, 'read-log');
    } catch (cause) {
      problem = cause;
    }
    // While it was read the segment may have been freed, cut and used again.
    for (const frame of run.frames) {
      if (this.#isStillThere(group, frame)) continue;
      throw notRetained(groupId, frame.firstSequence - 1);
    }
    if (problem !== undefined) {
      group.unreadableThrough = Math.max(group.unreadableThrough, lastSequenceOf(run));
      throw new LogError(
        'ERR_LOG_UNREADABLE',
        `the log cannot be read at position ${run.startLsn}`,
        { cause: problem },
      );
    }
    return run.frames.map((frame) => {
      const from = frame.lsn - run.startLsn;
      const entry = bytes.subarray(from, from + entryHeaderBytes + frame.frameSizeBytes);
      const decoded = this.#decode(groupId, frame, entry);
      if (decoded instanceof LogError) {
        group.unreadableThrough = Math.max(group.unreadableThrough, frame.lastSequence);
        throw decoded;
      }
      return decoded;
    });
  }

  #isStillThere(group: LogGroup, frame: IndexedFrame): boolean {
    const ordinal = group.index.ordinalOf(frame.firstSequence);
    return ordinal !== undefined && group.index.at(ordinal)?.lsn === frame.lsn;
  }

  #decode(groupId: GroupId, indexed: IndexedFrame, bytes: Buffer): Frame | LogError {
    const header = decodeEntryHeader(bytes, indexed.lsn, this.#options.seed);
    let cause: unknown;
    if (header?.kind === entryKind.frame && header.bodyBytes === indexed.frameSizeBytes) {
      try {
        const frame = decodeFrame([bytes.subarray(entryHeaderBytes)]);
        if (frame.groupId === groupId && frame.firstSequence === indexed.firstSequence) {
          return frame;
        }
      } catch (error) {
        if (!(error instanceof FrameFormatError)) throw error;
        cause = error;
      }
    }
    return new LogError(
      'ERR_LOG_DAMAGED',
      `records ${indexed.firstSequence} to ${indexed.lastSequence} of group ${groupId} ` +
        `at position ${indexed.lsn} of the log are damaged`,
      cause === undefined ? {} : { cause },
    );
  }
}

function lastSequenceOf(run: Run): number {
  return run.frames.at(-1)?.lastSequence ?? 0;
}

function notRetained(groupId: GroupId, afterSequence: number): LogError {
  return new LogError(
    'ERR_LOG_NOT_RETAINED',
    `the log does not have the records of group ${groupId} after ${afterSequence} any more`,
  );
}
