/**
 * Reads the fields of decoded documents of the peer, each with its check, so that every document's
 * reader is a table of its fields and nothing unchecked gets past it.
 */
import { LinkFormatError, printable } from './errors.ts';

const idPattern = /^[0-9a-f]{32}$/;
/** Stores in a configuration: two sites and a witness, and a spare while one is replaced. */
const idsMax = 16;

/** Reads the fields of one decoded map, each checked, and at the end that there are no others. */
export class Fields {
  readonly #values: Map<string, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new LinkFormatError(`${path} is not a map`);
    }
    this.#values = new Map(Object.entries(value));
    this.#path = path;
  }

  /** Gives `result` if every field was read. */
  done<T>(result: T): T {
    const [extra] = this.#values.keys();
    if (extra !== undefined) {
      throw new LinkFormatError(`${this.#path} has the unknown field "${printable(extra)}"`);
    }
    return result;
  }

  number(name: string): number {
    const value = this.#take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(name, 'a whole number');
  }

  id(name: string): string {
    const value = this.#take(name);
    if (typeof value === 'string' && idPattern.test(value)) return value;
    throw this.#wrong(name, '32 hex digits');
  }

  ids(name: string): string[] {
    const values = this.#take(name);
    if (Array.isArray(values) && values.length <= idsMax) {
      const ids = values.filter((value): value is string => isId(value));
      if (ids.length === values.length) return ids;
    }
    throw this.#wrong(name, `a list of at most ${idsMax} ids`);
  }

  text(name: string, lengthMax: number): string {
    const value = this.#take(name);
    if (typeof value === 'string' && value.length <= lengthMax) return value;
    throw this.#wrong(name, `text of at most ${lengthMax} characters`);
  }

  flag(name: string): boolean {
    const value = this.#take(name);
    if (typeof value === 'boolean') return value;
    throw this.#wrong(name, 'true or false');
  }

  optionalFlag(name: string): boolean | undefined {
    const value = this.#values.get(name);
    if (value !== undefined && value !== null) return this.flag(name);
    this.#values.delete(name);
    return undefined;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.#take(name);
    const found = allowed.find((one) => one === value);
    if (found !== undefined) return found;
    throw this.#wrong(name, `one of ${allowed.join(', ')}`);
  }

  child<T>(name: string, read: (fields: Fields) => T): T {
    const fields = new Fields(this.#take(name), `${this.#path}.${name}`);
    return fields.done(read(fields));
  }

  optional<T>(name: string, read: (fields: Fields) => T): T | undefined {
    const value = this.#values.get(name);
    if (value !== undefined && value !== null) return this.child(name, read);
    this.#values.delete(name);
    return undefined;
  }

  list<T>(name: string, read: (fields: Fields) => T): T[] {
    const values = this.#take(name);
    if (!Array.isArray(values)) throw this.#wrong(name, 'a list');
    return values.map((value: unknown, index) => {
      const fields = new Fields(value, `${this.#path}.${name}[${index}]`);
      return fields.done(read(fields));
    });
  }

  #take(name: string): unknown {
    const value = this.#values.get(name);
    this.#values.delete(name);
    return value;
  }

  #wrong(name: string, expected: string): LinkFormatError {
    return new LinkFormatError(`${this.#path}.${name} is not ${expected}`);
  }
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && idPattern.test(value);
}
