/**
 * Who may talk to the API, as far as that can be told without tokens: it listens on loopback only,
 * and refuses what a web page in a browser on this machine could be made to send (a foreign Host
 * after DNS rebinding; a change as a plain form).
 */
import { isLoopbackHost } from '../config/address.ts';
import { CasemateError } from '../errors.ts';
import type { HttpRequest } from './http-server.ts';

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The host of a Host header, without its port. */
function hostName(header: string): string {
  const bracketed = /^\[([^\]]*)\](?::[0-9]*)?$/.exec(header);
  return bracketed?.[1] ?? header.replace(/:[0-9]*$/, '');
}

/** @throws {CasemateError} ERR_HOST if the request was not addressed to this machine by name */
export function checkHost(request: HttpRequest): void {
  const header = request.headers.host ?? '';
  if (isLoopbackHost(hostName(header))) return;
  throw new CasemateError('ERR_HOST', `the Host header "${header}" is not a name of this machine`, {
    hint: 'Use http://127.0.0.1 or http://localhost; a proxy in front has to set Host accordingly.',
    status: 403,
  });
}

/** @throws {CasemateError} ERR_CONTENT_TYPE for a change that is not sent as JSON */
export function checkContentType(request: HttpRequest): void {
  if (safeMethods.has(request.method)) return;
  const type = request.headers['content-type'] ?? '';
  if (/^application\/json(?:\s*;|$)/i.test(type)) return;
  throw new CasemateError(
    'ERR_CONTENT_TYPE',
    type === '' ? 'the request has no content type' : `content type "${type}" is not taken`,
    { hint: 'Send changes with "Content-Type: application/json".', status: 415 },
  );
}
