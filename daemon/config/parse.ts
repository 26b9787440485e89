/**
 * From the text of a configuration file to a frozen configuration, or to one error that lists
 * everything that is wrong with it: whoever edits a file wants to see all mistakes at once. The
 * same for a site and for a witness, which differ by their `ConfigDefinition`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Kind,
  OptionalKind,
  type Static,
  type TObject,
  type TRecord,
  type TSchema,
} from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { parse as parseToml, TomlError } from 'smol-toml';
import { CasemateError } from '../errors.ts';
import { nearestName } from './nearest-name.ts';
import { relationProblems } from './relations.ts';
import { type Config, configSchema } from './schema.ts';
import { formatSizeExactly, parseSize, sizeForm } from './sizes.ts';

/** The configuration can't be used. `problems` has one sentence for each thing that is wrong. */
export class ConfigError extends CasemateError {
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[], cause?: unknown) {
    const list = problems.map((problem) => `\n  - ${problem}`).join('');
    super('ERR_CONFIG', `${source} cannot be used:${list}`, {
      hint: 'correct the keys named above; the README lists all of them with their defaults',
      ...(cause === undefined ? {} : { cause }),
    });
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export type Table = Record<string, unknown>;

/** One kind of configuration file. */
export interface ConfigDefinition<Schema extends TObject> {
  readonly schema: Schema;
  /** Fills in the defaults that depend on other keys. */
  readonly deriveDefaults: (table: Table) => void;
  /** One sentence for each relation between keys that does not hold. */
  readonly relationProblems: (config: Static<Schema>) => readonly string[];
}

export function isTable(value: unknown): value is Table {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}

export function isTableSchema(schema: TSchema): schema is TObject {
  return schema[Kind] === 'Object';
}

/** A table whose keys are names that the operator chooses, each with a table of its own. */
export function isNamedTables(schema: TSchema): schema is TRecord {
  return schema[Kind] === 'Record';
}

function quote(value: unknown): string {
  return isTable(value) ? 'a table' : JSON.stringify(value);
}

/** What a value of this schema has to look like, in words. */
export function expectation(schema: TSchema): string {
  if (typeof schema['form'] === 'string') return schema['form'];
  if (Array.isArray(schema['anyOf'])) {
    const values = schema['anyOf'].map((member: TSchema) => `"${member['const']}"`);
    return `one of ${values.join(', ')}`;
  }
  const { minimum, maximum } = schema;
  if (schema['size'] === true) {
    return `${sizeForm}, from ${formatSizeExactly(minimum)} to ${formatSizeExactly(maximum)}`;
  }
  return `a whole number from ${minimum} to ${maximum}`;
}

/** Checks one value; gives it with sizes turned into bytes. */
function readValue(schema: TSchema, value: unknown, key: string, problems: string[]): unknown {
  const plain =
    schema['size'] === true && typeof value === 'string' ? (parseSize(value) ?? value) : value;
  if (!Value.Check(schema, plain)) {
    const found = schema['hidden'] === true ? 'something else' : quote(value);
    problems.push(`${key} must be ${expectation(schema)}; it is ${found}`);
  }
  return plain;
}

function unknownKey(name: string, prefix: string, schema: TObject, root: TObject): string {
  const nearest = nearestName(name, Object.keys(schema.properties));
  if (nearest !== undefined) {
    return `${prefix}${name} is not a key; did you mean ${prefix}${nearest}?`;
  }
  const place = elsewhere(name, root);
  if (place !== undefined) return `${prefix}${name} is not a key; did you mean ${place}?`;
  return `${prefix}${name} is not a key; here can be ${Object.keys(schema.properties).join(', ')}`;
}

/** The full key, if the name is that of a key in some other table. */
function elsewhere(name: string, root: TObject): string | undefined {
  for (const [table, schema] of Object.entries(root.properties)) {
    if (isTableSchema(schema) && Object.hasOwn(schema.properties, name)) return `${table}.${name}`;
  }
  return Object.hasOwn(root.properties, name) ? `${name} before the first table` : undefined;
}

interface Reading {
  readonly root: TObject;
  /** What is wrong, in sentences. */
  readonly problems: string[];
}

/** Checks a table against its schema and fills in defaults; notes what is wrong. */
function readTable(schema: TObject, table: Table, prefix: string, reading: Reading): Table {
  const { problems, root } = reading;
  for (const name of Object.keys(table)) {
    if (Object.hasOwn(schema.properties, name)) continue;
    problems.push(unknownKey(name, prefix, schema, root));
  }
  const result: Table = {};
  for (const [name, member] of Object.entries(schema.properties)) {
    const key = `${prefix}${name}`;
    const value = table[name];
    if (isTableSchema(member) || isNamedTables(member)) {
      if (value === undefined && member[OptionalKind] !== undefined) continue;
      result[name] = readMember(member, value, key, reading);
    } else if (value !== undefined) {
      result[name] = readValue(member, value, key, problems);
    } else if (member['default'] !== undefined) {
      result[name] = member['default'];
    } else if (member[OptionalKind] === undefined && member['derivedDefault'] === undefined) {
      problems.push(`${key} is missing; it must be ${expectation(member)}`);
    }
  }
  return result;
}

function readMember(schema: TObject | TRecord, value: unknown, key: string, reading: Reading) {
  if (value !== undefined && !isTable(value)) {
    reading.problems.push(`${key} must be a table, [${key}]; it is ${quote(value)}`);
    return undefined;
  }
  return isTableSchema(schema)
    ? readTable(schema, value ?? {}, `${key}.`, reading)
    : readNamedTables(schema, value ?? {}, key, reading);
}

function readNamedTables(schema: TRecord, tables: Table, key: string, reading: Reading): Table {
  const [[pattern, member] = []] = Object.entries(schema.patternProperties);
  if (pattern === undefined || member === undefined) throw new TypeError(`${key} has no pattern`);
  const names = Object.keys(tables);
  if (names.length === 0) {
    reading.problems.push(`${key} is missing; there must be a table [${key}.NAME] at least`);
  }
  const result: Table = {};
  for (const name of names) {
    if (!new RegExp(pattern).test(name)) {
      reading.problems.push(`${key}.${name}: the name must be ${schema['form']}`);
    }
    result[name] = isTableSchema(member)
      ? readMember(member, tables[name], `${key}.${name}`, reading)
      : undefined;
  }
  return result;
}

/** Fills in the defaults that depend on other keys: sockets that are in the data directory. */
export function deriveSocketDefaults(config: Table): void {
  const { dataDirectory, nbd, api } = config;
  if (typeof dataDirectory !== 'string') return;
  if (isTable(nbd)) nbd['unix'] ??= join(dataDirectory, 'nbd.sock');
  if (isTable(api)) api['unix'] ??= join(dataDirectory, 'api.sock');
}

const siteDefinition = {
  schema: configSchema,
  deriveDefaults: deriveSocketDefaults,
  relationProblems,
};

function deepFreeze<Type extends object>(value: Type): Type {
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null) deepFreeze(member);
  }
  return Object.freeze(value);
}

