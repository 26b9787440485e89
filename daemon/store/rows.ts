/**
 * Reading back what was stored: every row is checked against a schema, JSON columns too, so that
 * damage which SQLite does not notice is an error here and not a wrong decision later.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { storeCorrupt } from './errors.ts';

const hex32 = Type.String({ pattern: '^[0-9a-f]{32}$' });
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const identifierSchema = hex32;
export const countSchema = count;
/** SQLite has no booleans. */
export const flagSchema = Type.Union([Type.Literal(0), Type.Literal(1)]);

export const historyPointSchema = Type.Object({ sequence: count, digest: hex32 });

export const epochHistorySchema = Type.Array(
  Type.Object({ epoch: count, epochId: hex32, firstSequence: count }),
);

export const groupConfigSchema = Type.Object({
  epoch: count,
  epochId: hex32,
  primary: hex32,
  inSync: Type.Array(hex32),
  acceptors: Type.Array(hex32),
  leaseMs: Type.Number({ minimum: 0 }),
  graceMs: Type.Number({ minimum: 0 }),
  forced: Type.Optional(historyPointSchema),
  removed: Type.Optional(Type.Boolean()),
});

/** Gives what was read as what the schema says. Throws ERR_STORE_CORRUPT if it is not. */
export function checkedRow<Schema extends TSchema>(
  schema: Schema,
  row: unknown,
  path: string,
  what: string,
): Static<Schema> {
  if (Value.Check(schema, row)) return row;
  const first = Value.Errors(schema, row).First();
  throw storeCorrupt(path, `${what}: ${first?.path ?? ''} ${first?.message ?? 'wrong'}`);
}

/** The same for a column that holds JSON; SQL's NULL is `undefined`. */
export function checkedJson<Schema extends TSchema>(
  schema: Schema,
  text: string | null,
  path: string,
  what: string,
): Static<Schema> | undefined {
  if (text === null) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw storeCorrupt(path, `${what} is no JSON`, error);
  }
  return checkedRow(schema, value, path, what);
}
