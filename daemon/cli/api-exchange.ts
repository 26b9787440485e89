/** One request to a daemon's API and its answer: over a Unix socket, HTTP or HTTPS. */
import { X509Certificate } from 'node:crypto';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { PeerCertificate } from 'node:tls';
import {
  type CertificateName,
  certificateNames,
  formatCertificateName,
  includesName,
} from '../pki/certificate-name.ts';

/** A way to a daemon. */
export interface ApiWay {
  /** Where it is, as messages say it: a URL, or the path of a socket. */
  readonly place: string;
  readonly target:
    | { readonly kind: 'unix'; readonly path: string }
    | {
        readonly kind: 'tcp';
        readonly url: string;
        readonly token: string | undefined;
        /** Text of the authorities that it is trusted by; those of the system if undefined. */
        readonly authority: string | undefined;
        /** Whom its certificate has to name, in place of the host in the URL. */
        readonly identity: CertificateName | undefined;
      };
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body: object | undefined;
}

/**
 * How long an answer may take. A look asks nobody else and is answered at once, unless the daemon
 * hangs. An operation has limits of its own, each of half a minute; a few may follow each other.
 */
const answerMsMax = { look: 15_000, change: 300_000 };

/** Rejects with the error of Node.js; its code tells whether anything was sent (`errors.ts`). */
export function exchange(
  { target }: ApiWay,
  { method, path, body }: ApiRequest,
  limits = answerMsMax,
): Promise<{ readonly status: number; readonly text: string }> {
  const content = body === undefined ? undefined : JSON.stringify(body);
  const token = target.kind === 'tcp' ? target.token : undefined;
  const timeout = method === 'GET' ? limits.look : limits.change;
  const options: RequestOptions = {
    method,
    agent: false,
    timeout,
    headers: {
      ...(content === undefined ? {} : { 'content-type': 'application/json' }),
      ...(content === undefined ? {} : { 'content-length': Buffer.byteLength(content) }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  };
  return new Promise((resolve, reject) => {
    const request = openRequest(target, path, options);
    request.on('timeout', () => {
      request.destroy(
        new Error(
          `it is there, but gave no answer within ${timeout / 1000} s: it hangs, or was stopped`,
        ),
      );
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    request.end(content);
  });
}

function openRequest(target: ApiWay['target'], path: string, options: RequestOptions) {
  if (target.kind === 'unix') {
    return httpRequest({ ...options, socketPath: target.path, host: 'localhost', path });
  }
  const { authority, identity } = target;
  const url = new URL(path, target.url);
  if (url.protocol === 'http:') return httpRequest(url, options);
  return httpsRequest(url, {
    ...options,
    minVersion: 'TLSv1.3',
    ...(authority === undefined ? {} : { ca: authority }),
    ...(identity === undefined ? {} : { checkServerIdentity: checkFor(identity) }),
  });
}

function checkFor(wanted: CertificateName) {
  return (_host: string, { raw }: PeerCertificate): Error | undefined => {
    if (includesName(certificateNames(new X509Certificate(raw)), wanted)) return undefined;
    const error = new Error(`its certificate is not that of ${formatCertificateName(wanted)}`);
    return Object.assign(error, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  };
}
