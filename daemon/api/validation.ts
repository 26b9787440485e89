/** Checks requests with the TypeBox schemas that the routes declare; says what does not fit. */
import { Kind, type TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { CasemateError } from '../errors.ts';
import type { SchemaCompiler } from './http-server.ts';

function isTypeBox(schema: unknown): schema is TSchema {
  return typeof schema === 'object' && schema !== null && Kind in schema;
}

const places: Readonly<Record<string, string>> = {
  body: 'request body',
  querystring: 'query',
  params: 'path',
  headers: 'headers',
};

/** Query and path are text: gives the values whose schema says integer as numbers, if they are. */
function readNumbers(schema: TSchema, data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return data;
  const entries = Object.entries(data).map(([key, value]: [string, unknown]) => {
    const isInteger = schema['properties']?.[key]?.type === 'integer';
    const isNumber = isInteger && typeof value === 'string' && /^[0-9]{1,15}$/.test(value);
    return [key, isNumber ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}

/**
 * Makes the check of one part of a request. Query and path are text, so numbers are read from
 * it; a body has to have the right types.
 */
export const validatorCompiler: SchemaCompiler<unknown> = ({ schema, httpPart }) => {
  if (!isTypeBox(schema)) throw new TypeError('routes declare TypeBox schemas');
  const isText = httpPart === 'querystring' || httpPart === 'params';
  return (data: unknown) => {
    const given = isText ? readNumbers(schema, data) : data;
    const value = Value.Default(schema, given ?? {});
    if (Value.Check(schema, value)) return { value };
    const first = Value.Errors(schema, value).First();
    const key = (first?.path ?? '').slice(1).replaceAll('/', '.');
    const what = `${key === '' ? 'it' : `"${key}"`}: ${first?.message ?? 'it is wrong'}`;
    return {
      error: new CasemateError(
        'ERR_REQUEST',
        `the ${places[httpPart ?? ''] ?? 'request'} does not fit: ${what}`,
        { hint: 'GET /v1/openapi.json describes every request.' },
      ),
    };
  };
};
