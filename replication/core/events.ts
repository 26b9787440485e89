/**
 * The core's only inputs and outputs. `GroupCore.step(event, nowMs)` takes one event and gives the
 * effects, in the order in which they have to be carried out. It never reads a clock, a socket, a
 * file or a random source; `nowMs` is the monotonic clock, read after the event was taken from its
 * socket (R19, H12).
 */
import type { EpochId, HistoryPoint } from '../../wal/frame.ts';
import type { EpochEntry, FrameSummary, GroupConfig, GroupFlags } from './config.ts';
import type { PairMessage } from './messages.ts';

export type CoreEvent =
  | { readonly kind: 'tick' }
  /** A session of the pair link is open; `session` is new each time and never used again. */
  | { readonly kind: 'sessionOpened'; readonly session: number }
  | { readonly kind: 'sessionClosed'; readonly session: number }
  | { readonly kind: 'message'; readonly session: number; readonly message: PairMessage }
  /** A frame came whole and its CRCs are right; it is appended only on an `acceptFrame` effect. */
  | {
      readonly kind: 'frameReceived';
      readonly session: number;
      readonly number: number;
      readonly frame: FrameSummary;
    }
  /**
   * The frames that `fetchRest` asked for, in order, their CRCs right; none if there are none.
   * Appended only on an `acceptRest` effect.
   */
  | { readonly kind: 'restFetched'; readonly frames: readonly FrameSummary[] }
  /** Primary: a frame was formed and handed to the log and (if a session is joined) the link. */
  | { readonly kind: 'frameFormed'; readonly frame: FrameSummary; readonly sizeBytes: number }
  /** A frame or heartbeat with this number was given to the session; all up to `sent` is sent. */
  | {
      readonly kind: 'sent';
      readonly session: number;
      readonly number: number;
      readonly sent: HistoryPoint;
    }
  /**
   * Everything up to `sequence` is durable in the local log. Of frames that a `cut` has voided
   * nothing is reported any more.
   */
  | { readonly kind: 'durable'; readonly sequence: number }
  | { readonly kind: 'checkpointed'; readonly checkpoint: HistoryPoint }
  /** The local log failed to write or sync (I8, R33). Final. */
  | { readonly kind: 'logFailed' }
  /** The register shows that the swap won, or another value. Unknown outcomes are not reported. */
  | { readonly kind: 'swapWon'; readonly config: GroupConfig }
  | { readonly kind: 'swapLost'; readonly current: GroupConfig }
  | { readonly kind: 'registerRead'; readonly current: GroupConfig }
  /** Reads wait for a confirmation of the peer (R20). */
  | { readonly kind: 'confirmReads' }
  /** Operator: hand over to the peer (R21). */
  | { readonly kind: 'switchover' }
  /** Operator: a promotion by force is being decided; until it is, no session changes this log. */
  | { readonly kind: 'forcing' }
  /** It was not decided: everything is as before. */
  | { readonly kind: 'notForced' }
  /** Operator: `config` was forced at this site; it reigns by it (R35). */
  | { readonly kind: 'forced'; readonly config: GroupConfig }
  /**
   * Operator: this side of a split is given up (R36), durably. Told again when the log is quiet,
   * and with `keptAside` when its own changes are kept aside, so that it may be overwritten.
   */
  | { readonly kind: 'resolving'; readonly keptAside: boolean }
  /** This life's swap from absent has won (R39): a new group, this site its first primary. */
  | { readonly kind: 'created'; readonly config: GroupConfig }
  /** Joiner: the stage that `prepareResync` asked for is durable, and the log follows it. */
  | {
      readonly kind: 'resyncBegun';
      readonly session: number;
      readonly from: HistoryPoint;
      readonly epochHistory: readonly EpochEntry[];
      readonly config: GroupConfig;
    }
  /** Joiner: the stage could not be made. */
  | { readonly kind: 'resyncFailed'; readonly text: string }
  /** Joiner: everything was copied, and the stage is this site's history, durably. */
  | { readonly kind: 'resynced' }
  /** Joiner: the stage was given up, durably; the history ends where the old image is. */
  | {
      readonly kind: 'stageDropped';
      readonly to: HistoryPoint;
      readonly epochHistory: readonly EpochEntry[];
      readonly config?: GroupConfig;
    };

export type SwapName = 'restart' | 'takeover' | 'handover' | 'drop' | 'add';

