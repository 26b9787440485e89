/**
 * The decisions of recovery (R29, R30), as total tables without any I/O: what a bad place in the
 * log means, what a frame or cut means to its group, and whether a group came out whole. The
 * reading is in `log-scan.ts`, the groups' states in `group-recovery.ts`.
 *
 * A crash can cut short only what was not synced: the writes of the last group commit, in any
 * subset of their sectors. So the first bad place is the torn end of the log unless something
 * proves that the log was durable beyond it. A torn end is cut off, all groups; damage is never
 * cut off and never skipped silently: the groups that may have lost something are named.
 */

export interface PlaceFacts {
  /** A valid entry of the right position and life is here. */
  readonly entryValid: boolean;
  /** The next segment is there, and says that the content of this one ended exactly here. */
  readonly nextSegmentContinues: boolean;
  /** A later entry or segment header was written when the log was durable beyond this place. */
  readonly laterProvesSynced: boolean;
}

export type PlaceVerdict = 'accept' | 'next-segment' | 'damage' | 'torn-tail';

/**
 *   entry valid   next continues   later proves   verdict
 *   yes           -                -              accept
 *   no            yes              -              next-segment
 *   no            no               yes            damage
 *   no            no               no             torn-tail
 */
export function judgePlace(facts: PlaceFacts): PlaceVerdict {
  if (facts.entryValid) return 'accept';
  if (facts.nextSegmentContinues) return 'next-segment';
  return facts.laterProvesSynced ? 'damage' : 'torn-tail';
}

export interface FrameFacts {
  /** The group is damaged already, and no cut has mended it since. */
  readonly damaged: boolean;
  /** Where the frame starts: no frame or cut before it, right after the end, beyond, or before. */
  readonly place: 'first' | 'next' | 'gap' | 'overlap';
  /** The frame's digest before is the digest of the point it follows, as far as that is known. */
  readonly digestFits: boolean;
  /** What lies before the frame is at or below the checkpoint: nothing before it is needed. */
  readonly reachesCheckpoint: boolean;
}

export type FrameVerdict = 'append' | 'begin' | 'damage' | 'ignore';

/**
 *   damaged   place         digest fits   reaches checkpoint   verdict
 *   yes       -             -             -                    ignore (until a cut)
 *   no        overlap       -             -                    damage: no cut explains it (R29)
 *   no        next          yes           -                    append
 *   no        next          no            -                    damage
 *   no        first, gap    -             no                   damage: needed frames are missing
 *   no        first, gap    no            yes                  damage
 *   no        first, gap    yes           yes                  begin: the run starts here
 */
export function judgeFrame(facts: FrameFacts): FrameVerdict {
  if (facts.damaged) return 'ignore';
  if (facts.place === 'overlap' || !facts.digestFits) return 'damage';
  if (facts.place === 'next') return 'append';
  return facts.reachesCheckpoint ? 'begin' : 'damage';
}

export interface CutFacts {
  /** The cut was written as a new beginning of the group's history. */
  readonly restart: boolean;
  /**
   * Where it cuts: at a known boundary with the same digest; before everything that is still in
   * the log; or anywhere else (in a frame, beyond the end, at another digest).
   */
  readonly target: 'known' | 'before' | 'unknown';
  /** The point cut to is at or below the checkpoint. */
  readonly withinCheckpoint: boolean;
}

export type CutVerdict = 'truncate' | 'restart' | 'damage';

/**
 *   restart   target    within checkpoint   verdict
 *   yes       -         -                   restart
 *   no        known     -                   truncate
 *   no        before    yes                 restart: what was before has been freed
 *   no        before    no                  damage: needed frames are missing
 *   no        unknown   -                   damage: the frames cut to are missing
 *
 * A cut that is carried out also mends: what was lost before it is no part of the history any more.
 */
export function judgeCut(facts: CutFacts): CutVerdict {
  if (facts.restart) return 'restart';
  if (facts.target === 'known') return 'truncate';
  return facts.target === 'before' && facts.withinCheckpoint ? 'restart' : 'damage';
}

export interface GroupEndFacts {
  readonly damaged: boolean;
  /** An entry that may have been this group's was lost, and nothing of it proves otherwise. */
  readonly suspect: boolean;
  readonly belowAcknowledgedMark: boolean;
  readonly belowCheckpoint: boolean;
  /** The log's digest at the checkpoint; unknown: the run does not have it as a boundary. */
  readonly checkpointDigest: 'same' | 'differs' | 'unknown';
}

export type GroupVerdict =
  | 'whole'
  | 'damaged'
  | 'suspect'
  | 'below-checkpoint'
  | 'below-acknowledged-mark'
  | 'other-history';

/** The first reason that holds, in the order of the fields; a group without one is whole (R24). */
export function judgeGroup(facts: GroupEndFacts): GroupVerdict {
  if (facts.damaged) return 'damaged';
  if (facts.suspect) return 'suspect';
  if (facts.belowCheckpoint) return 'below-checkpoint';
  if (facts.belowAcknowledgedMark) return 'below-acknowledged-mark';
  return facts.checkpointDigest === 'same' ? 'whole' : 'other-history';
}
