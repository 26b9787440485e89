/**
 * The etcd cluster behind the register: ranges and transactions at whichever of its endpoints
 * answers. Knows which endpoint answered last and begins there, logs in when a user is configured,
 * and tells two clusters apart: an endpoint of another one, or one whose history has gone backwards
 * (restored from a backup), would be a register that forgot what was decided, and is not heard.
 *
 * A request that was not answered may have been done. Whoever sends a transaction has to be able to
 * tell its own value from others (`etcd-register.ts`), for it may be sent to several endpoints.
 */
import { ReplicationError } from '../errors.ts';
import {
  authenticatePath,
  type EtcdEntry,
  failureText,
  parseHeader,
  parseJson,
  parseRange,
  parseToken,
  parseTransaction,
  rangePath,
  rangeRequest,
  type TransactionResult,
  transactionPath,
  transactionRequest,
} from './etcd-messages.ts';
import type { HttpAnswer, HttpPort } from './http-port.ts';

export interface EtcdClientOptions {
  /** Such as "https://etcd-1.example.org:2379"; the one that answered last is asked first. */
  readonly endpoints: readonly string[];
  readonly http: HttpPort;
  /** For one request to one endpoint. */
  readonly timeoutMs: number;
  readonly login?: { readonly name: string; readonly password: string } | undefined;
  /** The cluster answers again, or does not any more: `problem` says why. */
  readonly changed?: (problem: string | undefined) => void;
}

export interface EtcdEndpointState {
  readonly url: string;
  /** Undefined while it was not asked. */
  readonly answers: boolean | undefined;
  readonly problem: string | undefined;
}

/** An endpoint did not answer as it should; the next one may. */
class EndpointError extends Error {}

interface Endpoint {
  readonly url: string;
  answers: boolean | undefined;
  problem: string | undefined;
}

