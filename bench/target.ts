/** What is measured: Casemate itself or a peer that serves the same kind of NBD export. */
import type { WatchedProcess } from './costs.ts';
import type { MetricSums } from './metrics-text.ts';

export const durabilities = {
  everyCopy: 'synced on every copy before the answer',
  pageCache: 'in the page cache; on the disk only after a flush',
} as const;
export type Durability = (typeof durabilities)[keyof typeof durabilities];

/** A server, or a set of servers, that runs and serves one export to fio. */
export interface Target {
  readonly name: string;
  readonly copies: 1 | 2;
  readonly durability: Durability;
  /** Another address of an export that belongs to another target: neither filled nor compared. */
  readonly alias?: true;
  /** The export, as libnbd is given it; its size is the suite's volume size. */
  readonly uri: string;
  /** All server processes of the target, for their CPU time, disk writes and memory. */
  processes(): readonly WatchedProcess[];
  /** Resolves when nothing is left to be done in the background for what was acknowledged. */
  settled?(): Promise<void>;
  /** The metrics of Casemate's daemons now, the primary's first. */
  scrape?(): Promise<readonly MetricSums[]>;
  /** Ends the target, then compares its copies at rest: the first difference in words. */
  finish(): Promise<string | undefined>;
  /** Ends the target however it is, without comparing. */
  stop(): Promise<void>;
}

/** A target that could not be measured on this machine, and why. */
export interface Absent {
  readonly name: string;
  readonly reason: string;
}

/** What each target is started with. */
export interface TargetContext {
  /** An empty directory of the target's own; short enough for Unix sockets in it. */
  readonly directory: string;
  readonly volumeBytes: number;
}

/** Something that can be started; `needs` are the commands it is made of. */
export interface TargetKind {
  readonly name: string;
  readonly needs: readonly { readonly command: string; readonly debianPackage: string }[];
  start(context: TargetContext): Promise<Target>;
}
