/**
 * What is missing in the middle of a damaged log, and putting it back in place (R30): which records
 * of which group a bad place held, as far as the log around it proves, and the entries that filled
 * it. It is used before the log is appended to; afterwards the log is opened anew.
 *
 * Frames are the same bytes on both sites, so the peer's fill the place exactly. What else may have
 * been there (a cut, the start of a life, the last frame of a group) can't be proven by digests on
 * both sides of the place: then it is left as it is, and the damage goes the long way, by catching
 * up from the last good record.
 */
import assert from 'node:assert/strict';
import {
  type CutBody,
  decodeSlotPage,
  encodeEntryHeader,
  entryHeaderBytes,
  entryKind,
  entrySizeBytes,
  segmentHeaderBytes,
  storeCrcSeed,
} from './entry-format.ts';
import type { Frame, GroupId, HistoryPoint, StoreId } from './frame.ts';
import { decodeFrame, FrameFormatError } from './frame-format.ts';
import type { LogMarks } from './group-recovery.ts';
import { type FoundSegment, LogScan, type LostRange, type ScanVisitor } from './log-scan.ts';
import type { Segment } from './segments.ts';

/** Records of a group that a bad place held: those after `after`, up to `until`. */
export interface MissingRun {
  readonly groupId: GroupId;
  readonly after: HistoryPoint;
  readonly until: HistoryPoint;
}

/** A bad place of the log, and what was there. */
export interface LogGap {
  readonly fromLsn: number;
  readonly toLsn: number;
  readonly life: number;
  readonly missing: readonly MissingRun[];
}

export interface SurveyOptions {
  readonly storeId: StoreId;
  readonly marks: ReadonlyMap<GroupId, LogMarks>;
  readonly segments: readonly Segment[];
  readonly segmentSizeBytes: number;
}

/** Reads the whole log once more. Throws LogError if the disk does not give the bytes. */
export async function surveyLog(options: SurveyOptions): Promise<LogSurvey> {
  const survey = new LogSurvey(options);
  await survey.read();
  return survey;
}

/** The point after `frame` if it is the one that follows `point` within the run. */
export function follows(
  run: MissingRun,
  point: HistoryPoint,
  frame: Frame,
): HistoryPoint | undefined {
  const isNext =
    frame.groupId === run.groupId &&
    frame.firstSequence === point.sequence + 1 &&
    frame.digestBefore === point.digest &&
    frame.lastSequence <= run.until.sequence;
  return isNext ? { sequence: frame.lastSequence, digest: frame.digestAfter } : undefined;
}

interface FoundFrame {
  readonly firstSequence: number;
  readonly lsn: number;
  readonly sizeBytes: number;
}

interface FoundGroup {
  /** After the last entry of the group; undefined if what came before it is not known. */
  end: HistoryPoint | undefined;
  /** How many gaps had been found when its last entry was. */
  gapsBefore: number;
  frames: FoundFrame[];
}

interface FoundGap extends LogGap {
  toLsn: number;
  missing: MissingRun[];
}

export class LogSurvey implements ScanVisitor {
  readonly #options: SurveyOptions;
  readonly #seed: number;
  readonly #groups = new Map<GroupId, FoundGroup>();
  readonly #gaps: FoundGap[] = [];

  constructor(options: SurveyOptions) {
    this.#options = options;
    this.#seed = storeCrcSeed(options.storeId);
  }

  async read(): Promise<void> {
    const { storeId, segmentSizeBytes } = this.#options;
    const segments: FoundSegment[] = [];
    for (const { number, slot } of this.#options.segments) {
      const page = Buffer.alloc(segmentHeaderBytes);
      await slot.file.read(page, 0, 'read-log');
      const state = decodeSlotPage(page, storeId);
      const header = state.kind === 'segment' ? state.header : undefined;
      segments.push({ number, slot, header });
    }
    await new LogScan({ segmentSizeBytes, seed: this.#seed, segments }, this).run();
  }

  /** The places that can be filled, once the frames that are missing there are known. */
  get gaps(): readonly LogGap[] {
    const { segmentSizeBytes } = this.#options;
    const segmentOf = (lsn: number): number => Math.floor(lsn / segmentSizeBytes);
    return this.#gaps.filter(({ fromLsn, toLsn, life, missing }) => {
      const inOneSegment = segmentOf(fromLsn) === segmentOf(toLsn - 1);
      return missing.length > 0 && life > 0 && toLsn > fromLsn && inOneSegment;
    });
  }

