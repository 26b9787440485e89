/**
 * The acceptors of the register that this site can ask (R4): its own, in the store; the peer's, by
 * calls on the control connection; the witness's, if there is one.
 */
import type { Acceptor, AcceptorClient } from '../replication/register/acceptor.ts';
import type { StoreId } from '../wal/frame.ts';
import type { AcceptorBatch } from './acceptor-batch.ts';
import { answerRegisterCall, isRegisterCall, remoteAcceptor } from './register-calls.ts';

export interface AcceptorClientsOptions {
  readonly own: Acceptor;
  /** What is asked of `own`, by whomever, goes through it. */
  readonly batch: AcceptorBatch;
  readonly ownStoreId: StoreId;
  /** A call to the peer; rejects when it is not there or does not answer. */
  readonly call: (method: string, parameters: unknown) => Promise<unknown>;
  /** Store of the peer as last seen; undefined if it never was. It may not answer. */
  readonly peerStoreId: () => StoreId | undefined;
  /** The witness's acceptor; undefined if there is none or its store was never seen. */
  readonly witness: () => AcceptorClient | undefined;
}

export class AcceptorClients {
  readonly #options: AcceptorClientsOptions;
  readonly #own: AcceptorClient;

  constructor(options: AcceptorClientsOptions) {
    this.#options = options;
    const { own, ownStoreId, batch } = options;
    this.#own = {
      storeId: ownStoreId,
      look: (groupId, asker) => batch.ask(() => own.look(groupId, asker)),
      prepare: (groupId, ballot) => batch.ask(() => own.prepare(groupId, ballot)),
      accept: (groupId, ballot, value) => batch.ask(() => own.accept(groupId, ballot, value)),
    };
  }

  /** Those that can be asked now. */
  clients(): readonly AcceptorClient[] {
    const { call, peerStoreId, witness } = this.#options;
    const clients = [this.#own];
    const peer = peerStoreId();
    if (peer !== undefined) clients.push(remoteAcceptor(peer, call));
    const third = witness();
    if (third !== undefined) clients.push(third);
    return clients;
  }

  serves(method: string): boolean {
    return isRegisterCall(method);
  }

  /** Answers the peer's call; its answer is durable before it is given (R4). */
  async answer(method: string, parameters: unknown): Promise<unknown> {
    const { batch, own } = this.#options;
    return await batch.ask(() => answerRegisterCall(own, method, parameters));
  }
}
