/**
 * What the parts of a site see of each other: status, metrics and the talk with the peer read from
 * here, so that none of them needs to know how a site is put together.
 */
import type { Log } from '../wal/log.ts';
import type { LogRecovery } from '../wal/log-types.ts';
import type { Config } from './config/schema.ts';
import type { Operations } from './operations.ts';
import type { SiteResync } from './resync/site-resync.ts';
import type { SiteGroups } from './site-groups.ts';
import type { RegisterStatus } from './site-status.ts';
import type { SplitResolver } from './split/split-resolver.ts';
import type { SiteStore } from './store/site-store.ts';
import type { CertificateEnd } from './system-tls.ts';
import type { MemoryBudget } from './volume/memory-budget.ts';
import type { WitnessFigures } from './witness-link.ts';

export interface SiteClock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
}

/** The connection to the peer, as status and metrics show it. */
export interface PeerFigures {
  readonly connected: boolean;
  /** Since when it is or is not connected, by the wall clock. */
  readonly sinceMs: number;
  readonly problem: string | undefined;
  stats(): {
    readonly roundTripMs: number | undefined;
    readonly bytesIn: number;
    readonly bytesOut: number;
    readonly queuedBytes: number;
  };
}

/** The witness, as status and metrics show it. */
export interface WitnessParts {
  readonly figures: WitnessFigures | undefined;
  readonly voters: { readonly difference: string | undefined };
}

export interface SiteParts {
  readonly config: Config;
  readonly clock: SiteClock;
  readonly startedAtMs: number;
  readonly recovery: LogRecovery;
  readonly log: Log;
  readonly store: SiteStore;
  readonly memory: MemoryBudget;
  readonly groups: SiteGroups;
  readonly operations: Operations;
  readonly splits: SplitResolver;
  readonly peer: PeerFigures;
  readonly resync: Pick<SiteResync, 'answer'>;
  readonly witness: WitnessParts;
  readonly register: { status(): RegisterStatus };
  readonly certificates: readonly CertificateEnd[];
  /** Why this site stopped serving for good (I8), if it did. */
  readonly failure: string | undefined;
  event(
    level: 'info' | 'warn' | 'error',
    code: string,
    group: string | undefined,
    text: string,
  ): void;
}
