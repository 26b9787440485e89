/**
 * The end of a split (R36): an operator gives one side up. That side ends its reign for good, and
 * once its own changes are kept aside it joins the other side by a resync, in which nothing of its
 * own history binds any more: no floor, no forced configuration, no epoch. The other side's epoch
 * has to be newer than any that this side knows, so that this side, once it has adopted it, takes
 * nothing of its own past from the register (R8); whoever drives this makes it so.
 */
import type { HistoryPoint } from '../../wal/frame.ts';
import { closeLink, refuse } from './link-state.ts';
import type { HelloMessage, WelcomeMessage } from './messages.ts';
import type { CoreState } from './state.ts';
import { changeFlags, changeRole, soloFloor } from './state.ts';
import { commitThrough } from './steady.ts';
import { learn } from './swaps.ts';

/** This side is given up; may be told any number of times. */
export function onResolving(state: CoreState, keptAside: boolean): void {
  if (state.role.kind === 'stopped') return;
  if (!state.flags.resolving) {
    // If it is won after all, nobody here acts by it, and the other side's epoch is newer.
    state.swap = undefined;
    state.wait = { kind: 'none' };
    closeLink(state, 'this side of the split is given up');
    changeFlags(
      state,
      { split: false, resolving: true },
      'an operator gives this side of the split up',
    );
  }
  if (state.role.kind !== 'following') {
    changeRole(state, { kind: 'following' }, 'this side of the split is given up');
  }
  takeAnswered(state);
  if (keptAside) state.keptAside = true;
}

/** What this side may have answered alone takes effect, so that it is among what is kept aside. */
function takeAnswered(state: CoreState): void {
  if (state.stagedFrom !== undefined || state.durable !== state.end.sequence) return;
  const floor = soloFloor(state);
  if (floor > state.commit) commitThrough(state, floor);
}

/** A hello where one of the two is given up. Gives whether this site may answer it. */
export function mayAnswerInResolve(
  state: CoreState,
  link: { readonly kind: 'open' },
  hello: HelloMessage,
): boolean {
  if (state.flags.resolving && hello.flags.resolving) {
    refuse(state, 'split', 'both sides of the split are given up: one has to be promoted by force');
    return false;
  }
  const { config } = hello;
  if (state.flags.resolving) {
    if (config !== undefined) learn(state, config);
    return false;
  }
  const mine = state.config;
  const known = config === undefined || config.epochId === mine?.epochId;
  if (!known && config.epoch >= (mine?.epoch ?? 0)) {
    closeLink(state, 'the side that was given up knows a newer epoch; this one begins another');
    return false;
  }
  return state.link === link && state.role.kind === 'reigning';
}

/** Only by a resync, or by log where that is the resync's own. */
export function mayFollowInResolve(state: CoreState, welcome: WelcomeMessage): boolean {
  const known = state.config;
  const isNewer =
    known === undefined ||
    welcome.config.epoch > known.epoch ||
    welcome.config.epochId === known.epochId;
  return isNewer && (welcome.mode === 'resync' || state.stagedFrom !== undefined);
}

/**
 * Both sides know what they have changed since a point that both have: the newer of their bases
 * (R27). Where that is this side's, the other side has to prove it.
 */
export function sharesBase(
  state: Pick<CoreState, 'base' | 'flags' | 'pointAt'>,
  base: HistoryPoint | undefined,
): boolean {
  const own = state.base;
  const { damaged, inconsistent } = state.flags;
  if (damaged || inconsistent || own === undefined || base === undefined) return false;
  if (own.sequence === base.sequence) return own.digest === base.digest;
  return own.sequence > base.sequence || state.pointAt(base.sequence)?.digest === base.digest;
}
