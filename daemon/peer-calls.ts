/**
 * What one site asks of the other on the control connection, besides sessions: the register's
 * rounds (R4), which groups there are (R39), and operator actions that the other site has to carry
 * out or agree to. Parameters come from outside the process and are checked here.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { frameSizeBytesMax } from '../wal/frame-format.ts';
import { CasemateError } from './errors.ts';

const identifier = Type.String({ pattern: '^[0-9a-f]{32}$' });
const blocksBytesMax = 1024 * 1024;
const name = Type.String({ minLength: 1, maxLength: 255 });
const sequence = Type.Integer({ minimum: 0 });

export const groupDescription = Type.Object({
  groupId: identifier,
  name,
  onPeerLoss: Type.Union([Type.Literal('suspend'), Type.Literal('preferred')]),
  preferredSite: Type.Union([name, Type.Null()]),
  createdAtMs: Type.Number(),
  removed: Type.Boolean(),
});
export type GroupDescription = Static<typeof groupDescription>;

const witnessView = Type.Object({
  name: Type.Union([name, Type.Null()]),
  storeId: Type.Union([identifier, Type.Null()]),
});

const splitSide = Type.Object({
  site: name,
  epoch: sequence,
  end: sequence,
  since: Type.Optional(sequence),
  changedBytes: sequence,
  volumes: Type.Array(
    Type.Object({
      name,
      extents: Type.Array(Type.Object({ offsetBytes: sequence, lengthBytes: sequence }), {
        maxItems: 64,
      }),
      leftOutBytes: sequence,
    }),
    { maxItems: 100_000 },
  ),
});

/** The code of the answer to `logFrame` of a site that does not have the frame. */
export const frameUnavailable = 'ERR_LOG_FRAME_UNAVAILABLE';

/** Each call's parameters and result. */
export const peerCalls = {
  /** Groups that the asked site has or had. */
  catalog: {
    parameters: Type.Object({}),
    result: Type.Object({ groups: Type.Array(groupDescription, { maxItems: 100_000 }) }),
  },
  /** Each site tells the other which witness it has, if any, and its store, if it met it (R5). */
  witness: {
    parameters: witnessView,
    result: witnessView,
  },
  /** Can the asked site hold a volume of this name and size? Throws if not. */
  volumeCheck: {
    parameters: Type.Object({ name, sizeBytes: Type.Number(), grows: Type.Boolean() }),
    result: Type.Object({}),
  },
  /** The group exists now: join it. */
  groupAnnounce: { parameters: groupDescription, result: Type.Object({}) },
  /** The operator has deleted the group: its files go here as well. */
  groupRemoved: { parameters: Type.Object({ groupId: identifier }), result: Type.Object({}) },
  /** Answers when the asked site has the volume, at this size at least. */
  volumeReady: {
    parameters: Type.Object({ name, sizeBytes: Type.Number() }),
    result: Type.Object({}),
  },
  /** A range of a volume with every record up to `commit`, as the asked site has it (R34). */
  blocks: {
    parameters: Type.Object({
      groupId: identifier,
      volume: Type.Integer({ minimum: 0 }),
      offsetBytes: Type.Integer({ minimum: 0 }),
      lengthBytes: Type.Integer({ minimum: 1, maximum: blocksBytesMax }),
      commit: Type.Integer({ minimum: 0 }),
    }),
    result: Type.Object({
      data: Type.Uint8Array({ maxByteLength: blocksBytesMax }),
      /** CRC32C of the data. */
      checksum: Type.Integer({ minimum: 0 }),
      /** The asked site knows itself in sync with the other one. */
      inSync: Type.Boolean(),
    }),
  },
  /** The frame of a group's log that follows `after`, to fill a damaged log (R30). */
  logFrame: {
    parameters: Type.Object({ groupId: identifier, after: sequence }),
    result: Type.Object({ frame: Type.Uint8Array({ maxByteLength: frameSizeBytesMax }) }),
  },
  /** How the asked site's side of a split group stands (R36). */
  splitSide: {
    parameters: Type.Object({ groupId: identifier }),
    result: Type.Object({
      split: Type.Boolean(),
      resolving: Type.Boolean(),
      side: Type.Optional(splitSide),
    }),
  },
  /** Give up the asked site's side of a split group; answers where its changes are kept. */
  resolveHere: {
    parameters: Type.Object({ groupId: identifier, volume: name }),
    result: Type.Object({
      directory: Type.String({ minLength: 1, maxLength: 4096 }),
      done: Type.Boolean(),
    }),
  },
  /** The asked site's side of a split is the one that stays: it reigns above this epoch. */
  resolveWinner: {
    parameters: Type.Object({ groupId: identifier, above: sequence }),
    result: Type.Object({}),
  },
  /** How many clients are attached to the volume at the asked site? */
  volumeClients: {
    parameters: Type.Object({ name }),
    result: Type.Object({ connections: Type.Integer({ minimum: 0 }) }),
  },
  /** Carry out, as primary of the volume's group, what an operator asked of the other site. */
  operate: {
    parameters: Type.Object({
      action: Type.Union([
        Type.Literal('switchover'),
        Type.Literal('resize'),
        Type.Literal('delete'),
        Type.Literal('add'),
      ]),
      name,
      sizeBytes: Type.Number(),
      group: Type.Union([name, Type.Null()]),
    }),
    result: Type.Object({}),
  },
} as const;

export type PeerCallName = keyof typeof peerCalls;
export type PeerCallParameters<Name extends PeerCallName> = Static<
  (typeof peerCalls)[Name]['parameters']
>;
export type PeerCallResult<Name extends PeerCallName> = Static<(typeof peerCalls)[Name]['result']>;

/** Gives `value` as what the schema says, or throws ERR_PEER_CALL that says what does not fit. */
export function checked<Schema extends TSchema>(
  schema: Schema,
  value: unknown,
  what: string,
): Static<Schema> {
  if (Value.Check(schema, value)) return value;
  const first = Value.Errors(schema, value).First();
  throw new CasemateError(
    'ERR_PEER_CALL',
    `${what} from the peer does not fit: ${first?.path ?? ''} ${first?.message ?? ''}`.trim(),
    { hint: 'Both sites have to run the same version of Casemate.' },
  );
}