export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #endpoints: readonly Endpoint[];
  #preferred = 0;
  #token: Promise<string> | undefined;
  #clusterId: string | undefined;
  /** The newest revision of the cluster that was seen. */
  #revision = 0n;
  #answers: boolean | undefined;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints.map((url) => ({
      url: url.replace(/\/+$/, ''),
      answers: undefined,
      problem: undefined,
    }));
  }

  /**
   * The key as it is now, undefined if it is absent.
   * @throws ReplicationError ERR_REGISTER_UNAVAILABLE if no endpoint answers.
   */
  range(key: string): Promise<EtcdEntry | undefined> {
    return this.#ask(rangePath, rangeRequest(key), parseRange);
  }

  /**
   * Puts `value` if the key is still `before`.
   * @throws ReplicationError ERR_REGISTER_UNAVAILABLE if no endpoint answers: it may have been put.
   */
  replace(key: string, before: EtcdEntry | undefined, value: Buffer): Promise<TransactionResult> {
    return this.#ask(transactionPath, transactionRequest(key, before, value), parseTransaction);
  }

  /** Whether the cluster answered when it was asked last; undefined if it was never asked. */
  get answers(): boolean | undefined {
    return this.#answers;
  }

  endpoints(): readonly EtcdEndpointState[] {
    return this.#endpoints.map(({ url, answers, problem }) => ({ url, answers, problem }));
  }

  close(): void {
    this.#options.http.close();
  }

  /** One request at one endpoint after the other, until one answers. */
  async #ask<Result>(
    path: string,
    request: object,
    parse: (answer: unknown) => Result | null,
  ): Promise<Result> {
    const first = this.#preferred;
    for (let count = 0; count < this.#endpoints.length; count += 1) {
      const index = (first + count) % this.#endpoints.length;
      const endpoint = this.#endpoints[index];
      if (endpoint === undefined) break;
      try {
        const result = await this.#askLoggedIn(endpoint, path, request, parse);
        endpoint.answers = true;
        endpoint.problem = undefined;
        this.#preferred = index;
        this.#noteReached(undefined);
        return result;
      } catch (error) {
        if (!(error instanceof EndpointError)) throw error;
        endpoint.answers = false;
        endpoint.problem = error.message;
      }
    }
    const problem = this.#endpoints.map((each) => `${each.url}: ${each.problem}`).join('; ');
    this.#noteReached(problem);
    throw new ReplicationError('ERR_REGISTER_UNAVAILABLE', `etcd does not answer: ${problem}`);
  }

  #noteReached(problem: string | undefined): void {
    const answers = problem === undefined;
    if (this.#answers === answers) return;
    const isFirst = this.#answers === undefined;
    this.#answers = answers;
    // That all is well from the start is no news.
    if (!isFirst || !answers) this.#options.changed?.(problem);
  }

  async #askLoggedIn<Result>(
    endpoint: Endpoint,
    path: string,
    request: object,
    parse: (answer: unknown) => Result | null,
  ): Promise<Result> {
    const token = await this.#login(endpoint);
    const revisionBefore = this.#revision;
    let answer = await this.#post(endpoint, path, request, token);
    if (token !== undefined && isLoginOver(answer)) {
      this.#token = undefined;
      answer = await this.#post(endpoint, path, request, await this.#login(endpoint));
    }
    return this.#read(answer, revisionBefore, parse);
  }

  #read<Result>(
    { status, body }: HttpAnswer,
    revisionBefore: bigint,
    parse: (answer: unknown) => Result | null,
  ): Result {
    if (status !== 200) throw new EndpointError(failureText(status, body));
    const document = parseJson(body);
    const header = parseHeader(document);
    const result = parse(document);
    if (header === null || result === null) {
      throw new EndpointError('what it answers is not as the API of etcd 3 has it');
    }
    this.#clusterId ??= header.cluster_id;
    if (header.cluster_id !== this.#clusterId) {
      throw new EndpointError(
        `it belongs to etcd cluster ${header.cluster_id}, and ${this.#clusterId} answered before`,
      );
    }
    // Both requests are linearizable: what was answered before they were sent is behind them.
    const revision = BigInt(header.revision);
    if (revision < revisionBefore) {
      throw new EndpointError(
        `its history ends at revision ${revision}, and ${revisionBefore} was there before: ` +
          'it was restored from a backup and has forgotten what was decided',
      );
    }
    if (revision > this.#revision) this.#revision = revision;
    return result;
  }

  /** The token of the user that is configured, if one is. One login at a time. */
  async #login(endpoint: Endpoint): Promise<string | undefined> {
    const { login } = this.#options;
    if (login === undefined) return undefined;
    this.#token ??= this.#authenticate(endpoint, login);
    const mine = this.#token;
    try {
      return await mine;
    } catch (error) {
      if (this.#token === mine) this.#token = undefined;
      throw error;
    }
  }

  async #authenticate(
    endpoint: Endpoint,
    login: { readonly name: string; readonly password: string },
  ): Promise<string> {
    const { status, body } = await this.#post(endpoint, authenticatePath, login, undefined);
    if (status !== 200) {
      throw new EndpointError(`user "${login.name}" can't log in: ${failureText(status, body)}`);
    }
    const token = parseToken(parseJson(body));
    if (token === null) throw new EndpointError('what it answers to a login is no token');
    return token;
  }

  async #post(
    { url }: Endpoint,
    path: string,
    request: object,
    token: string | undefined,
  ): Promise<HttpAnswer> {
    const { http, timeoutMs } = this.#options;
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (token !== undefined) headers['authorization'] = token;
    try {
      return await http.post({
        url: `${url}${path}`,
        headers,
        body: JSON.stringify(request),
        timeoutMs,
      });
    } catch (error) {
      throw new EndpointError(error instanceof Error ? error.message : String(error));
    }
  }
}

/** The token has run out, or users were changed since: a new login is needed. */
function isLoginOver({ status, body }: HttpAnswer): boolean {
  if (status === 200) return false;
  return (
    status === 401 || /auth token|auth store|user name is empty/.test(failureText(status, body))
  );
}