export type CoreEffect =
  | { readonly kind: 'send'; readonly session: number; readonly message: PairMessage }
  /** Send a heartbeat now: the driver numbers it and reports it with `sent`. */
  | {
      readonly kind: 'sendHeartbeat';
      readonly session: number;
      readonly epoch: number;
      readonly commit: number;
    }
  | { readonly kind: 'closeSession'; readonly session: number; readonly reason: string }
  /**
   * Propose this swap to the register, again and again unchanged until it is won or lost (R11).
   * `next` lacks only what needs randomness: the driver fills in `epochId`.
   */
  | {
      readonly kind: 'swap';
      readonly name: SwapName;
      readonly expected: GroupConfig;
      readonly next: Omit<GroupConfig, 'epochId'>;
    }
  | { readonly kind: 'readRegister' }
  /** Void all records after `to` in the local log by a cut record (R29). */
  | { readonly kind: 'cut'; readonly to: HistoryPoint }
  /**
   * The history begins anew after `to`: what the local log has of the group is void (R29). Nothing
   * of it is on its way to the log any more.
   */
  | { readonly kind: 'restartHistory'; readonly to: HistoryPoint }
  /**
   * Joiner: make a stage that frames after `from` can follow, then say `resyncBegun` (or
   * `resyncFailed`). `changed`: only what has changed since `base` differs, and everything in the
   * own history is committed; it is applied first. Otherwise everything is wanted.
   */
  | {
      readonly kind: 'prepareResync';
      readonly session: number;
      readonly changed: boolean;
      readonly from: HistoryPoint;
      readonly base: HistoryPoint | undefined;
      readonly epochHistory: readonly EpochEntry[];
      readonly config: GroupConfig;
    }
  /** Append the frame just received to the local log. */
  | { readonly kind: 'acceptFrame' }
  /** Ask the peer for the frames of this site's reigns after `after`, then say `restFetched`. */
  | { readonly kind: 'fetchRest'; readonly after: HistoryPoint }
  /** Append the frames just fetched to the local log. */
  | { readonly kind: 'acceptRest' }
  /** Form a frame with the epochStart record of `config` at the log's end (R15). */
  | { readonly kind: 'appendEpochStart'; readonly config: GroupConfig }
  /** Committed up to here: answer clients (if reigning), apply (R18). */
  | { readonly kind: 'commit'; readonly sequence: number }
  /** Send the joined peer the frames after `from`, then every new one as it is formed. */
  | { readonly kind: 'startSending'; readonly session: number; readonly from: HistoryPoint }
  /** What is sent next on the session follows `from`, but nothing is sent yet. */
  | { readonly kind: 'holdSending'; readonly from: HistoryPoint }
  | { readonly kind: 'stopSending' }
  /** The role, or whether writes or reads are served, has changed: look at `core.view()`. */
  | { readonly kind: 'viewChanged' }
  /** Keep in the store, durably, before the next effect. */
  | {
      readonly kind: 'persistFlags';
      readonly flags: GroupFlags;
    }
  | { readonly kind: 'persistBase'; readonly base: HistoryPoint | undefined }
  /** Something an operator wants to find later. */
  | {
      readonly kind: 'event';
      readonly code: string;
      readonly text: string;
      readonly level: 'info' | 'warn' | 'error';
    };

/** Why a group does not serve; shown in the same words everywhere. */
export type WaitReason =
  | { readonly code: 'starting'; readonly text: string }
  | { readonly code: 'secondary'; readonly text: string }
  | { readonly code: 'peer-lost'; readonly text: string }
  | { readonly code: 'swap-pending'; readonly text: string }
  | { readonly code: 'grace'; readonly text: string }
  | { readonly code: 'epoch-start'; readonly text: string }
  | { readonly code: 'switchover'; readonly text: string }
  | { readonly code: 'split'; readonly text: string }
  | { readonly code: 'resolving'; readonly text: string }
  | { readonly code: 'damaged'; readonly text: string }
  | { readonly code: 'inconsistent'; readonly text: string }
  | { readonly code: 'log-failed'; readonly text: string }
  | { readonly code: 'lease'; readonly text: string }
  | { readonly code: 'removed'; readonly text: string };

/** How far the peer's copy of a group is. */
export type PeerState =
  | { readonly kind: 'disconnected'; readonly sinceMs: number }
  | { readonly kind: 'handshaking' }
  | { readonly kind: 'catching-up'; readonly remainingRecords: number }
  /** It gets extents and frames, and counts for nothing until it has all of them (R26). */
  | { readonly kind: 'resyncing' }
  | { readonly kind: 'waited-for' }
  | { readonly kind: 'in-sync' }
  | { readonly kind: 'refused'; readonly code: string; readonly text: string };

/** What the driver, status and metrics read off the core at any time. */
export interface CoreView {
  readonly role: 'primary' | 'secondary' | 'none';
  readonly config: GroupConfig | undefined;
  readonly reigning: boolean;
  /** New writes may be given sequences now. Otherwise they are held. */
  readonly takesWrites: boolean;
  /** Reads may be answered now, but for the lease, which `mayRead(nowMs)` looks at too. */
  readonly takesReads: boolean;
  /** A swap of this site was sent and its outcome is not known (R11). */
  readonly swapPending: boolean;
  readonly waitReason: WaitReason | undefined;
  readonly waitSinceMs: number | undefined;
  readonly peer: PeerState;
  /** The connected peer is joined and this site may forward requests to it as secondary. */
  readonly joinedSession: number | undefined;
  readonly end: HistoryPoint;
  readonly commit: number;
  readonly durable: number;
  readonly peerDurable: number;
  readonly peerCheckpoint: number;
  readonly inSyncWithPeer: boolean;
  /** This side of a split is given up, and not yet a copy of the other one (R36). */
  readonly resolving: boolean;
  /** This site's own copy is being resynced. */
  readonly staged: boolean;
  /** False while a drop or takeover swap is pending: sessions must not be opened (R13). */
  readonly wantsSession: boolean;
  readonly epochIdOfReign: EpochId | undefined;
}

/** Times of the protocol; leaseMs and graceMs in force are those of the configuration (R19). */
export interface CoreTimes {
  readonly heartbeatMs: number;
  readonly ackTimeoutMs: number;
  readonly connectMs: number;
  readonly registerPollMs: number;
  readonly rejoinBackoffMs: number;
  readonly rejoinBackoffMsMax: number;
  readonly leaseMs: number;
  readonly graceMs: number;
}
