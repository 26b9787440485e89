/**
 * What every request passes before anything else looks at it: is it addressed to this machine, may
 * whoever sends it ask that, and is it more than a web page could make a browser send (a foreign
 * Host after DNS rebinding; a change as a plain form).
 */
import type { Socket } from 'node:net';
import type { Caller } from '../caller.ts';
import { isLoopbackHost } from '../config/address.ts';
import { CasemateError } from '../errors.ts';
import { type ApiAccess, type Origin, safeMethods, type TellRefusal } from './access.ts';
import type { HttpRequest, HttpServer } from './http-server.ts';
import { withoutTokens } from './tokens.ts';

const namesShownMax = 64;

/** The host of a Host header, without its port. */
function hostName(header: string): string {
  const bracketed = /^\[([^\]]*)\](?::[0-9]*)?$/.exec(header);
  return bracketed?.[1] ?? header.replace(/:[0-9]*$/, '');
}

/** @throws {CasemateError} ERR_HOST if the request was not addressed to this machine by name */
function checkHost(request: HttpRequest): void {
  const header = request.headers.host ?? '';
  if (isLoopbackHost(hostName(header))) return;
  throw new CasemateError('ERR_HOST', `the Host header "${header}" is not a name of this machine`, {
    hint: 'Use http://127.0.0.1 or http://localhost; a proxy in front has to set Host accordingly.',
    status: 403,
  });
}

/** @throws {CasemateError} ERR_CONTENT_TYPE for a change that is not sent as JSON */
function checkContentType(request: HttpRequest): void {
  if (safeMethods.has(request.method)) return;
  const type = request.headers['content-type'] ?? '';
  if (/^application\/json(?:\s*;|$)/i.test(type)) return;
  throw new CasemateError(
    'ERR_CONTENT_TYPE',
    type === '' ? 'the request has no content type' : `content type "${type}" is not taken`,
    { hint: 'Send changes with "Content-Type: application/json".', status: 415 },
  );
}

/** A name from outside as it can be shown anywhere: no control characters, no token, not long. */
export function shownName(name: string): string {
  const plain = withoutTokens(name).replaceAll(/[^\x21-\x7e…]/g, '?');
  return plain.length > namesShownMax ? `${plain.slice(0, namesShownMax)}…` : plain;
}

/** The request by its route: a path as it was sent could have anything in it. */
function requestWords(request: HttpRequest): string {
  const { params } = request;
  const hasName = typeof params === 'object' && params !== null && 'name' in params;
  const name = hasName ? shownName(String(params.name)) : '';
  const route = request.routeOptions.url ?? 'a path that is none';
  return `${request.method} ${route.replace(':name', () => name)}`;
}

export interface Guard {
  readonly access: ApiAccess;
  /** How the connection came. */
  readonly originOf: (socket: Socket) => Origin;
  /** Paths that everybody may read. */
  readonly openPaths: readonly string[];
  readonly tell: TellRefusal;
}

/** Who sent a request that has passed. */
export type CallerOf = (request: HttpRequest) => Caller;

/** Lets nothing pass that may not; gives who sent what has. */
export function guardRequests(server: HttpServer, guard: Guard): CallerOf {
  const { access, originOf, tell } = guard;
  const callers = new WeakMap<HttpRequest, Caller>();
  const openPaths = new Set(guard.openPaths);
  server.addHook('onRequest', async (request) => {
    const origin = originOf(request.raw.socket);
    if (origin.way === 'loopback') checkHost(request);
    const asked = {
      method: request.method,
      authorization: request.headers.authorization,
      what: requestWords(request),
      open: safeMethods.has(request.method) && openPaths.has(request.routeOptions.url ?? ''),
    };
    callers.set(request, access.judge(asked, origin, tell));
    checkContentType(request);
  });
  return (request) => {
    const caller = callers.get(request);
    if (caller === undefined) throw new Error('a request was not guarded');
    return caller;
  };
}
