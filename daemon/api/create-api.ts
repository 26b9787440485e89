/**
 * The HTTP server of a site: health checks, metrics, and what operators see and do, all through
 * `SiteControl`. It keeps no state. The only files that import fastify are in this folder.
 */
import type { AssertionError } from 'node:assert';
import swagger from '@fastify/swagger';
import { type FastifyInstance, fastify } from 'fastify';
import type { Config } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import type { SiteControl } from '../site-status.ts';
import { softwareVersion } from '../version.ts';
import { setErrorReplies } from './error-replies.ts';
import { checkContentType, checkHost } from './guards.ts';
import { addHealthRoutes } from './health-routes.ts';
import { addSiteRoutes } from './site-routes.ts';
import { validatorCompiler } from './validation.ts';
import { addVolumeRoutes } from './volume-routes.ts';

export interface ApiOptions {
  readonly control: SiteControl;
  /** The metrics in Prometheus' text format. */
  readonly metricsText: () => Promise<string>;
  readonly config: Pick<Config, 'api'>;
  readonly logger: Logger;
  /** An assertion failed in a handler; by default it is thrown as an uncaught exception. */
  readonly bug?: (error: AssertionError) => void;
}

/** A connection that sends nothing is closed after so long. */
const idleMs = 60_000;
/** A request has to be there as a whole after so long. */
const requestMs = 30_000;

function throwUncaught(error: AssertionError): void {
  setImmediate(() => {
    throw error;
  });
}

/** JSON bodies; an empty one counts as absent, so that an action needs no body. */
function setBodyParser(api: FastifyInstance): void {
  const parse = api.getDefaultJsonParser('error', 'error');
  api.removeAllContentTypeParsers();
  api.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, done) => {
      if (body.length === 0) done(null, undefined);
      else parse(request, body, done);
    },
  );
}

/** Makes the server; the caller listens (loopback only) or injects requests. */
export function createApi(options: ApiOptions): FastifyInstance {
  const { config, logger, bug = throwUncaught } = options;
  const api = fastify({
    bodyLimit: config.api.bodyBytesMax,
    connectionTimeout: idleMs,
    requestTimeout: requestMs,
    forceCloseConnections: true,
    logger: false,
  });
  setBodyParser(api);
  api.setValidatorCompiler(validatorCompiler);
  // What is sent is what the site said: nothing is dropped because a schema lacks it.
  api.setSerializerCompiler(() => (value) => JSON.stringify(value));
  setErrorReplies(api, { logger, bug });
  api.addHook('onRequest', async (request) => {
    checkHost(request);
    checkContentType(request);
  });
  api.addHook('onResponse', async (request, reply) => {
    if (request.method === 'GET') return;
    const { method, url } = request;
    logger.info({ method, url, status: reply.statusCode }, 'operator request answered');
  });
  void api.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Casemate',
        description: 'What one site says of itself, and what an operator can ask of it.',
        version: softwareVersion,
      },
    },
  });
  void api.register(async (scope) => {
    addHealthRoutes(scope, options);
    addSiteRoutes(scope, options.control);
    addVolumeRoutes(scope, options.control);
    scope.get('/v1/openapi.json', { schema: { hide: true } }, async () => api.swagger());
  });
  return api;
}
