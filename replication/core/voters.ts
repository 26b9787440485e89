/**
 * R5: the list of acceptors becomes the one that the operator has asked for (a witness more, a
 * witness less, another one) by an `add` of a peer that is in already: a new epoch with both sites,
 * in which everything goes on by both members' rules until the outcome is known (R11, R17).
 */
import type { StoreId } from '../../wal/frame.ts';
import type { CoreState } from './state.ts';
import { otherMember } from './state.ts';
import { propose } from './swaps.ts';

/** Called at every tick: proposes the new list once everything that could stop it is there. */
export function considerVoters(state: CoreState): void {
  const { role, link } = state;
  if (role.kind !== 'reigning' || role.phase !== 'open' || state.swap !== undefined) return;
  if (link.kind !== 'sending' || state.nowMs < state.proposeNotBeforeMs) return;
  const { acceptors, inSync } = role.config;
  const peer = otherMember(role.config, state.me);
  if (peer === undefined || link.peerStore !== peer || link.peerDurable < role.epochStart) return;
  const wanted = state.options.defaultAcceptors(state.me, peer, acceptors);
  if (sameStores(wanted, acceptors)) return;
  propose(
    state,
    'add',
    inSync,
    `the voters become ${wanted.length}, they were ${acceptors.length}`,
  );
}

function sameStores(left: readonly StoreId[], right: readonly StoreId[]): boolean {
  return left.length === right.length && left.every((store) => right.includes(store));
}
