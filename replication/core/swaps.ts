/**
 * The one transition (R10, R11): proposing a swap, its outcome, and learning a newer configuration.
 * Which swap, and when, is decided in `timers.ts` and `steady.ts`.
 */
import assert from 'node:assert/strict';
import type { StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from './config.ts';
import type { SwapName } from './events.ts';
import { welcomePeer } from './join.ts';
import { closeLink } from './link-state.ts';
import type { CoreState } from './state.ts';
import { changeFlags, changeRole, otherMember } from './state.ts';
import { backOff } from './wait.ts';

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
 * but `add` (H14). `acceptors` go back to the group's mode when both sites are in sync.
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
      ? state.options.defaultAcceptors(state.me, peer)
      : expected.acceptors;
  return {
    epoch: expected.epoch + 1,
    primary: state.me,
    inSync,
    acceptors,
    leaseMs: times.leaseMs,
    graceMs: times.graceMs,
    ...(expected.forced === undefined ? {} : { forced: expected.forced }),
  };
}

/** The register shows this life's own swap: it reigns (R10, R15). */
export function onSwapWon(state: CoreState, config: GroupConfig): void {
  const { swap } = state;
  if (swap === undefined || config.epoch !== swap.expected.epoch + 1) return;
  assert(config.primary === state.me, 'a swap makes its proposer primary (R10)');
  state.swap = undefined;
  if (state.role.kind === 'stopped') {
    state.config = config;
    return;
  }
  keepBase(state, swap.expected, config);
  reign(state, config, swap.name);
  if (swap.name === 'restart' && state.link.kind === 'open') welcomePeer(state);
}

/** R27: the commit point known when the last epoch with two sites ended, kept until both are. */
function keepBase(state: CoreState, before: GroupConfig, after: GroupConfig): void {
  if (after.inSync.length > 1) {
    if (state.base === undefined) return;
    state.base = undefined;
    state.effects.push({ kind: 'persistBase', base: undefined });
  } else if (before.inSync.length > 1) {
    state.base = state.pointAt(state.commit) ?? state.checkpoint;
    state.effects.push({ kind: 'persistBase', base: state.base });
  }
}

/** Begins the reign of `config`, which this life has won. */
export function reign(state: CoreState, config: GroupConfig, name: SwapName | 'forced'): void {
  const continues = name === 'add';
  assert(!continues || state.role.kind === 'reigning', 'a peer is added in a reign');
  state.config = config;
  state.wait = { kind: 'none' };
  if (continues) state.inSyncSinceMs = state.nowMs;
  else state.leaseUntilMs = Number.NEGATIVE_INFINITY;
  // A hello is answered once (H15): only a peer that was not yet welcomed keeps its session.
  if (!continues && state.link.kind !== 'open') closeLink(state, `epoch ${config.epoch} begins`);
  changeRole(
    state,
    {
      kind: 'reigning',
      config,
      sinceMs: state.nowMs,
      continues,
      phase: 'appending-start',
      epochStart: Number.POSITIVE_INFINITY,
    },
    `${name} won epoch ${config.epoch}, in sync: ${config.inSync.length}`,
  );
  state.effects.push({ kind: 'appendEpochStart', config });
}

/** Another configuration stands where the swap was to be (R11: lost). */
export function onSwapLost(state: CoreState, current: GroupConfig): void {
  if (state.swap !== undefined) {
    const { name, expected } = state.swap;
    if (current.epoch <= expected.epoch && current.epochId !== expected.epochId) {
      state.event('error', 'group-register', 'the register shows an older epoch than the own log');
    }
    state.swap = undefined;
    state.proposeNotBeforeMs = state.nowMs + state.times.heartbeatMs * (1 + state.options.random());
    state.event('info', 'group-swap', `${name} lost to epoch ${current.epoch}`);
    if (name === 'add') {
      state.wait = { kind: 'none' };
      backOff(state);
    }
  }
  learn(state, current);
}

/**
 * A newer configuration was heard of: a reign by an older one ends (R9, fenced), a pending swap is
 * lost, suspicion of the primary starts anew (R14). Gives false if it is not newer.
 */
export function learn(state: CoreState, config: GroupConfig): boolean {
  if (state.config !== undefined && config.epoch <= state.config.epoch) return false;
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
    closeLink(state, `fenced by epoch ${config.epoch}`);
    changeRole(state, { kind: 'following' }, `fenced by epoch ${config.epoch}`);
    return;
  }
  if (link.kind !== 'joined') return;
  if (link.primary !== config.primary || !config.inSync.includes(state.me)) {
    closeLink(state, `epoch ${config.epoch} has begun elsewhere`);
  }
}

/** Operator: this site reigns by force (R35); what its log holds is the history now. */
export function onForced(state: CoreState, config: GroupConfig): void {
  assert(config.primary === state.me, 'force makes this site the primary');
  assert(config.forced !== undefined, 'a forced configuration says where it was forced');
  assert(config.inSync.length === 1 && config.inSync[0] === state.me, 'force is for one site');
  if (state.role.kind === 'stopped') return;
  const before = state.config;
  state.swap = undefined;
  closeLink(state, 'this site was promoted by force');
  changeFlags(
    state,
    { split: false, damaged: false, inconsistent: false },
    'flags cleared: an operator promoted this site by force',
  );
  if (before !== undefined) keepBase(state, before, config);
  reign(state, config, 'forced');
}

/** This life has created the group in the register (R39): the first reign. */
export function onCreated(state: CoreState, config: GroupConfig): void {
  assert(state.config === undefined, 'a group is created once');
  assert(state.end.sequence === 0, 'a new group has no records');
  assert(config.primary === state.me, 'the creating site is the first primary');
  assert(otherMember(config, state.me) === undefined, 'a group is created by one site alone');
  reign(state, config, 'restart');
  if (state.link.kind === 'open') welcomePeer(state);
}
