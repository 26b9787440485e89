/**
 * What recovery learns of one group while the log is read in order: the run of frames that holds,
 * its epoch starts, and what is wrong with it. The rules are in `recovery.ts`.
 */

import type { CutBody } from './entry-format.ts';
import type { Frame, GroupId, HistoryPoint } from './frame.ts';
import { emptyHistoryDigest, recordKind } from './frame.ts';
import { FrameIndex } from './frame-index.ts';
import { judgeCut, judgeFrame, judgeGroup } from './recovery.ts';

/** Per group, from the site's store. */
export interface LogMarks {
  readonly checkpoint: HistoryPoint;
  readonly acknowledgedMark: number;
}

export interface RecoveredLogGroup {
  /** End of the group's records that can be relied on; all of them durable. */
  readonly end: HistoryPoint;
  /** Oldest sequence that can be read without a gap to the end; end + 1 if there is none. */
  readonly firstSequence: number;
  /** The epoch starts that the log holds, after cuts. */
  readonly epochs: readonly {
    readonly epoch: number;
    readonly epochId: string;
    readonly firstSequence: number;
  }[];
  /** Payload of the last of them. */
  readonly lastEpochStart: Buffer | undefined;
  /** Commit point and time of the last frame; 0 if there is none. */
  readonly lastFrameCommit: number;
  readonly lastFrameTimeMs: number;
  /** What is missing or wrong, and where, in words; undefined if the group is whole. */
  readonly damaged: string | undefined;
}

interface EpochStart {
  readonly epoch: number;
  readonly epochId: string;
  readonly firstSequence: number;
  readonly payload: Buffer;
}

export const noMarks: LogMarks = {
  checkpoint: { sequence: 0, digest: emptyHistoryDigest },
  acknowledgedMark: 0,
};

export class GroupRecovery {
  readonly groupId: GroupId;
  readonly #marks: LogMarks;
  /** The run; undefined until a frame or cut of the group was seen. */
  #index: FrameIndex | undefined;
  /** Commit point and time of each frame of the run. */
  #commits: number[] = [];
  #times: number[] = [];
  #epochs: EpochStart[] = [];
  #damage: string | undefined;
  #suspicion: string | undefined;
  /** Set by what no later frame can clear. */
  #lostForGood: string | undefined;

  constructor(groupId: GroupId, marks: LogMarks) {
    this.groupId = groupId;
    this.#marks = marks;
  }

  get index(): FrameIndex {
    return this.#index ?? new FrameIndex(this.#marks.checkpoint);
  }

  /** The group's next frame in the log, at `lsn`. Payloads are not kept. */
  onFrame(frame: Frame, lsn: number): void {
    const { checkpoint } = this.#marks;
    const before = frame.firstSequence - 1;
    const place = this.#placeOf(before);
    const known =
      place === 'next'
        ? this.#index?.end.digest
        : before === checkpoint.sequence
          ? checkpoint.digest
          : undefined;
    const verdict = judgeFrame({
      damaged: this.#damage !== undefined,
      place,
      digestFits: known === undefined || known === frame.digestBefore,
      reachesCheckpoint: before <= checkpoint.sequence,
    });
    if (verdict === 'ignore') return;
    if (verdict === 'damage') {
      this.#damage = this.#frameDamage(frame, lsn, place);
      return;
    }
    if (verdict === 'begin') this.#restart({ sequence: before, digest: frame.digestBefore });
    this.#add(frame, lsn);
    this.#suspicion = undefined;
  }

  #placeOf(before: number): 'first' | 'next' | 'gap' | 'overlap' {
    if (this.#index === undefined) return 'first';
    const end = this.#index.end.sequence;
    if (before === end) return 'next';
    return before > end ? 'gap' : 'overlap';
  }

