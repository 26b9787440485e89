/**
 * The command line's side of the HTTP API. Answers are checked with the API's own schemas: what
 * listens there may be another program, or another version.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { errorSchema } from '../api/schemas.ts';
import { loadConfig } from '../config/parse.ts';
import { CasemateError } from '../errors.ts';
import { unreachable, usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

const standardUrl = 'http://127.0.0.1:9617';

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export class ApiClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async get<Schema extends TSchema>(path: string, schema: Schema): Promise<Static<Schema>> {
    return this.#checked(await this.#request('GET', path), schema);
  }

  /** Asks for a change; throws the daemon's own error if it is refused. */
  async change<Schema extends TSchema>(
    method: Exclude<Method, 'GET'>,
    path: string,
    body: object,
    schema: Schema,
  ): Promise<Static<Schema>> {
    return this.#checked(await this.#request(method, path, body), schema);
  }

  async delete(path: string): Promise<void> {
    await this.#request('DELETE', path, {});
  }

  async #request(method: Method, path: string, body?: object): Promise<unknown> {
    const url = new URL(path, this.url);
    const change =
      body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    let status: number;
    let text: string;
    try {
      const response = await fetch(url, { method, ...change });
      status = response.status;
      text = await response.text();
    } catch (error) {
      throw unreachable(this.url, error);
    }
    const answer = text === '' ? undefined : this.#parse(text);
    if (status >= 200 && status < 300) return answer;
    if (!Value.Check(errorSchema, answer)) throw this.#foreign(`it answered with status ${status}`);
    const { code, message, hint } = answer;
    throw new CasemateError(code, message, { status, ...(hint === undefined ? {} : { hint }) });
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.#foreign('its answer is no JSON');
    }
  }

  #checked<Schema extends TSchema>(answer: unknown, schema: Schema): Static<Schema> {
    if (Value.Check(schema, answer)) return answer;
    const first = Value.Errors(schema, answer).First();
    throw this.#foreign(`${first?.path ?? ''} ${first?.message ?? 'its answer does not fit'}`);
  }

  #foreign(why: string): CasemateError {
    return new CasemateError(
      'ERR_API_ANSWER',
      `what answers at ${this.url} is not a Casemate daemon of this version: ${why.trim()}`,
      { hint: 'Use the command of the version that runs as the daemon.' },
    );
  }
}

/** The path of a volume, or of something below it. */
export function volumePath(name: string, below = ''): string {
  return `/v1/volumes/${encodeURIComponent(name)}${below}`;
}

/** Finds the daemon by --api, --config, the environment or the standard address. */
export function findDaemon(
  options: { readonly api?: string | undefined; readonly config?: string | undefined },
  terminal: Terminal,
): ApiClient {
  if (options.api === undefined && options.config !== undefined) {
    return new ApiClient(`http://${loadConfig(options.config).api.listen}`);
  }
  const url = options.api ?? terminal.environment['CASEMATE_API'] ?? standardUrl;
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw usageError(`"${url}" is no URL of an API`, `It looks like ${standardUrl}.`);
  }
  return new ApiClient(url);
}
