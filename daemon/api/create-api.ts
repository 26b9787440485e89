/**
 * The HTTP server of a site: health checks, metrics, and what operators see and do, all through
 * `SiteControl`. It keeps no state.
 */
import type { AssertionError } from 'node:assert';
import type { Config } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { addPageRoutes } from '../page/page-routes.ts';
import type { RequestFigures } from '../page/request-figures.ts';
import type { SiteControl } from '../site-status.ts';
import { softwareVersion } from '../version.ts';
import { setErrorReplies } from './error-replies.ts';
import { checkContentType, checkHost } from './guards.ts';
import { addHealthRoutes } from './health-routes.ts';
import { type HttpServer, makeHttpServer } from './http-server.ts';
import { addSiteRoutes } from './site-routes.ts';
import { validatorCompiler } from './validation.ts';
import { addVolumeRoutes } from './volume-routes.ts';

export interface ApiOptions {
  readonly control: SiteControl;
  /** The metrics in Prometheus' text format. */
  readonly metricsText: () => Promise<string>;
  /** What clients have asked for, for the page's plots. */
  readonly figures: () => RequestFigures;
  readonly config: Pick<Config, 'api'>;
  readonly logger: Logger;
  /** An assertion failed in a handler; by default it is thrown as an uncaught exception. */
  readonly bug?: (error: AssertionError) => void;
}

function throwUncaught(error: AssertionError): void {
  setImmediate(() => {
    throw error;
  });
}

/** Makes the server; the caller listens (loopback only) or injects requests. */
export function createApi(options: ApiOptions): HttpServer {
  const { config, logger, bug = throwUncaught } = options;
  const api = makeHttpServer({
    bodyBytesMax: config.api.bodyBytesMax,
    title: 'Casemate',
    description: 'What one site says of itself, and what an operator can ask of it.',
    version: softwareVersion,
  });
  api.setValidatorCompiler(validatorCompiler);
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
  void api.register(async (scope) => {
    addHealthRoutes(scope, options);
    addSiteRoutes(scope, options.control);
    addVolumeRoutes(scope, options.control);
    addPageRoutes(scope, options);
    scope.get('/v1/openapi.json', { schema: { hide: true } }, async () => api.swagger());
  });
  return api;
}
