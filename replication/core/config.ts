/**
 * The register's value (PROTOCOL.md R2) and a group's epoch history: the words in which the two
 * sites agree who is primary and who is in sync.
 */
import type { Digest, EpochId, HistoryPoint, StoreId } from '../../wal/frame.ts';

/** One configuration of a group; changed by compare-and-swap only (I5). */
export interface GroupConfig {
  readonly epoch: number;
  readonly epochId: EpochId;
  readonly primary: StoreId;
  readonly inSync: readonly StoreId[];
  readonly acceptors: readonly StoreId[];
  readonly leaseMs: number;
  readonly graceMs: number;
  /** The configuration was forced by an operator, at this point of the forcing site's history. */
  readonly forced?: HistoryPoint;
  /** The group is gone, for ever. */
  readonly removed?: boolean;
}

/** One entry of a group's epoch history: the epoch's first record is its epochStart. */
export interface EpochEntry {
  readonly epoch: number;
  readonly epochId: EpochId;
  readonly firstSequence: number;
}

/** What a site knows about a group after its log was recovered: the core's starting point. */
export interface RecoveredGroup {
  /** End of the group's records in this site's log (all of them durable). */
  readonly end: HistoryPoint;
  readonly checkpoint: HistoryPoint;
  /** Newest commit point that is known: from the checkpoint and the last frame (R23). */
  readonly commit: number;
  /** Configuration of the last epochStart record in the log, if there is any (R8). */
  readonly config: GroupConfig | undefined;
  readonly epochHistory: readonly EpochEntry[];
  readonly acknowledgedMark: number;
  readonly base: HistoryPoint | undefined;
  readonly flags: GroupFlags;
  /** The log follows a stage that began at this sequence (R26). */
  readonly stagedFrom?: number;
}

/** Kept in the site's store; each makes the site ineligible (R24). */
export interface GroupFlags {
  readonly inconsistent: boolean;
  readonly split: boolean;
  readonly damaged: boolean;
  /** An operator has given this side of a split up: it gets the other side's history (R36). */
  readonly resolving: boolean;
}

/** One frame's place in the history, as the core sees it. */
export interface FrameSummary {
  readonly epoch: number;
  readonly epochId: EpochId;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly commit: number;
  readonly digestBefore: Digest;
  readonly digestAfter: Digest;
  /** Set if the frame holds the epochStart record of a configuration. */
  readonly epochStart?: GroupConfig;
}
