/**
 * The calls by which one process asks another's acceptor of the register (R4): between the sites on
 * their control connection, and from a site to the witness. What comes from outside is checked
 * here, on both ends.
 */
import { Type } from '@sinclair/typebox';
import {
  type Acceptor,
  type AcceptorClient,
  isAcceptAnswer,
  isBallot,
  isLookAnswer,
  isPrepareAnswer,
} from '../replication/register/acceptor.ts';
import type { StoreId } from '../wal/frame.ts';
import { CasemateError } from './errors.ts';
import { checked } from './peer-calls.ts';
import { isGroupConfig } from './volume/record-payloads.ts';

const lookMethod = 'registerLook';
const prepareMethod = 'registerPrepare';
const acceptMethod = 'registerAccept';

const identifier = Type.String({ pattern: '^[0-9a-f]{32}$' });
const lookSchema = Type.Object({ groupId: identifier, asker: identifier });
const parametersSchema = Type.Object({
  groupId: identifier,
  ballot: Type.Unknown(),
  value: Type.Optional(Type.Unknown()),
});

export function isRegisterCall(method: string): boolean {
  return method === lookMethod || method === prepareMethod || method === acceptMethod;
}

/**
 * Carries out a call of somebody else's proposer at `acceptor`.
 * @throws CasemateError ERR_PEER_CALL if the parameters do not fit; whatever the acceptor throws
 */
export function answerRegisterCall(
  acceptor: Acceptor,
  method: string,
  parameters: unknown,
): unknown {
  if (method === lookMethod) {
    const { groupId, asker } = checked(lookSchema, parameters, `the call ${method}`);
    return acceptor.look(groupId, asker);
  }
  const { groupId, ballot, value } = checked(parametersSchema, parameters, `the call ${method}`);
  if (!isBallot(ballot)) throw new CasemateError('ERR_PEER_CALL', 'a ballot does not fit');
  if (method === prepareMethod) return acceptor.prepare(groupId, ballot);
  if (!isGroupConfig(value)) throw new CasemateError('ERR_PEER_CALL', 'a value does not fit');
  return acceptor.accept(groupId, ballot, value);
}

/** The acceptor of the store at the other end of `call`, as a proposer sees it. */
export function remoteAcceptor(
  storeId: StoreId,
  call: (method: string, parameters: unknown) => Promise<unknown>,
): AcceptorClient {
  return {
    storeId,
    look: async (groupId, asker) => {
      const answer = await call(lookMethod, { groupId, asker });
      if (isLookAnswer(answer)) return answer;
      throw new CasemateError('ERR_PEER_CALL', 'the answer to a look does not fit');
    },
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