  /** The group's frame after `afterSequence`, on either side of damage; undefined if not here. */
  async frameAfter(groupId: GroupId, afterSequence: number): Promise<Frame | undefined> {
    const frames = this.#groups.get(groupId)?.frames;
    const found = frames?.find(({ firstSequence }) => firstSequence === afterSequence + 1);
    if (found === undefined) return undefined;
    const { segmentSizeBytes } = this.#options;
    const bytes = Buffer.allocUnsafeSlow(found.sizeBytes);
    const offset = (found.lsn % segmentSizeBytes) + entryHeaderBytes;
    await this.#segmentOf(found.lsn).slot.file.read(bytes, offset, 'read-log');
    try {
      return decodeFrame([bytes]);
    } catch (error) {
      if (error instanceof FrameFormatError) return undefined;
      throw error;
    }
  }

  /**
   * Puts the frames back where they were, durably. False, and nothing is done, if they do not fill
   * the place exactly. Takes the frames of all missing runs, each checked by `follows`.
   */
  async fill(gap: LogGap, frames: readonly Frame[]): Promise<boolean> {
    let totalBytes = 0;
    for (const { sizeBytes } of frames) totalBytes += entrySizeBytes(sizeBytes);
    if (totalBytes !== gap.toLsn - gap.fromLsn) return false;
    const bytes = Buffer.alloc(totalBytes);
    let at = 0;
    for (const frame of frames) {
      const { fromLsn: syncedLsn, life } = gap;
      const lsn = gap.fromLsn + at;
      const bodyBytes = frame.sizeBytes;
      const header = { kind: entryKind.frame, lsn, syncedLsn, life, bodyBytes, bodyCrc: 0 };
      encodeEntryHeader(bytes.subarray(at), header, this.#seed);
      Buffer.concat(frame.bytes).copy(bytes, at + entryHeaderBytes);
      at += entrySizeBytes(bodyBytes);
    }
    const { slot } = this.#segmentOf(gap.fromLsn);
    await slot.file.write([bytes], gap.fromLsn % this.#options.segmentSizeBytes, 'append-log');
    return true;
  }

  #segmentOf(lsn: number): Segment {
    const number = Math.floor(lsn / this.#options.segmentSizeBytes);
    const segment = this.#options.segments.find((each) => each.number === number);
    assert(segment !== undefined, 'what was read is in a segment');
    return segment;
  }

  // --- ScanVisitor

  onFrame(frame: Frame, lsn: number): void {
    const group = this.#group(frame.groupId);
    const { end } = group;
    const before = { sequence: frame.firstSequence - 1, digest: frame.digestBefore };
    if (end !== undefined && before.sequence > end.sequence) {
      const between = this.#gaps.slice(group.gapsBefore);
      const [gap] = between;
      // Of more than one place it is not known which records each of them held.
      if (gap !== undefined && between.length === 1) {
        gap.missing.push({ groupId: frame.groupId, after: end, until: before });
      }
    }
    const { firstSequence, sizeBytes } = frame;
    group.frames.push({ firstSequence, lsn, sizeBytes });
    group.end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    group.gapsBefore = this.#gaps.length;
  }

  onCut({ groupId, to }: CutBody): void {
    const group = this.#group(groupId);
    group.frames = group.frames.filter(({ firstSequence }) => firstSequence <= to.sequence);
    group.end = to;
    group.gapsBefore = this.#gaps.length;
  }

  onLost({ fromLsn, toLsn, life }: LostRange): void {
    const last = this.#gaps.at(-1);
    if (last?.toLsn === fromLsn && last.life === life) last.toLsn = toLsn;
    else this.#gaps.push({ fromLsn, toLsn, life: life ?? 0, missing: [] });
  }

  #group(groupId: GroupId): FoundGroup {
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      const end = this.#options.marks.get(groupId)?.checkpoint;
      group = { end, gapsBefore: 0, frames: [] };
      this.#groups.set(groupId, group);
    }
    return group;
  }
}
