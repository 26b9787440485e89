/** What the log and those who use it say to each other. */
import type { Frame, GroupId, HistoryPoint } from './frame.ts';
import type { RecoveredLogGroup } from './group-recovery.ts';
import type { LatencySnapshot } from './latency-histogram.ts';

export type LogEntry =
  | {
      readonly kind: 'frame';
      readonly frame: Frame;
      /** It lets its group go on, as every cut does: there is room for it when nothing else has. */
      readonly urgent?: boolean;
    }
  /** The group's records after `to` are void (R29). */
  | { readonly kind: 'cut'; readonly groupId: GroupId; readonly to: HistoryPoint };

/** A group, as the log sees it. */
export interface Appender {
  readonly groupId: GroupId;
  /** An urgent entry is among those that wait. Asked only while the log has no room. */
  readonly urgent: boolean;
  /**
   * The log is about to write: the entries to append now, in order, at most about `budgetBytes`,
   * at least one if there is any. Called in the tick of the write. Who gave entries is asked again
   * for the next write without having to schedule itself.
   */
  takeEntries(budgetBytes: number): readonly LogEntry[];
  /** These entries are durable: in log order, once for each batch, with the same objects. */
  entriesDurable(entries: readonly LogEntry[]): void;
}

export interface LogRecovery {
  readonly groups: ReadonlyMap<GroupId, RecoveredLogGroup>;
  readonly report: RecoveryReport;
}

export interface RecoveryReport {
  /** The log was made by this start. */
  readonly created: boolean;
  readonly segments: number;
  readonly entries: number;
  readonly readBytes: number;
  readonly tookMs: number;
  readonly endLsn: number;
  /** The last writes before a crash were cut off: they had been acknowledged to nobody. */
  readonly tornTail: boolean;
  /** Places in the middle of the log that can't be read. */
  readonly lostRanges: readonly { readonly fromLsn: number; readonly toLsn: number }[];
  readonly damagedGroups: readonly GroupId[];
  /** All of it in a sentence. */
  readonly text: string;
}

export interface LogStats {
  /** Taken on the disk. */
  readonly sizeBytes: number;
  readonly limitBytes: number;
  /** From the oldest segment that is needed to the end of the log. */
  readonly usedBytes: number;
  readonly segments: number;
  readonly spareSegments: number;
  /** Why the last attempt to make a segment failed; the log goes on with those it has. */
  readonly creationProblem: string | undefined;
  /** Appends wait for room: no segment can be freed yet (I9). */
  readonly waitsForRoom: boolean;
  readonly waitsForRoomTotal: number;
  /** Segments freed although the peer wanted them, for the log was at its limit (R31). */
  readonly segmentsTakenFromPeerTotal: number;
  /** Written to the log, with entry headers and padding. */
  readonly appendedBytes: number;
  readonly payloadBytes: number;
  readonly frames: number;
  readonly records: number;
  readonly cuts: number;
  /** Writes, each of them durable when it is done. */
  readonly commits: number;
  readonly commitLatency: LatencySnapshot;
  readonly framesPerCommit: FramesPerCommit;
}

/** How many commits had up to so many frames; the last count is for those with more. */
export interface FramesPerCommit {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}
