/**
 * What two sites say to each other about one group, on one session of the pair link (R16). The
 * bytes are in `replication/link/`; this is the meaning. Frames travel beside these messages, in
 * order with them: a frame carries the same `number` as a heartbeat would.
 */
import type { Digest, GroupId, HistoryPoint, StoreId } from '../../wal/frame.ts';
import type { EpochEntry, GroupConfig, GroupFlags } from './config.ts';

export interface HelloMessage {
  readonly kind: 'hello';
  readonly storeId: StoreId;
  readonly groupId: GroupId;
  readonly config: GroupConfig | undefined;
  readonly epochHistory: readonly EpochEntry[];
  readonly end: HistoryPoint;
  readonly checkpoint: HistoryPoint;
  readonly committedFloor: number;
  readonly base: HistoryPoint | undefined;
  readonly flags: GroupFlags;
  /** Oldest sequence that can be sent from this site's log. */
  readonly logStart: number;
  /** Sizes of the group's volumes as this site has them, by volume number. */
  readonly volumes: readonly { readonly volume: number; readonly sizeBytes: number }[];
  /** The log follows a stage that began at this sequence, not what the site answered (R26). */
  readonly staged: { readonly from: number } | undefined;
  /** This site can't follow by log, whatever the histories say. */
  readonly needsResync: boolean;
}

export interface WelcomeMessage {
  readonly kind: 'welcome';
  readonly config: GroupConfig;
  /** How the joiner gets what it lacks; `resync` means that the log does not reach back (R25). */
  readonly mode: 'log' | 'resync';
  /** Frames follow from here: the fork, or where a resync begins (s0). */
  readonly fork: HistoryPoint;
  readonly end: HistoryPoint;
  /** For a resync. */
  readonly resync: ResyncOffer | undefined;
}

/** What the primary knows of the two histories, when its log does not reach back to the fork. */
export interface ResyncOffer {
  /** The last sequence that both histories have, by their epochs; all of it is committed. */
  readonly common: number;
  /** The primary knows what has changed since (R27); undefined: it does not. */
  readonly base: HistoryPoint | undefined;
  /** The primary's epochs up to where the resync begins. */
  readonly epochHistory: readonly EpochEntry[];
}

/** Sent when there is no frame to send; `sent` is the last record sent on this session. */
export interface HeartbeatMessage {
  readonly kind: 'heartbeat';
  readonly epoch: number;
  readonly number: number;
  readonly commit: number;
  readonly sent: HistoryPoint;
  readonly checkpoint: number;
}

export interface AckMessage {
  readonly kind: 'ack';
  readonly epoch: number;
  /** After a crash right now, this site's history reaches here (H22). */
  readonly durable: number;
  /** The number of the newest frame or heartbeat received. */
  readonly number: number;
  readonly checkpoint: number;
  /** The digest at `durable`, in answers to heartbeats (R32); frames carry their own. */
  readonly digest?: Digest;
  /** The records are in a stage: after a crash nothing of them is this site's history (H22). */
  readonly staged?: true;
}

/** Planned handover, or (alone) "my log has failed, go on without me" (R21, R33). */
export interface ReleaseMessage {
  readonly kind: 'release';
  readonly epoch: number;
  readonly sequence: number;
  readonly digest: Digest;
  readonly alone: boolean;
}

/** Refusal to work together, said in words and final until an operator acts or a site restarts. */
export interface RefuseMessage {
  readonly kind: 'refuse';
  readonly code: 'split' | 'damaged' | 'diverged' | 'resync-needed';
  readonly text: string;
}

export type PairMessage =
  | HelloMessage
  | WelcomeMessage
  | HeartbeatMessage
  | AckMessage
  | ReleaseMessage
  | RefuseMessage;
