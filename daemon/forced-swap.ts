/**
 * The swap of a forced promotion (R35), for as long as what its operator was shown is so: somebody
 * may change the configuration between the look at it and the swap, with nothing in it that matters
 * to who confirmed. What is known beforehand is in `forced-promotion.ts`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { GroupConfig } from '../replication/core/config.ts';
import type { Register } from '../replication/register/register.ts';

/** After more changes than this, one after the other, somebody else is at work at the group. */
const lostMax = 8;

export interface ForcedSwapOptions {
  readonly register: Pick<Register, 'swap'>;
  /** The configuration by which this site is promoted, in the epoch after `expected`. */
  readonly promoted: (expected: GroupConfig) => GroupConfig;
  /** Nothing newer than `config`, nor `config` itself, is known to the group. */
  readonly isNewest: (config: GroupConfig) => boolean;
  /** The peer was away when the evidence was shown, and is connected now; or it is not wanted. */
  readonly isOver: () => boolean;
}

/**
 * Replaces `current`, which a quorum has told of; gives the configuration that was won, by which
 * the group can act, or undefined if what was confirmed is no longer so: then no configuration of
 * this promotion stands.
 */
export async function swapByForce(
  current: GroupConfig,
  { register, promoted, isNewest, isOver }: ForcedSwapOptions,
): Promise<GroupConfig | undefined> {
  let expected = current;
  for (let lost = 0; lost <= lostMax; ) {
    const next = promoted(expected);
    const swap = await register.swap(expected, next);
    if (swap.outcome === 'won') {
      if (isNewest(next)) return next;
      // It can't be acted by any more, and must not stand in everybody's way: a newer one takes
      // its place.
      expected = next;
      continue;
    }
    const same = isForcedBy(swap.current, next) || isAsConfirmed(expected, swap.current);
    if (!same || isOver()) break;
    expected = swap.current;
    lost += 1;
  }
  return undefined;
}

/** Won by a promotion of this site that was broken off: nobody acts by it. */
function isForcedBy({ primary, forced }: GroupConfig, next: GroupConfig): boolean {
  return primary === next.primary && forced !== undefined;
}

/** Only who votes has changed, or the epoch's number: none of it is evidence. */
function isAsConfirmed(expected: GroupConfig, current: GroupConfig): boolean {
  return (
    current.epoch > expected.epoch &&
    current.removed !== true &&
    current.primary === expected.primary &&
    isDeepStrictEqual([...current.inSync].sort(), [...expected.inSync].sort()) &&
    isDeepStrictEqual(current.forced, expected.forced)
  );
}
