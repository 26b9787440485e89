/** What the site says of itself: status, events, and why something does not go on. */
import type { Static } from '@sinclair/typebox';
import type { SiteControl } from '../site-status.ts';
import type { HttpServer } from './http-server.ts';
import {
  errorSchema,
  eventsQuerySchema,
  eventsSchema,
  siteStatusSchema,
  whySchema,
} from './schemas.ts';
import { explain } from './why.ts';

/** Adds the routes to the server. */
export function addSiteRoutes(api: HttpServer, control: SiteControl): void {
  api.get(
    '/v1/status',
    { schema: { summary: 'All of the site.', response: { 200: siteStatusSchema } } },
    async () => await control.status(),
  );
  api.get<{ Querystring: Static<typeof eventsQuerySchema> }>(
    '/v1/events',
    {
      schema: {
        summary: 'What happened at this site, newest first.',
        querystring: eventsQuerySchema,
        response: { 200: eventsSchema, '4xx': errorSchema },
      },
    },
    async (request) => ({ events: control.events({ limit: request.query.limit }) }),
  );
  api.get(
    '/v1/why',
    {
      schema: {
        summary: 'How each group stands, in sentences, with a command that is safe now.',
        response: { 200: whySchema },
      },
    },
    async () => ({ groups: explain(await control.status()) }),
  );
}
