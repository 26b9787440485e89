/** One HTTP request on a connection of its own, with any headers: TCP, TLS or a Unix socket. */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface Asked extends RequestOptions {
  /** A URL of http or https; with `socketPath` only its path counts. */
  readonly url: string;
  readonly body?: string;
  readonly ca?: string;
  readonly servername?: string;
  readonly maxVersion?: 'TLSv1.2';
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The code of an error, or "". */
  readonly code: string;
}

export function ask({ url, body, ...options }: Asked): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const open = url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = open(url, { agent: false, ...options });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const code = /^\{"code":"(ERR_\w+)"/.exec(text)?.[1] ?? '';
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, code });
      });
    });
    request.end(body);
  });
}
