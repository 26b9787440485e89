/**
 * What is said to etcd's JSON gateway (API v3) and what it answers: of both only the part that the
 * register needs. Bytes travel as base64, 64-bit numbers as decimal texts, and what is zero, false
 * or empty is left out.
 *
 * Requests are a linearizable range of one key, and a transaction that puts one key if nobody has
 * changed it since it was read; if somebody has, it gives what stands there.
 */
import { type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';

/** A key's value as it was read: what a transaction compares with. */
export interface EtcdEntry {
  /** Revision of the cluster at which the key was last changed. */
  readonly modRevision: string;
  readonly value: Buffer;
}

const decimal = Type.String({ pattern: '^[0-9]{1,20}$' });
const header = Type.Object({ cluster_id: decimal, revision: decimal });
const keyValue = Type.Object({ mod_revision: decimal, value: Type.Optional(Type.String()) });
const range = Type.Object({ kvs: Type.Optional(Type.Array(keyValue, { maxItems: 1 })) });
const anyAnswer = Type.Object({ header });
const transaction = Type.Object({
  succeeded: Type.Optional(Type.Boolean()),
  responses: Type.Optional(
    Type.Array(Type.Object({ response_range: Type.Optional(range) }), { maxItems: 1 }),
  ),
});
const authentication = Type.Object({ token: Type.String({ minLength: 1, maxLength: 16_384 }) });
const failure = Type.Object({ error: Type.Optional(Type.String()), message: Type.String() });

interface RangeAnswer {
  readonly kvs?: readonly { readonly mod_revision: string; readonly value?: string }[];
}
interface TransactionAnswer {
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: RangeAnswer }[];
}
export interface EtcdHeader {
  readonly cluster_id: string;
  readonly revision: string;
}

const guard =
  <T>(schema: TSchema) =>
  (value: unknown): value is T =>
    Value.Check(schema, value);

const isRange = guard<RangeAnswer>(range);
const isTransaction = guard<TransactionAnswer>(transaction);
const isAuthentication = guard<{ readonly token: string }>(authentication);
const isFailure = guard<{ readonly message: string }>(failure);
const hasHeader = guard<{ readonly header: EtcdHeader }>(anyAnswer);

export const rangePath = '/v3/kv/range';
export const transactionPath = '/v3/kv/txn';
export const authenticatePath = '/v3/auth/authenticate';

/** The request for a key as it is now: linearizable, which is what etcd does unless told not to. */
export function rangeRequest(key: string): object {
  return { key: base64(key) };
}

/** The request to put `value` if the key is still `before`; undefined stands for absent. */
export function transactionRequest(
  key: string,
  before: EtcdEntry | undefined,
  value: Buffer,
): object {
  const name = base64(key);
  const same = { key: name, result: 'EQUAL' };
  const compare =
    before === undefined
      ? [{ ...same, target: 'VERSION', version: '0' }]
      : [
          { ...same, target: 'MOD', mod_revision: before.modRevision },
          { ...same, target: 'VALUE', value: before.value.toString('base64') },
        ];
  return {
    compare,
    success: [{ requestPut: { key: name, value: value.toString('base64') } }],
    failure: [{ requestRange: { key: name } }],
  };
}

/** The key's value, or undefined if there is none. `null` if this is no answer to a range. */
export function parseRange(answer: unknown): EtcdEntry | undefined | null {
  return isRange(answer) ? entryOf(answer) : null;
}

export type TransactionResult =
  | { readonly kind: 'put' }
  /** Nothing was put; this stands there. */
  | { readonly kind: 'refused'; readonly entry: EtcdEntry | undefined };

/** `null` if this is no answer to a transaction. */
export function parseTransaction(answer: unknown): TransactionResult | null {
  if (!isTransaction(answer)) return null;
  if (answer.succeeded === true) return { kind: 'put' };
  const found = answer.responses?.[0]?.response_range;
  return found === undefined ? null : { kind: 'refused', entry: entryOf(found) };
}

export function parseToken(answer: unknown): string | null {
  return isAuthentication(answer) ? answer.token : null;
}

/** Which cluster answered, and how far its history had come. */
export function parseHeader(answer: unknown): EtcdHeader | null {
  return hasHeader(answer) ? answer.header : null;
}

const plainTextMax = 200;

/** What etcd says was wrong. The gateway may put more behind the document, or have plain text. */
export function failureText(status: number, body: string): string {
  const end = body.lastIndexOf('}') + 1;
  const document = parseJson(body.slice(0, end));
  if (isFailure(document)) return document.message;
  const [line = ''] = body.trim().split('\n');
  const said = /^[\x20-\x7e]+$/.test(line) && !line.startsWith('<') ? `: ${line}` : '';
  return `HTTP status ${status}${said.slice(0, plainTextMax)}`;
}

/** The document of a body, or undefined if it is none. */
export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function entryOf({ kvs }: RangeAnswer): EtcdEntry | undefined {
  const found = kvs?.[0];
  if (found === undefined) return undefined;
  return { modRevision: found.mod_revision, value: Buffer.from(found.value ?? '', 'base64') };
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
