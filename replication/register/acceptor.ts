/**
 * The acceptor of the register (R4, R5): one promise and one accepted value for each group, both
 * durable before they are answered. Pure but for its store, whose `save` returns when the state is
 * on stable storage.
 */
import type { GroupId, StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import { ReplicationError } from '../errors.ts';
import { type Ballot, compareBallots } from './ballot.ts';
import {
  type AcceptAnswer,
  type AcceptorState,
  isAcceptorState,
  type LookAnswer,
  type PrepareAnswer,
} from './messages.ts';

export type { Ballot } from './ballot.ts';
export type { AcceptAnswer, AcceptorClient, AcceptorState, PrepareAnswer } from './messages.ts';
export { isAcceptAnswer, isBallot, isLookAnswer, isPrepareAnswer } from './messages.ts';

export interface AcceptorStore {
  /** What was saved last, or undefined for a group that was never saved. */
  load(groupId: GroupId): unknown;
  /** The state is durable when this returns; throws if it is not. */
  save(groupId: GroupId, state: AcceptorState): void;
}

export interface AcceptorOptions {
  readonly storeId: StoreId;
  readonly store: AcceptorStore;
  /** Called after a value was accepted: its site reads the register at once (R9). */
  readonly accepted?: (groupId: GroupId, value: GroupConfig) => void;
}

export class Acceptor {
  readonly #options: AcceptorOptions;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /**
   * Tells what was accepted; writes nothing.
   * @throws ReplicationError ERR_ACCEPTOR_STATE; whatever the store throws.
   */
  look(groupId: GroupId, asker: StoreId): LookAnswer {
    const { storeId } = this.#options;
    const { value, acceptedBallot } = this.#load(groupId);
    if (value === undefined || acceptedBallot === undefined) return { kind: 'blank', storeId };
    if (this.#hearsOnlyItself(value, asker)) return { kind: 'forced', storeId, value };
    return { kind: 'seen', storeId, acceptedBallot, value };
  }

  /**
   * Promises to take nothing below `ballot`, and tells what was accepted. Only above the promise
   * there is; a blank acceptor promises nothing (R5).
   * @throws ReplicationError ERR_ACCEPTOR_STATE; whatever the store throws.
   */
  prepare(groupId: GroupId, ballot: Ballot): PrepareAnswer {
    const { storeId, store } = this.#options;
    const state = this.#load(groupId);
    const { value, acceptedBallot } = state;
    if (value === undefined || acceptedBallot === undefined) return { kind: 'blank', storeId };
    if (this.#hearsOnlyItself(value, ballot.storeId)) return { kind: 'forced', storeId, value };
    if (state.promised !== undefined && compareBallots(ballot, state.promised) <= 0) {
      return { kind: 'refused', storeId, promised: state.promised };
    }
    store.save(groupId, { ...state, promised: ballot });
    return { kind: 'promise', storeId, acceptedBallot, value };
  }

  /**
   * Takes `value` unless something above `ballot` was promised. A blank acceptor takes only a value
   * that lists it: its proposer offers that after all other acceptors took it (R5).
   * @throws ReplicationError ERR_ACCEPTOR_STATE; whatever the store throws.
   */
  accept(groupId: GroupId, ballot: Ballot, value: GroupConfig): AcceptAnswer {
    const { storeId, store, accepted } = this.#options;
    const state = this.#load(groupId);
    if (state.value !== undefined && this.#hearsOnlyItself(state.value, ballot.storeId)) {
      return { kind: 'forced', storeId, value: state.value };
    }
    if (state.promised !== undefined && compareBallots(ballot, state.promised) < 0) {
      return { kind: 'refused', storeId, promised: state.promised };
    }
    if (state.value === undefined && !value.acceptors.includes(storeId)) {
      return { kind: 'blank', storeId };
    }
    store.save(groupId, { promised: ballot, acceptedBallot: ballot, value });
    accepted?.(groupId, value);
    return { kind: 'accepted', storeId };
  }

  /** R35: a configuration that was forced here alone is changed by this site only. */
  #hearsOnlyItself(value: GroupConfig, asker: StoreId): boolean {
    const { storeId } = this.#options;
    const forcedHere = value.forced !== undefined && value.primary === storeId;
    const alone = value.acceptors.length === 1 && value.acceptors[0] === storeId;
    return forcedHere && alone && asker !== storeId;
  }

  #load(groupId: GroupId): AcceptorState {
    const state = this.#options.store.load(groupId);
    if (state === undefined) return {};
    if (isAcceptorState(state)) return state;
    throw new ReplicationError(
      'ERR_ACCEPTOR_STATE',
      `what is stored as the acceptor's state of group ${groupId} is not one`,
    );
  }
}
