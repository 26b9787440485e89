/** /healthz, /readyz and /metrics: for supervisors, load balancers and Prometheus. */
import { Type } from '@sinclair/typebox';
import { readinessProblems } from '../../metrics/health.ts';
import type { SiteControl } from '../site-status.ts';
import type { CallerOf } from './guards.ts';
import type { HttpServer } from './http-server.ts';
import { readinessSchema } from './schemas.ts';

export interface HealthRoutesOptions {
  readonly control: SiteControl;
  readonly metricsText: () => Promise<string>;
  readonly callerOf: CallerOf;
}

/** What supervisors and load balancers ask without a token. */
export const healthPaths: readonly string[] = ['/healthz', '/readyz'];

const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

/** Adds the routes to the server. */
export function addHealthRoutes(
  api: HttpServer,
  { control, metricsText, callerOf }: HealthRoutesOptions,
): void {
  api.get(
    '/healthz',
    {
      schema: {
        summary: 'Alive: the process answers. Says nothing about volumes.',
        response: { 200: Type.Object({ alive: Type.Literal(true) }) },
      },
    },
    async () => ({ alive: true }),
  );
  api.get(
    '/readyz',
    {
      schema: {
        summary: 'Ready: every group serves. Otherwise 503; the reasons for who may read.',
        response: { 200: readinessSchema, 503: readinessSchema },
      },
    },
    async (request, reply) => {
      const problems = readinessProblems(await control.status());
      const ready = problems.length === 0;
      void reply.code(ready ? 200 : 503);
      // A load balancer has no secret, and needs no names.
      if (callerOf(request).role === 'none') return { ready };
      return { ready, problems: problems.map(({ code, group, text }) => ({ code, group, text })) };
    },
  );
  api.get(
    '/metrics',
    {
      schema: {
        summary: "Metrics in Prometheus' text format.",
        produces: ['text/plain'],
      },
    },
    async (_request, reply) => reply.type(metricsContentType).send(await metricsText()),
  );
}
