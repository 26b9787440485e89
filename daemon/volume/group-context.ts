/**
 * What a group needs of the site it lives on. One object for all groups of a site; tests and the
 * simulator make their own.
 */
import type { CoreTimes } from '../../replication/core/events.ts';
import type { PeerLink } from '../../replication/link/peer-link.ts';
import type { Disk } from '../../wal/disk.ts';
import type { EpochId, StoreId } from '../../wal/frame.ts';
import type { Log } from '../../wal/log.ts';
import type { PeerCallParameters, PeerCallResult } from '../peer-calls.ts';
import type { ResyncServices } from '../resync/resync-services.ts';
import type { SiteStore } from '../store/site-store.ts';
import type { GiveBack } from './given-back.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { PassOnWindow } from './passed-on.ts';

/** The part of the link that groups use. */
export type GroupLink = Pick<
  PeerLink,
  'setWilling' | 'closeSession' | 'send' | 'sendFrame' | 'sendForward' | 'sendForwardReply'
>;

export interface GroupLimits {
  /** Bytes of frames that are formed and not yet committed. */
  readonly inFlightBytesMax: number;
  /** Bytes committed and not yet in the data files. */
  readonly applyBacklogBytesMax: number;
  readonly checksumCacheBytesMax: number;
  readonly applyConcurrency: number;
  /** How long a request is held while the group can't serve; 0 for ever. */
  readonly holdMsMax: number;
}

export interface GroupContext {
  readonly storeId: StoreId;
  /** Random, new with each life of the process. */
  readonly boot: bigint;
  readonly disk: Disk;
  readonly log: Log;
  readonly store: SiteStore;
  readonly link: GroupLink;
  readonly memory: MemoryBudget;
  /** What the groups may have passed on to the primary without an answer. */
  readonly passedOn: { readonly writes: PassOnWindow; readonly reads: PassOnWindow };
  readonly times: CoreTimes;
  /** Reads need a confirmation of the peer besides the lease (R20). */
  readonly confirmReads: boolean;
  readonly limits: GroupLimits;
  readonly dataDirectory: string;
  /** Received memory that nobody looks at any more. */
  readonly giveBack: GiveBack;
  /** Monotonic clock, milliseconds. */
  nowMs(): number;
  /** Wall clock, milliseconds since 1970. */
  wallMs(): number;
  delay(ms: number): Promise<void>;
  readonly resync: ResyncServices;
  /** Makes a checkpoint of the site; joins one that is under way. */
  checkpoint(): Promise<void>;
  /** Runs a task while no checkpoint is under way. */
  exclusively(task: () => Promise<void>): Promise<void>;
  /** Resolves when the records committed by now are to be applied. */
  gathered(): Promise<void>;
  random(): number;
  randomId(): EpochId;
  /** Asks the other site for blocks (R34); rejects when it can't help. */
  askBlocks(request: PeerCallParameters<'blocks'>): Promise<PeerCallResult<'blocks'>>;
  /** Asks the other site for a frame of its log (R30); rejects when it does not have it. */
  askFrame(request: PeerCallParameters<'logFrame'>): Promise<PeerCallResult<'logFrame'>>;
  event(level: 'info' | 'warn' | 'error', code: string, group: string, text: string): void;
  /** The data files can't be trusted any more (I8): the site stops serving. */
  failed(error: unknown): void;
  /**
   * An assertion or another programming error: the process ends, with its log intact. Where it was
   * the store that had no room, the site stops serving.
   */
  bug(error: unknown): void;
}