function readToml(text: string, source: string): Table {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split('\n')[0] ?? '';
    throw new ConfigError(
      source,
      [`line ${error.line}, column ${error.column} is not TOML: ${reason}`],
      error,
    );
  }
}

/**
 * Reads a configuration from TOML text.
 * @param source where the text is from, for messages
 * @throws {ConfigError} (ERR_CONFIG) listing everything that is wrong
 */
export function readConfig<Schema extends TObject>(
  definition: ConfigDefinition<Schema>,
  text: string,
  source: string,
): Static<Schema> {
  const { schema } = definition;
  const problems: string[] = [];
  const table: unknown = readTable(schema, readToml(text, source), '', { root: schema, problems });
  if (isTable(table)) definition.deriveDefaults(table);
  if (problems.length > 0) throw new ConfigError(source, problems);
  if (!Value.Check(schema, table)) {
    const first = Value.Errors(schema, table).First();
    throw new ConfigError(source, [`${first?.path ?? ''}: ${first?.message ?? 'wrong'}`]);
  }
  const wrong = definition.relationProblems(table);
  if (wrong.length > 0) throw new ConfigError(source, wrong);
  return deepFreeze(table);
}

/** Reads a site's configuration from TOML text, as `readConfig` does. */
export function parseConfig(text: string, source = 'the configuration'): Config {
  return readConfig(siteDefinition, text, source);
}

/**
 * The text of the configuration file at `path`, and how messages call it.
 * @throws {ConfigError} (ERR_CONFIG) if it can't be read
 */
export function readConfigFile(path: string): { readonly text: string; readonly source: string } {
  const source = `configuration file ${path}`;
  try {
    return { text: readFileSync(path, 'utf8'), source };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(source, [`it can't be read: ${reason}`], error);
  }
}

/**
 * Reads the configuration file of a site.
 * @throws {ConfigError} (ERR_CONFIG) if it can't be read or used
 */
export function loadConfig(path: string): Config {
  const { text, source } = readConfigFile(path);
  return parseConfig(text, source);
}
