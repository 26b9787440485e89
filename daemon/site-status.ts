/**
 * What a site tells of itself, and what an operator can ask of it: the border between the running
 * daemon (`daemon/site.ts`) and everything that shows or steers it (HTTP API, metrics, command
 * line). Plain data: it goes through JSON as it is. Times are wall-clock milliseconds since 1970.
 */
import type { HistoryPoint } from '../wal/frame.ts';
import type { Caller } from './caller.ts';

export interface VolumeStatus {
  readonly name: string;
  readonly group: string;
  readonly sizeBytes: number;
  /** Bytes that the volume's data file takes on this site's disk. */
  readonly allocatedBytes: number;
  readonly clientConnections: number;
  readonly exportUri: readonly string[];
  /** Parts of the data file that reads fail on, as far as they are known; the first few. */
  readonly unreadable: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
  readonly unreadableBytes: number;
}

/** One side of a split: what it has changed since both sites were the same. */
export interface SplitSide {
  readonly site: string;
  readonly epoch: number;
  /** Its newest record. */
  readonly end: number;
  /** The last record that it knows to be on both sites; absent: everything has to be compared. */
  readonly since?: number;
  readonly changedBytes: number;
  readonly volumes: {
    readonly name: string;
    /** The first few parts, in units of 64 KiB. */
    readonly extents: { readonly offsetBytes: number; readonly lengthBytes: number }[];
    /** Bytes of the parts that are not listed. */
    readonly leftOutBytes: number;
  }[];
}

export interface SplitStatus {
  /** The site whose side is given up, while it is not yet a copy of the other one. */
  readonly givenUp?: string;
  readonly here: SplitSide;
  /** As the other site said when it was asked last. */
  readonly there?: SplitSide;
}

export interface PeerCopyStatus {
  readonly state:
    | 'disconnected'
    | 'handshaking'
    | 'catching-up'
    | 'resyncing'
    | 'waited-for'
    | 'in-sync'
    | 'refused';
  /** One sentence for a person. */
  readonly text: string;
  readonly remainingRecords: number;
}

export interface GroupStatus {
  readonly id: string;
  readonly name: string;
  readonly role: 'primary' | 'secondary' | 'none';
  /** Site names, from the newest configuration known. */
  readonly primarySite: string | undefined;
  readonly inSyncSites: readonly string[];
  readonly epoch: number;
  /** Names of those who decide on the configuration: sites and, if it votes, the witness. */
  readonly voters: readonly string[];
  readonly onPeerLoss: 'suspend' | 'preferred';
  readonly preferredSite: string | undefined;
  /** True when clients' reads and writes are answered (here, or by passing them on). */
  readonly serves: boolean;
  /** Why not, since when, what would clear it, and the safe command. */
  readonly wait:
    | {
        readonly code: string;
        readonly text: string;
        readonly sinceMs: number;
        readonly clears: string;
        readonly command: string | undefined;
      }
    | undefined;
  readonly peer: PeerCopyStatus;
  /** The resync of this site's copy, or of the peer's from here. */
  readonly resync:
    | {
        readonly direction: 'to-here' | 'from-here';
        readonly full: boolean;
        readonly inPlace: boolean;
        readonly doneBytes: number;
        readonly totalBytes: number;
        readonly rateBytes: number;
        readonly secondsLeft: number | undefined;
      }
    | undefined;
  /** Each site has changes that the other one lacks (after a forced promotion). */
  readonly split?: SplitStatus | undefined;
  readonly inSync: boolean;
  readonly end: HistoryPoint;
  readonly commit: number;
  readonly applied: number;
  readonly checkpoint: HistoryPoint;
  readonly checkpointAtMs: number;
  readonly unacknowledgedBytes: number;
  readonly applyBacklogBytes: number;
  readonly heldRequests: number;
  /** When the newest record known to be on both sites was written; undefined if none is known. */
  readonly lastOnBothSitesMs: number | undefined;
  readonly suspendedMsTotal: number;
  readonly volumes: readonly VolumeStatus[];
}

export interface LogStatus {
  readonly sizeBytes: number;
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly failed: string | undefined;
  /** What recovery found when the daemon started, in one sentence. */
  readonly recovery: string;
}

export interface PeerStatus {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  readonly sinceMs: number;
  readonly roundTripMs: number | undefined;
  /** Last reason why it is not connected or was refused, in words. */
  readonly problem: string | undefined;
}

