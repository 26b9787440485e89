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
}

export interface WelcomeMessage {
  readonly kind: 'welcome';
  readonly config: GroupConfig;
  /** How the joiner gets what it lacks; `resync` means that the log does not reach back. */
  readonly mode: 'log' | 'resync';
  readonly fork: HistoryPoint;
  readonly end: HistoryPoint;
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
