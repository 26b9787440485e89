/**
 * The HTTP port on Node's own client (node:http, node:https): connections are kept for the next
 * request, answers are bounded in time and size.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, Agent as SecureAgent } from 'node:https';
import type { HttpAnswer, HttpPort, HttpRequest } from '../replication/register/http-port.ts';

/** What a server is trusted by, and what this site shows of itself; PEM. */
export interface HttpIdentity {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const connectionsMax = 32;
const answerBytesMax = 1024 * 1024;
const agentOptions = { keepAlive: true, keepAliveMsecs: 10_000, maxSockets: connectionsMax };

export class SystemHttp implements HttpPort {
  readonly #plain = new Agent(agentOptions);
  readonly #secure: SecureAgent;

  constructor(identity: HttpIdentity = {}) {
    const { ca, cert, key } = identity;
    this.#secure = new SecureAgent({
      ...agentOptions,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  }

  async post(request: HttpRequest): Promise<HttpAnswer> {
    try {
      return await this.#attempt(request);
    } catch (error) {
      // A kept connection that the server had closed meanwhile says nothing about the server.
      if (error instanceof StaleConnection) return await this.#attempt(request);
      throw error;
    }
  }

  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  #attempt({ url, headers, body, timeoutMs }: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const options = {
        method: 'POST',
        headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      };
      const request = url.startsWith('https:')
        ? httpsRequest(url, { ...options, agent: this.#secure })
        : httpRequest(url, { ...options, agent: this.#plain });
      const timer = setTimeout(() => {
        request.destroy(new Error(`no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      const settle = (error: Error | undefined, answer?: HttpAnswer): void => {
        clearTimeout(timer);
        if (error === undefined && answer !== undefined) resolve(answer);
        else reject(error ?? new Error('the connection was closed'));
      };
      let answered = false;
      request.on('response', (response) => {
        answered = true;
        collect(request, response, settle);
      });
      request.on('error', (error) => settle(answered ? error : staleOr(error, request)));
      request.on('close', () => settle(undefined));
      request.end(body);
    });
  }
}

/** The connection had been kept from an earlier request and was gone. */
class StaleConnection extends Error {}

function staleOr(error: Error, request: ClientRequest): Error {
  const reset = 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
  return request.reusedSocket && reset ? new StaleConnection(error.message) : error;
}

function collect(
  request: ClientRequest,
  response: IncomingMessage,
  settle: (error: Error | undefined, answer?: HttpAnswer) => void,
): void {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  response.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > answerBytesMax) {
      request.destroy(new Error(`its answer is longer than ${answerBytesMax} bytes`));
      return;
    }
    chunks.push(chunk);
  });
  response.on('error', (error) => settle(error));
  response.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    settle(undefined, { status: response.statusCode ?? 0, body });
  });
}
