/**
 * What follows from the outcome of a swap, and from what an operator did to the configuration: this
 * site reigns, or learns who does (R10, R11, R15, R27, R35, R39).
 */
import assert from 'node:assert/strict';
import type { GroupConfig } from './config.ts';
import type { SwapName } from './events.ts';
import { welcomePeer } from './join.ts';
import { closeLink } from './link-state.ts';
import type { CoreState } from './state.ts';
import { changeFlags, changeRole, otherMember } from './state.ts';
import { learn } from './swaps.ts';
import { backOff } from './wait.ts';

/** The register shows this life's own swap: it reigns (R10, R15). */
export function onSwapWon(state: CoreState, config: GroupConfig): void {
  const { swap } = state;
  if (swap === undefined) {
    // The swap from absent (R39), which a group makes before its core knows any configuration.
    if (config.epoch === 1 && state.end.sequence === 0) onCreated(state, config);
    return;
  }
  if (config.epoch !== swap.expected.epoch + 1) return;
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
  } else if (before.inSync.length > 1 || (after.forced !== undefined && state.base === undefined)) {
    state.base = state.pointAt(state.commit) ?? state.checkpoint;
    state.effects.push({ kind: 'persistBase', base: state.base });
  }
}

/** Begins the reign of `config`, which this life has won. */
function reign(state: CoreState, config: GroupConfig, name: SwapName | 'forced'): void {
  const continues = name === 'add';
  assert(!continues || state.role.kind === 'reigning', 'a peer is added in a reign');
  state.config = config;
  state.wait = { kind: 'none' };
  if (config.inSync.length > 1) state.inSyncSinceMs = state.nowMs;
  if (!continues) state.leaseUntilMs = Number.NEGATIVE_INFINITY;
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
 * Operator: a promotion by force begins. The forced configuration names the end of this log and an
 * epoch above all it has (R35), so nothing may come in from the peer until it stands.
 */
export function onForcing(state: CoreState): void {
  state.forcing = true;
  closeLink(state, 'a promotion by force is being decided');
}

/** Operator: this site reigns by force (R35); what its log holds is the history now. */
export function onForced(state: CoreState, config: GroupConfig): void {
  assert(config.primary === state.me, 'force makes this site the primary');
  assert(config.forced !== undefined, 'a forced configuration says where it was forced');
  assert(config.inSync.length === 1 && config.inSync[0] === state.me, 'force is for one site');
  state.forcing = false;
  if (state.role.kind === 'stopped') return;
  const before = state.config;
  state.swap = undefined;
  closeLink(state, 'this site was promoted by force');
  state.keptAside = false;
  changeFlags(
    state,
    { split: false, damaged: false, inconsistent: false, resolving: false },
    'flags cleared: an operator promoted this site by force',
  );
  if (before !== undefined) keepBase(state, before, config);
  reign(state, config, 'forced');
}

/** This life has created the group in the register (R39): the first reign. */
export function onCreated(state: CoreState, config: GroupConfig): void {
  const known = state.config;
  if (state.role.kind !== 'following' || (known !== undefined && known.epoch > 1)) return;
  assert(known === undefined || known.epochId === config.epochId, 'a group is created once');
  assert(state.end.sequence === 0, 'a new group has no records');
  assert(config.primary === state.me, 'the creating site is the first primary');
  assert(otherMember(config, state.me) === undefined, 'a group is created by one site alone');
  reign(state, config, 'restart');
  if (state.link.kind === 'open') welcomePeer(state);
}