  #frameDamage(frame: Frame, lsn: number, place: string): string {
    const end = this.#index?.end.sequence ?? this.#marks.checkpoint.sequence;
    const where = `the frame at position ${lsn}`;
    if (place === 'overlap') {
      return `${where} starts with ${frame.firstSequence} although the log reaches ${end}, uncut`;
    }
    if (frame.firstSequence === end + 1) {
      return `${where} continues another history than the one that ends at ${end}`;
    }
    return `records ${end + 1} to ${frame.firstSequence - 1} are missing before ${where}`;
  }

  #add(frame: Frame, lsn: number): void {
    this.#index?.add({
      firstSequence: frame.firstSequence,
      lastSequence: frame.lastSequence,
      lsn,
      frameSizeBytes: frame.sizeBytes,
      digestAfter: frame.digestAfter,
    });
    this.#commits.push(frame.commit);
    this.#times.push(frame.timeMs);
    frame.records.forEach((record, place) => {
      if (record.kind !== recordKind.epochStart) return;
      this.#epochs.push({
        epoch: frame.epoch,
        epochId: frame.epochId,
        firstSequence: frame.firstSequence + place,
        payload: Buffer.concat(record.payload),
      });
    });
  }

  #restart(base: HistoryPoint): void {
    if (this.#index === undefined) this.#index = new FrameIndex(base);
    else this.#index.restart(base);
    this.#commits = [];
    this.#times = [];
    this.#epochs = [];
  }

  /** A cut of the group, at `lsn` (R29). */
  onCut(cut: CutBody, lsn: number): void {
    const { to } = cut;
    const verdict = judgeCut({
      restart: cut.restart,
      target: this.#cutTarget(to),
      withinCheckpoint: to.sequence <= this.#marks.checkpoint.sequence,
    });
    if (verdict === 'damage') {
      this.#damage ??= `the cut at position ${lsn} goes to ${to.sequence}, which is missing`;
      return;
    }
    this.#damage = undefined;
    this.#suspicion = undefined;
    if (verdict === 'restart') {
      this.#restart(to);
      return;
    }
    this.#index?.truncate(to.sequence);
    const length = this.#index?.length ?? 0;
    this.#commits.length = length;
    this.#times.length = length;
    this.#epochs = this.#epochs.filter((epoch) => epoch.firstSequence <= to.sequence);
  }

  #cutTarget(to: HistoryPoint): 'known' | 'before' | 'unknown' {
    const index = this.#index;
    if (index === undefined || to.sequence < index.base.sequence) return 'before';
    return index.digestAt(to.sequence) === to.digest ? 'known' : 'unknown';
  }

  /** An entry that is or may be this group's is lost; a later frame that fits clears it. */
  onLost(words: string): void {
    this.#suspicion ??= words;
  }

  /** Something of the log is lost that nothing can clear. */
  onLostForGood(words: string): void {
    this.#lostForGood ??= words;
  }

  /** The log has been read to its end. */
  finish(): RecoveredLogGroup {
    const { index } = this;
    return {
      end: index.end,
      firstSequence: index.firstSequence,
      epochs: this.#epochs.map(({ epoch, epochId, firstSequence }) => ({
        epoch,
        epochId,
        firstSequence,
      })),
      lastEpochStart: this.#epochs.at(-1)?.payload,
      lastFrameCommit: this.#commits.at(-1) ?? 0,
      lastFrameTimeMs: this.#times.at(-1) ?? 0,
      damaged: this.#judge(index),
    };
  }

  #judge(index: FrameIndex): string | undefined {
    const { checkpoint, acknowledgedMark } = this.#marks;
    const end = index.end.sequence;
    const digest = index.digestAt(checkpoint.sequence);
    const verdict = judgeGroup({
      damaged: this.#damage !== undefined,
      suspect: this.#suspicion !== undefined || this.#lostForGood !== undefined,
      belowAcknowledgedMark: end < acknowledgedMark,
      belowCheckpoint: end < checkpoint.sequence,
      checkpointDigest:
        digest === undefined ? 'unknown' : digest === checkpoint.digest ? 'same' : 'differs',
    });
    switch (verdict) {
      case 'whole':
        return undefined;
      case 'damaged':
        return this.#damage;
      case 'suspect':
        return this.#suspicion ?? this.#lostForGood;
      case 'below-checkpoint':
        return `the log ends at ${end}, below the checkpoint ${checkpoint.sequence}`;
      case 'below-acknowledged-mark':
        return `the log ends at ${end}, although ${acknowledgedMark} was acknowledged`;
      case 'other-history':
        return `the log does not have the history of the checkpoint at ${checkpoint.sequence}`;
      default:
        return verdict satisfies never;
    }
  }
}