export interface WitnessStatus {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  readonly sinceMs: number;
  /** When it last answered this site; undefined if it never did since the daemon started. */
  readonly lastAnswerMs: number | undefined;
  readonly roundTripMs: number | undefined;
  /** Last reason why it is not connected, in words. */
  readonly problem: string | undefined;
}

/** Who decides which site is primary, and whether it can be asked. */
export interface RegisterStatus {
  readonly type: 'sites' | 'etcd';
  /** Whether it answered when it was asked last; undefined if that is not known. */
  readonly reachable: boolean | undefined;
  /** In words; each endpoint of etcd. */
  readonly text: string;
}

export interface SiteStatus {
  readonly site: string;
  readonly cluster: string;
  readonly version: string;
  readonly storeId: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly peer: PeerStatus;
  readonly register: RegisterStatus;
  /** Undefined if the configuration has none. */
  readonly witness: WitnessStatus | undefined;
  /** Why the two sites can't agree on a witness, naming both values. */
  readonly witnessDifference: string | undefined;
  /** When the certificates of TLS end that this site needs; absent without TLS. */
  readonly certificates?: readonly {
    readonly certificate: 'own' | 'authority';
    readonly path: string;
    readonly expiresAtMs: number;
  }[];
  readonly log: LogStatus;
  readonly groups: readonly GroupStatus[];
  /** Everything that does not go on, or soon will not; empty when all is well. */
  readonly problems: readonly { readonly code: string; readonly text: string }[];
}

export interface SiteEvent {
  readonly number: number;
  readonly atMs: number;
  readonly level: 'info' | 'warn' | 'error';
  readonly code: string;
  readonly group: string | undefined;
  readonly text: string;
  /** Who asked for it, where somebody did. */
  readonly by?: Caller | undefined;
}

/** What somebody asked of this site, and what came of it. */
export interface OperatorAction {
  readonly level: 'info' | 'warn';
  readonly code: 'operator-action' | 'operator-failed' | 'api-refused';
  readonly text: string;
  readonly by: Caller;
}

export interface CreateVolume {
  readonly name: string;
  readonly sizeBytes: number;
  /** Name of an existing or new group; a group of the volume's own name if absent. */
  readonly group?: string | undefined;
  readonly onPeerLoss?: 'suspend' | 'preferred' | undefined;
  /** For `preferred`: which site goes on alone; this site if absent. */
  readonly preferredSite?: string | undefined;
}

/** Shown before a forced promotion, and recorded with it. */
export interface PromotionEvidence {
  readonly volume: string;
  readonly group: string;
  readonly thisSite: string;
  /** The last record that is known to be on both sites. */
  readonly lastCommon: HistoryPoint;
  readonly lastCommonAtMs: number | undefined;
  readonly ownEnd: HistoryPoint;
  readonly inSyncHere: boolean;
  readonly peerReachable: boolean;
  /** True unless the other site certainly has acknowledged nothing that is missing here. */
  readonly peerMayHaveAcknowledgedMore: boolean;
  readonly warnings: readonly string[];
  /** Has to be sent back with the promotion: what was confirmed is what was shown. */
  readonly confirmation: string;
}

/** The side of a split that was given up: it becomes a copy of the other one by itself. */
export interface ResolvedSplit {
  readonly site: string;
  /** Where that site keeps what it had changed in the volume. */
  readonly directory: string;
  /** That is there; otherwise it is being copied. */
  readonly done: boolean;
}

/** Operator actions. Each throws a `CasemateError` with a stable code when it can't be done. */
export interface SiteControl {
  status(): Promise<SiteStatus>;
  events(options: { readonly limit: number }): readonly SiteEvent[];
  /** Keeps as an event who has asked for what. */
  recordAction(action: OperatorAction): void;
  createVolume(request: CreateVolume): Promise<VolumeStatus>;
  deleteVolume(name: string): Promise<void>;
  resizeVolume(name: string, sizeBytes: number): Promise<VolumeStatus>;
  /** Makes the other site primary of the volume's group; resolves when it is. */
  switchover(name: string): Promise<void>;
  promotionEvidence(name: string): Promise<PromotionEvidence>;
  forcePromote(name: string, confirmation: string): Promise<void>;
  /** Ends a split of the volume's group by giving up the side of the site `drop` (R36). */
  resolveSplit(name: string, drop: string): Promise<ResolvedSplit>;
}
