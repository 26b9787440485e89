/**
 * A site for the tests of the API and of the command line: its groups are set by the test, and what
 * operators ask of it is noted.
 */
import { CasemateError } from '../../daemon/errors.ts';
import type { RequestFigures } from '../../daemon/page/request-figures.ts';
import type {
  GroupStatus,
  OperatorAction,
  PromotionEvidence,
  ResolvedSplit,
  SiteControl,
  SiteEvent,
  SiteStatus,
  VolumeStatus,
} from '../../daemon/site-status.ts';

export const nowMs = Date.UTC(2026, 4, 17, 3, 0, 0);
const point = { sequence: 812, digest: 'a'.repeat(32) };

/** No client has asked for anything yet. */
export function noFigures(): RequestFigures {
  const none = { requests: 0, bytes: 0, sumMs: 0, counts: [0, 0] };
  return { boundsMs: [1], read: none, write: none };
}

export function volumeStatus(name: string, group: string): VolumeStatus {
  return {
    name,
    group,
    sizeBytes: 10 * 1024 ** 3,
    allocatedBytes: 3 * 1024 ** 3,
    clientConnections: 1,
    exportUri: [`nbd+unix:///${name}?socket=/run/casemate/nbd.sock`],
    unreadable: [],
    unreadableBytes: 0,
  };
}

export function groupStatus(name: string, more: Partial<GroupStatus> = {}): GroupStatus {
  return {
    id: 'b'.repeat(32),
    name,
    role: 'primary',
    primarySite: 'lux-1',
    inSyncSites: ['lux-1', 'lux-2'],
    epoch: 4,
    onPeerLoss: 'suspend',
    voters: ['lux-1', 'lux-2'],
    preferredSite: undefined,
    serves: true,
    wait: undefined,
    peer: { state: 'in-sync', text: 'in sync with lux-2', remainingRecords: 0 },
    resync: undefined,
    inSync: true,
    end: point,
    commit: 812,
    applied: 812,
    checkpoint: point,
    checkpointAtMs: nowMs - 3000,
    unacknowledgedBytes: 0,
    applyBacklogBytes: 0,
    heldRequests: 0,
    lastOnBothSitesMs: nowMs - 500,
    suspendedMsTotal: 0,
    volumes: [volumeStatus(name, name)],
    ...more,
  };
}

/** A group that waits for its peer. */
export function suspendedGroup(name: string): GroupStatus {
  return groupStatus(name, {
    serves: false,
    inSync: false,
    heldRequests: 3,
    peer: { state: 'disconnected', text: 'no session with lux-2 for 4.1 s', remainingRecords: 0 },
    wait: {
      code: 'peer-lost',
      text: 'peer lux-2 unreachable',
      sinceMs: nowMs - 4100,
      clears: 'by itself when the other site answers again',
      command: 'casemate volume show VOLUME',
    },
  });
}

export function evidence(volume: string): PromotionEvidence {
  return {
    volume,
    group: volume,
    thisSite: 'lux-1',
    lastCommon: point,
    lastCommonAtMs: nowMs - 60_000,
    ownEnd: point,
    inSyncHere: true,
    peerReachable: false,
    peerMayHaveAcknowledgedMore: true,
    warnings: ['lux-2 may have acknowledged more'],
    confirmation: 'c0ffee',
  };
}

export class SampleSite implements SiteControl {
  groups: GroupStatus[];
  peerConnected = true;
  problems: SiteStatus['problems'] = [];
  /** What was asked for, in order. */
  readonly asked: unknown[] = [];
  /** What was kept of who asked, in order. */
  readonly actions: OperatorAction[] = [];
  /** Thrown by the next action. */
  failure: unknown;

  constructor(groups: GroupStatus[]) {
    this.groups = groups;
  }

  async status(): Promise<SiteStatus> {
    this.#failIfTold();
    return {
      site: 'lux-1',
      cluster: 'lux',
      version: '0.1.0',
      storeId: 'c'.repeat(32),
      startedAtMs: nowMs - 3_600_000,
      nowMs,
      peer: {
        name: 'lux-2',
        address: 'lux-2.example.org:9618',
        connected: this.peerConnected,
        sinceMs: nowMs - 100_000,
        roundTripMs: this.peerConnected ? 0.42 : undefined,
        problem: this.peerConnected ? undefined : 'connection refused',
      },
      register: { type: 'sites', reachable: undefined, text: 'the sites decide' },
      witness: undefined,
      witnessDifference: undefined,
      log: {
        sizeBytes: 1024 ** 3,
        limitBytes: 1024 ** 3,
        usedBytes: 100 * 1024 ** 2,
        failed: undefined,
        recovery: 'the log was closed in order',
      },
      groups: this.groups,
      problems: this.problems,
    };
  }

  events({ limit }: { readonly limit: number }): readonly SiteEvent[] {
    const all: SiteEvent[] = [
      { number: 2, atMs: nowMs, level: 'warn', code: 'peer-lost', group: 'vm', text: 'peer gone' },
      { number: 1, atMs: nowMs, level: 'info', code: 'started', group: undefined, text: 'started' },
    ];
    return all.slice(0, limit);
  }

  recordAction(action: OperatorAction): void {
    this.actions.push(action);
  }

  async createVolume(request: Parameters<SiteControl['createVolume']>[0]): Promise<VolumeStatus> {
    this.#ask('create', request);
    return volumeStatus(request.name, request.group ?? request.name);
  }

  async deleteVolume(name: string): Promise<void> {
    this.#ask('delete', name);
  }

  async resizeVolume(name: string, sizeBytes: number): Promise<VolumeStatus> {
    this.#ask('resize', name, sizeBytes);
    return { ...volumeStatus(name, name), sizeBytes };
  }

  async switchover(name: string): Promise<void> {
    this.#ask('switchover', name);
  }

  async promotionEvidence(name: string): Promise<PromotionEvidence> {
    this.#failIfTold();
    return evidence(name);
  }

  async forcePromote(name: string, confirmation: string): Promise<void> {
    this.#ask('promote', name, confirmation);
    if (confirmation !== 'c0ffee') {
      throw new CasemateError('ERR_EVIDENCE_CHANGED', 'the evidence has changed', { status: 409 });
    }
  }

  async resolveSplit(name: string, drop: string): Promise<ResolvedSplit> {
    this.#ask('resolve', name, drop);
    return { site: drop, directory: `/data/kept-aside/${name}`, done: true };
  }

  #ask(...what: unknown[]): void {
    this.#failIfTold();
    this.asked.push(what);
  }

  #failIfTold(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }
}
