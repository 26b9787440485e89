/**
 * The acceptors of the register that this site can ask (R4): its own, in the store, and the peer's,
 * by calls on the control connection; and the other side of those calls.
 */
import { Type } from '@sinclair/typebox';
import {
  type Acceptor,
  type AcceptorClient,
  isAcceptAnswer,
  isBallot,
  isPrepareAnswer,
} from '../replication/register/acceptor.ts';
import type { StoreId } from '../wal/frame.ts';
import { CasemateError } from './errors.ts';
import { checked } from './peer-calls.ts';
import { isGroupConfig } from './volume/record-payloads.ts';

const prepareMethod = 'registerPrepare';
const acceptMethod = 'registerAccept';

const parametersSchema = Type.Object({
  groupId: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  ballot: Type.Unknown(),
  value: Type.Optional(Type.Unknown()),
});

export interface AcceptorClientsOptions {
  readonly own: Acceptor;
  readonly ownStoreId: StoreId;
  /** A call to the peer; rejects when it is not there or does not answer. */
  readonly call: (method: string, parameters: unknown) => Promise<unknown>;
  /** Store of the peer as last seen; undefined if it never was. It may not answer. */
  readonly peerStoreId: () => StoreId | undefined;
  /** False after a disk error: what was promised can't be kept any more (R4, I8). */
  readonly mayPromise: () => boolean;
}

export class AcceptorClients {
  readonly #options: AcceptorClientsOptions;
  readonly #own: AcceptorClient;

  constructor(options: AcceptorClientsOptions) {
    this.#options = options;
    const { own, ownStoreId } = options;
    this.#own = {
      storeId: ownStoreId,
      prepare: async (groupId, ballot) => own.prepare(groupId, ballot),
      accept: async (groupId, ballot, value) => own.accept(groupId, ballot, value),
    };
  }

  /** Those that can be asked now. */
  clients(): readonly AcceptorClient[] {
    const peerStoreId = this.#options.peerStoreId();
    return peerStoreId === undefined ? [this.#own] : [this.#own, this.#remote(peerStoreId)];
  }

  serves(method: string): boolean {
    return method === prepareMethod || method === acceptMethod;
  }

  /** Answers the peer's call; its answer is durable before it is given (R4). */
  answer(method: string, parameters: unknown): unknown {
    if (!this.#options.mayPromise()) {
      throw new CasemateError('ERR_DISK_FAILED', 'the disk of this site has failed');
    }
    const { groupId, ballot, value } = checked(parametersSchema, parameters, `the call ${method}`);
    if (!isBallot(ballot)) throw new CasemateError('ERR_PEER_CALL', 'a ballot does not fit');
    if (method === prepareMethod) return this.#options.own.prepare(groupId, ballot);
    if (!isGroupConfig(value)) throw new CasemateError('ERR_PEER_CALL', 'a value does not fit');
    return this.#options.own.accept(groupId, ballot, value);
  }

  #remote(storeId: StoreId): AcceptorClient {
    const { call } = this.#options;
    return {
      storeId,
      prepare: async (groupId, ballot) => {
        const answer = await call(prepareMethod, { groupId, ballot });
        if (isPrepareAnswer(answer)) return answer;
        throw new CasemateError('ERR_PEER_CALL', 'the answer to a prepare does not fit');
      },
      accept: async (groupId, ballot, value) => {
        const answer = await call(acceptMethod, { groupId, ballot, value });
        if (isAcceptAnswer(answer)) return answer;
        throw new CasemateError('ERR_PEER_CALL', 'the answer to an accept does not fit');
      },
    };
  }
}
