/** The HTTP server of a witness: /healthz, /readyz, /metrics and what it knows of its clusters. */
import { Type } from '@sinclair/typebox';
import { ProcessRegistry } from '../../metrics/process-registry.ts';
import { type WitnessSnapshot, witnessDeclarations } from '../../metrics/witness-declarations.ts';
import { setErrorReplies } from '../api/error-replies.ts';
import { type Guard, guardRequests } from '../api/guards.ts';
import { healthPaths } from '../api/health-routes.ts';
import { type HttpServer, makeHttpServer } from '../api/http-server.ts';
import { readinessSchema } from '../api/schemas.ts';
import type { Logger } from '../logger.ts';
import { softwareVersion } from '../version.ts';

/** It takes no requests with a body. */
const bodyBytesMax = 1024;

export interface WitnessApiOptions {
  readonly snapshot: () => WitnessSnapshot;
  /** Who may look, and how a connection came. */
  readonly guard: Pick<Guard, 'access' | 'originOf'>;
  readonly logger: Logger;
  readonly bug: (error: unknown) => void;
}

/** Makes the server; the caller listens, or injects requests. */
export function createWitnessApi(options: WitnessApiOptions): HttpServer {
  const { snapshot, logger, bug } = options;
  const registry = new ProcessRegistry(witnessDeclarations);
  const api = makeHttpServer({
    bodyBytesMax,
    title: 'Casemate witness',
    description: 'What a witness says of itself.',
    version: softwareVersion,
  });
  setErrorReplies(api, { logger, bug });
  const callerOf = guardRequests(api, {
    ...options.guard,
    openPaths: healthPaths,
    tell: (text, by) => logger.warn({ by }, text),
  });
  void api.register(async (scope) => {
    scope.get(
      '/healthz',
      {
        schema: {
          summary: 'Alive: the process answers.',
          response: { 200: Type.Object({ alive: Type.Literal(true) }) },
        },
      },
      async () => ({ alive: true }),
    );
    scope.get(
      '/readyz',
      {
        schema: {
          summary: 'Ready: it votes. Otherwise 503; the reason for who may read.',
          response: { 200: readinessSchema, 503: readinessSchema },
        },
      },
      async (request, reply) => {
        const { failed } = snapshot();
        void reply.code(failed ? 503 : 200);
        if (callerOf(request).role === 'none') return { ready: !failed };
        const text = 'the disk of the witness failed; it answers nobody until it is restarted';
        return { ready: !failed, problems: failed ? [{ code: 'disk-failed', text }] : [] };
      },
    );
    scope.get(
      '/metrics',
      { schema: { summary: "Metrics in Prometheus' text format.", produces: ['text/plain'] } },
      async (_request, reply) =>
        reply.type(registry.contentType).send(await registry.text(snapshot())),
    );
    scope.get('/v1/status', { schema: { summary: 'All of the witness.' } }, async () => snapshot());
    scope.get('/v1/openapi.json', { schema: { hide: true } }, async () => api.swagger());
  });
  return api;
}
