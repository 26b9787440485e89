/**
 * The requests that a group has: those of this site's clients at its desk, those that the peer has
 * passed on, and the memory that they take.
 */
import type { CoreView } from '../../replication/core/events.ts';
import { ForwardedRequests } from './forwarded-requests.ts';
import type { GroupContext } from './group-context.ts';
import { MemoryAccount } from './memory-budget.ts';
import { RequestDesk } from './request-desk.ts';
import type { Volume } from './volume.ts';

/** What requests need of their group. */
export interface GroupRequestsHost {
  view(): CoreView;
  mayRead(receivedAtMs: number): boolean;
  /** By the lease (R19): the peer, which asks, followed this reign when it did so (R20). */
  mayReadForPeer(): boolean;
  volume(number: number): Volume | undefined;
  readFailed(volume: Volume, error: unknown): void;
  wakeLog(): void;
  confirmReads(): void;
}

export class GroupRequests {
  readonly desk: RequestDesk;
  readonly forwarded: ForwardedRequests;
  readonly memory: MemoryAccount;

  constructor(context: GroupContext, host: GroupRequestsHost) {
    const reads = {
      nowMs: () => context.nowMs(),
      takesWrites: () => host.view().takesWrites,
      readFailed: (volume: Volume, error: unknown) => host.readFailed(volume, error),
    };
    this.memory = new MemoryAccount(context.memory);
    this.desk = new RequestDesk({
      ...reads,
      boot: context.boot,
      memory: this.memory,
      passedOn: context.passedOn,
      holdMsMax: context.limits.holdMsMax,
      standbySession: () => standbySession(host.view()),
      forward: (session, request) => context.link.sendForward(session, request),
      wakeLog: () => host.wakeLog(),
      mayRead: (receivedAtMs) => host.mayRead(receivedAtMs),
      confirmReads: () => host.confirmReads(),
    });
    this.forwarded = new ForwardedRequests({
      ...reads,
      mayRead: () => host.mayReadForPeer(),
      volume: (number) => host.volume(number),
      submitPart: (part) => this.desk.submitPart(part),
      reply: (session, reply) => context.link.sendForwardReply(session, reply),
    });
  }

  /** Whether requests are done or passed on may have changed: what is held counts otherwise. */
  viewed(view: CoreView): void {
    this.memory.setHeld(!view.takesWrites && standbySession(view) === undefined);
  }
}

function standbySession(view: CoreView): number | undefined {
  return view.reigning ? undefined : view.joinedSession;
}
