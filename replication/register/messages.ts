/**
 * What a proposer and an acceptor say to each other about one group, and the checks for what came
 * from a wire or a disk. A refusal is an answer, not an error.
 */
import { type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { GroupId, StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import type { Ballot } from './ballot.ts';

/** Durable state of an acceptor for one group; the value is undefined while it is blank (R5). */
export interface AcceptorState {
  readonly promised?: Ballot | undefined;
  readonly acceptedBallot?: Ballot | undefined;
  readonly value?: GroupConfig | undefined;
}

export type PrepareAnswer =
  | {
      readonly kind: 'promise';
      readonly storeId: StoreId;
      readonly acceptedBallot: Ballot;
      readonly value: GroupConfig;
    }
  /** This acceptor has never accepted anything for the group: it promises nothing (R5). */
  | { readonly kind: 'blank'; readonly storeId: StoreId }
  | { readonly kind: 'refused'; readonly storeId: StoreId; readonly promised: Ballot }
  /** A configuration was forced at this acceptor's site: it hears nobody else (R35). */
  | { readonly kind: 'forced'; readonly storeId: StoreId; readonly value: GroupConfig };

export type AcceptAnswer =
  | { readonly kind: 'accepted'; readonly storeId: StoreId }
  | { readonly kind: 'refused'; readonly storeId: StoreId; readonly promised: Ballot }
  | { readonly kind: 'forced'; readonly storeId: StoreId; readonly value: GroupConfig }
  /** The value does not list this blank acceptor. */
  | { readonly kind: 'blank'; readonly storeId: StoreId };

/** What an acceptor has accepted, told without a promise: nothing was written for it. */
export type LookAnswer =
  | {
      readonly kind: 'seen';
      readonly storeId: StoreId;
      readonly acceptedBallot: Ballot;
      readonly value: GroupConfig;
    }
  | { readonly kind: 'blank'; readonly storeId: StoreId }
  | { readonly kind: 'forced'; readonly storeId: StoreId; readonly value: GroupConfig };

/** One acceptor as a proposer sees it: the site's own or a remote one. Rejects if unreachable. */
export interface AcceptorClient {
  readonly storeId: StoreId;
  /** `asker`: the store of the proposer's site. */
  look(groupId: GroupId, asker: StoreId): Promise<LookAnswer>;
  prepare(groupId: GroupId, ballot: Ballot): Promise<PrepareAnswer>;
  accept(groupId: GroupId, ballot: Ballot, value: GroupConfig): Promise<AcceptAnswer>;
}

const id = Type.String({ minLength: 1, maxLength: 64 });
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ballot = Type.Object({ round: count, storeId: id, bootId: id });
const config = Type.Object({
  epoch: count,
  epochId: id,
  primary: id,
  inSync: Type.Array(id, { maxItems: 2 }),
  acceptors: Type.Array(id, { minItems: 1, maxItems: 16 }),
  leaseMs: Type.Number({ minimum: 1 }),
  graceMs: Type.Number({ minimum: 1 }),
  forced: Type.Optional(Type.Object({ sequence: count, digest: id })),
  removed: Type.Optional(Type.Boolean()),
});
const state = Type.Object({
  promised: Type.Optional(ballot),
  acceptedBallot: Type.Optional(ballot),
  value: Type.Optional(config),
});
const refused = Type.Object({ kind: Type.Literal('refused'), storeId: id, promised: ballot });
const forced = Type.Object({ kind: Type.Literal('forced'), storeId: id, value: config });
const blank = Type.Object({ kind: Type.Literal('blank'), storeId: id });
const prepareAnswer = Type.Union([
  Type.Object({
    kind: Type.Literal('promise'),
    storeId: id,
    acceptedBallot: ballot,
    value: config,
  }),
  refused,
  forced,
  blank,
]);
const lookAnswer = Type.Union([
  Type.Object({ kind: Type.Literal('seen'), storeId: id, acceptedBallot: ballot, value: config }),
  forced,
  blank,
]);
const acceptAnswer = Type.Union([
  Type.Object({ kind: Type.Literal('accepted'), storeId: id }),
  refused,
  forced,
  blank,
]);

const guard =
  <T>(schema: TSchema) =>
  (value: unknown): value is T =>
    Value.Check(schema, value);

export const isBallot = guard<Ballot>(ballot);
export const isRegisterValue = guard<GroupConfig>(config);
export const isAcceptorState = guard<AcceptorState>(state);
export const isLookAnswer = guard<LookAnswer>(lookAnswer);
export const isPrepareAnswer = guard<PrepareAnswer>(prepareAnswer);
export const isAcceptAnswer = guard<AcceptAnswer>(acceptAnswer);
