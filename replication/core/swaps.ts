/**
 * The one transition (R10, R11): proposing a swap, and learning a newer configuration. Which swap,
 * and when, is decided in `timers.ts` and `steady.ts`; what follows from its outcome is in
 * `outcomes.ts`.
 */
import assert from 'node:assert/strict';
import type { StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from './config.ts';
import type { SwapName } from './events.ts';
import { closeLink } from './link-state.ts';
import type { CoreState } from './state.ts';
import { changeRole } from './state.ts';

/** Sends a swap to the register; R13: `drop` and `takeover` close the session first. */
export function propose(
  state: CoreState,
  name: SwapName,
  inSync: readonly StoreId[],
  reason: string,
): void {
  const expected = state.config;
  assert(expected !== undefined, 'a swap starts from a configuration');
  assert(state.swap === undefined, 'one swap at a time (R11)');
  assert(expected.inSync.includes(state.me), 'only a member of the in-sync set proposes (I5)');
  assert(inSync.includes(state.me), 'the proposer stays or becomes primary, in sync (R10)');
  if (name === 'drop' || name === 'takeover') closeLink(state, `${name}: ${reason}`);
  state.swap = { name, expected, sinceMs: state.nowMs };
  state.effects.push({ kind: 'swap', name, expected, next: nextConfig(state, name, inSync) });
  state.event('info', 'group-swap', `proposes ${name} in epoch ${expected.epoch}: ${reason}`);
}

/**
 * Lease and grace may change only where nobody reads under the old lease any more: in every swap
 * but `add` (H14). When both sites are in sync the configuration is a forced one no more: both have
 * that history, and a site that was forced alone has to hear the other one's proposals again.
 */
function nextConfig(
  state: CoreState,
  name: SwapName,
  inSync: readonly StoreId[],
): Omit<GroupConfig, 'epochId'> {
  const expected = state.config;
  assert(expected !== undefined, 'a swap starts from a configuration');
  const peer = inSync.find((store) => store !== state.me);
  const times = name === 'add' ? expected : state.times;
  const acceptors =
    name === 'add' && peer !== undefined
      ? acceptorsWith(state, peer, expected)
      : expected.acceptors;
  return {
    epoch: expected.epoch + 1,
    primary: state.me,
    inSync,
    acceptors,
    leaseMs: times.leaseMs,
    graceMs: times.graceMs,
    ...(expected.forced === undefined || name === 'add' ? {} : { forced: expected.forced }),
  };
}

/**
 * They go back to the group's mode when both sites are in sync. From a site that was forced alone
 * (R35) by way of both sites, each of them indispensable: of a longer list the others could be a
 * majority while the forced site, which takes it last, has not taken it and hears nobody else; they
 * would decide without it, and it without them. The next `add` (R5) goes on from there.
 */
function acceptorsWith(
  { me, options }: CoreState,
  peer: StoreId,
  { acceptors, forced }: GroupConfig,
): readonly StoreId[] {
  const wanted = options.defaultAcceptors(me, peer, acceptors);
  const isAlone = acceptors.length === 1 && acceptors[0] === me;
  const stays = wanted.length === 1 && wanted[0] === me;
  return forced !== undefined && isAlone && !stays ? [me, peer] : wanted;
}

/**
 * A newer configuration was heard of: a reign by an older one ends (R9, fenced), a pending swap is
 * lost, suspicion of the primary starts anew (R14). Gives false if it is not newer.
 */
export function learn(state: CoreState, config: GroupConfig): boolean {
  if (state.config !== undefined && config.epoch <= state.config.epoch) return false;
  // A promotion by force hears from the register itself whether it has won (R35); a look at it may
  // be faster, and would leave a configuration that stands and that nobody acts by.
  if (state.forcing && config.primary === state.me && config.forced !== undefined) return false;
  if (state.swap !== undefined) {
    const mayBeOwn = config.primary === state.me && config.epoch === state.swap.expected.epoch + 1;
    // The register's answer to the swap itself tells whether it is this life's (R10).
    if (mayBeOwn) return false;
    state.event('info', 'group-swap', `${state.swap.name} lost to epoch ${config.epoch}`);
    state.swap = undefined;
  }
  state.config = config;
  state.lastAcknowledgedAtMs = state.nowMs;
  followConfig(state, config);
  return true;
}

function followConfig(state: CoreState, config: GroupConfig): void {
  const { role, link } = state;
  if (config.removed === true) {
    closeLink(state, 'the group was removed');
    if (role.kind !== 'stopped') {
      changeRole(state, { kind: 'stopped', reason: 'removed' }, 'the group was removed');
    }
    return;
  }
  if (role.kind === 'reigning' || role.kind === 'released') {
    state.wait = { kind: 'none' };
    // A hello that was given after the release still holds: nothing was appended since.
    const keepsHello = role.kind === 'released' && link.kind === 'open';
    if (!keepsHello) closeLink(state, `fenced by epoch ${config.epoch}`);
    changeRole(state, { kind: 'following' }, `fenced by epoch ${config.epoch}`);
    return;
  }
  if (link.kind !== 'joined') return;
  if (link.primary !== config.primary || !config.inSync.includes(state.me)) {
    closeLink(state, `epoch ${config.epoch} has begun elsewhere`);
  }
}
