/**
 * What a group needs of a register (I5): its configuration, changed by compare-and-swap only. Two
 * things stand behind it: CASPaxos over acceptors (`cas-register.ts`) and a key in an etcd cluster
 * (`etcd-register.ts`). Whoever uses it need not know which.
 */
import type { GroupConfig } from '../core/config.ts';

export type SwapOutcome =
  | { readonly outcome: 'won' }
  | { readonly outcome: 'lost'; readonly current: GroupConfig };

export interface Register {
  /** The newest value, or undefined if there is none. Rejects if no quorum answers. */
  read(): Promise<GroupConfig | undefined>;
  /**
   * Replaces `expected` by `next`, and repeats that unchanged until the outcome is known (R11). A
   * newer call takes the place of an older one, whose promise then never settles: whoever calls
   * again has learnt that the older one is over.
   */
  swap(expected: GroupConfig | undefined, next: GroupConfig): Promise<SwapOutcome>;
  /**
   * R35: `next`, by which this site alone is in sync, becomes the value whatever the other site
   * does. Repeated until it is known to be the value.
   */
  force(next: GroupConfig): Promise<void>;
  /** Ends everything that is under way: it rejects with ERR_REGISTER_CANCELLED. */
  cancel(): void;
}
