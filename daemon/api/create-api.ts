/**
 * The HTTP server of a site: health checks, metrics, and what operators see and do, all through
 * `SiteControl`. It keeps no state.
 */
import type { AssertionError } from 'node:assert';
import type { Logger } from '../logger.ts';
import { addPageRoutes, pagePaths } from '../page/page-routes.ts';
import type { RequestFigures } from '../page/request-figures.ts';
import type { SiteControl } from '../site-status.ts';
import { softwareVersion } from '../version.ts';
import { auditedBy } from './audit.ts';
import { setErrorReplies } from './error-replies.ts';
import { type Guard, guardRequests } from './guards.ts';
import { addHealthRoutes, healthPaths } from './health-routes.ts';
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
  readonly bodyBytesMax: number;
  /** Who may do what, and how a connection came. */
  readonly guard: Pick<Guard, 'access' | 'originOf'>;
  readonly logger: Logger;
  /** An assertion failed in a handler; by default it is thrown as an uncaught exception. */
  readonly bug?: (error: AssertionError) => void;
}

function throwUncaught(error: AssertionError): void {
  setImmediate(() => {
    throw error;
  });
}

/** Makes the server; the caller listens, or injects requests. */
export function createApi(options: ApiOptions): HttpServer {
  const { control, logger, bug = throwUncaught } = options;
  const api = makeHttpServer({
    bodyBytesMax: options.bodyBytesMax,
    title: 'Casemate',
    description: 'What one site says of itself, and what an operator can ask of it.',
    version: softwareVersion,
  });
  api.setValidatorCompiler(validatorCompiler);
  setErrorReplies(api, { logger, bug });
  const callerOf = guardRequests(api, {
    ...options.guard,
    openPaths: [...healthPaths, ...pagePaths],
    tell: (text, by) => control.recordAction({ level: 'warn', code: 'api-refused', text, by }),
  });
  void api.register(async (scope) => {
    addHealthRoutes(scope, { ...options, callerOf });
    addSiteRoutes(scope, control);
    addVolumeRoutes(scope, control, auditedBy(control, callerOf));
    addPageRoutes(scope, options);
    scope.get('/v1/openapi.json', { schema: { hide: true } }, async () => api.swagger());
  });
  return api;
}
