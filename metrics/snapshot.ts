/**
 * What a site hands to its metrics when they are asked for: plain numbers, read at that moment from
 * the counters that their owners keep. The registry is in `site-metrics.ts`.
 */

/** A histogram of durations as `wal/latency-histogram.ts` gives it. */
export interface HistogramSnapshot {
  /** Observations per bucket, not cumulative; one more than there are bounds. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumMs: number;
}

export const roles = ['primary', 'secondary', 'none'] as const;

/** How far the peer's copy of a group is; the states of `daemon/site-status.ts`. */
export const peerCopyStates = [
  'disconnected',
  'handshaking',
  'catching-up',
  'resyncing',
  'waited-for',
  'in-sync',
  'refused',
] as const;

export type OperationKind = 'read' | 'write' | 'writeZeroes' | 'trim' | 'flush';

export interface VolumeMetrics {
  readonly volume: string;
  readonly group: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly clientConnections: number;
  readonly operations: Readonly<Record<OperationKind, number>>;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly errors: number;
  readonly healedBlocks: number;
  readonly unreadableBytes: number;
  readonly readLatency: HistogramSnapshot;
  readonly writeLatency: HistogramSnapshot;
}

export interface GroupMetrics {
  readonly group: string;
  readonly role: (typeof roles)[number];
  readonly serves: boolean;
  readonly inSync: boolean;
  readonly peerState: (typeof peerCopyStates)[number];
  /** The resync of this site's copy, or of the peer's from here; undefined: there is none. */
  readonly resync: { readonly doneBytes: number; readonly totalBytes: number } | undefined;
  /** Extents that came from the source, and those that needed not, for they were the same. */
  readonly resyncReceivedBytes: number;
  readonly resyncSameBytes: number;
  readonly resyncsCompleted: number;
  readonly epoch: number;
  /** Acceptors of the newest configuration known. */
  readonly voters: number;
  /** Records in this site's log, committed, applied, durable in the data files: by sequence. */
  readonly endSequence: number;
  readonly commitSequence: number;
  readonly appliedSequence: number;
  readonly checkpointSequence: number;
  readonly checkpointAtMs: number;
  readonly checkpointDurationMs: number;
  readonly unacknowledgedBytes: number;
  readonly applyBacklogBytes: number;
  readonly heldRequests: number;
  /** Wall clock of the newest record known to be on both sites. */
  readonly lastOnBothSitesMs: number | undefined;
  readonly suspendedMsTotal: number;
  /** Code of what the group waits for; undefined when it serves. */
  readonly waitCode: string | undefined;
  readonly framesFormed: number;
  readonly recordsFormed: number;
  /** From the forming of a frame until it was durable here, acknowledged there, and committed. */
  readonly localLogLatency: HistogramSnapshot;
  readonly peerLatency: HistogramSnapshot;
  readonly commitLatency: HistogramSnapshot;
}

export interface LogMetrics {
  readonly sizeBytes: number;
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly failed: boolean;
  /** Appends that reached the disk, each with a sync. */
  readonly commitsTotal: number;
  readonly syncsTotal: number;
  readonly framesTotal: number;
  readonly recordsTotal: number;
  readonly bytesWrittenTotal: number;
  readonly commitLatency: HistogramSnapshot;
}

export interface PeerMetrics {
  readonly peer: string;
  readonly connected: boolean;
  readonly roundTripMs: number | undefined;
  readonly bytesSentTotal: number;
  readonly bytesReceivedTotal: number;
  readonly queuedBytes: number;
}

export interface WitnessMetrics {
  readonly name: string;
  readonly connected: boolean;
  readonly lastAnswerMs: number | undefined;
  readonly roundTripMs: number | undefined;
}

export interface SiteFigures {
  readonly site: string;
  readonly cluster: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** The two clocks when the figures were taken: time of day, and what leases are measured by. */
  readonly wallMs: number;
  readonly monotonicMs: number;
  readonly clientConnections: number;
  /** Memory taken by requests that are held or not yet applied, and its limit. */
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
}

export interface CertificateMetrics {
  readonly certificate: 'own' | 'authority';
  readonly expiresAtMs: number;
}

/** Requests by HTTP that were refused for who sent them, by reason. */
export type ApiRefused = Readonly<Record<'no-token' | 'wrong-token' | 'role', number>>;

export interface MetricsSnapshot {
  readonly site: SiteFigures;
  /** Absent where nobody is served by HTTP. */
  readonly apiRefused?: ApiRefused;
  readonly log: LogMetrics;
  readonly peer: PeerMetrics;
  /** Who decides which site is primary, and whether it answered when it was asked last. */
  readonly register: { readonly type: string; readonly reachable: boolean | undefined };
  /** Undefined if the site has none. */
  readonly witness: WitnessMetrics | undefined;
  /** Absent without TLS. */
  readonly certificates?: readonly CertificateMetrics[];
  readonly groups: readonly GroupMetrics[];
  readonly volumes: readonly VolumeMetrics[];
  /** Upper bounds of all histograms' buckets. */
  readonly histogramBoundsMs: readonly number[];
}
