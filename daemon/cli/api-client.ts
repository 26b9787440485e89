/**
 * The command line's side of the HTTP API. Answers are checked with the API's own schemas: what
 * listens there may be another program, or another version.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { errorSchema } from '../api/schemas.ts';
import { CasemateError } from '../errors.ts';
import { type ApiRequest, type ApiWay, exchange } from './api-exchange.ts';
import { isDistrust, type Missed, nothingSent, unreachable, untrusted } from './errors.ts';

type Method = ApiRequest['method'];

export class ApiClient {
  /** The first one that lets connect is used. */
  readonly #ways: readonly ApiWay[];
  #place = '';

  constructor(ways: readonly ApiWay[]) {
    this.#ways = ways;
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
    const { status, text } = await this.#exchange({ method, path, body });
    const answer = text === '' ? undefined : this.#parse(text);
    if (status >= 200 && status < 300) return answer;
    if (!Value.Check(errorSchema, answer)) throw this.#foreign(`it answered with status ${status}`);
    const { code, message, hint } = answer;
    throw new CasemateError(code, message, { status, ...(hint === undefined ? {} : { hint }) });
  }

  async #exchange(request: ApiRequest): Promise<{ status: number; text: string }> {
    const missed: Missed[] = [];
    for (const way of this.#ways) {
      this.#place = way.place;
      try {
        return await exchange(way, request);
      } catch (error) {
        if (isDistrust(error)) throw untrusted(way.place, error);
        missed.push({ place: way.place, error });
        // What was sent may be done already: it is not sent again.
        if (!nothingSent(error)) break;
      }
    }
    throw unreachable(missed);
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
      `what answers at ${this.#place} is not a Casemate daemon of this version: ${why.trim()}`,
      { hint: 'Use the command of the version that runs as the daemon.' },
    );
  }
}

/** The path of a volume, or of something below it. */
export function volumePath(name: string, below = ''): string {
  return `/v1/volumes/${encodeURIComponent(name)}${below}`;
}
