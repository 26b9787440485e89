/**
 * The page at `/` and what it is made of: three files beside this one, read when the daemon starts,
 * and the JSON it shows. The page changes nothing, brings no script of others, and may talk to this
 * daemon only: its policy says so to the browser.
 */
import type { HttpServer } from '../api/http-server.ts';
import type { SiteControl } from '../site-status.ts';
import { readOwnFile } from '../system-files.ts';
import { eventsShown, overview, overviewSchema } from './overview.ts';
import type { RequestFigures } from './request-figures.ts';

export interface PageOptions {
  readonly control: SiteControl;
  readonly figures: () => RequestFigures;
}

const files = [
  { url: '/', name: 'page.html', type: 'text/html; charset=utf-8' },
  { url: '/page/page.css', name: 'page.css', type: 'text/css; charset=utf-8' },
  { url: '/page/page.js', name: 'page.js', type: 'text/javascript; charset=utf-8' },
  { url: '/page/plot.js', name: 'plot.js', type: 'text/javascript; charset=utf-8' },
] as const;

const pageHeaders = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  // A daemon that was upgraded brings a page that fits.
  'cache-control': 'no-store',
};

/** What a browser gets before it has a token: nothing of the site. */
export const pagePaths: readonly string[] = files.map(({ url }) => url);

/** Adds the page and `/v1/overview` to the server. */
export function addPageRoutes(api: HttpServer, { control, figures }: PageOptions): void {
  for (const { url, name, type } of files) {
    const content = readOwnFile(`daemon/page/${name}`);
    api.get(url, { schema: { hide: true } }, async (_request, reply) =>
      reply.headers(pageHeaders).type(type).send(content),
    );
  }
  api.get(
    '/v1/overview',
    {
      schema: {
        summary: 'What the page shows: how the site is, in words, and sums for plots.',
        response: { 200: overviewSchema },
      },
    },
    async (_request, reply) => {
      void reply.header('cache-control', 'no-store');
      return overview(await control.status(), control.events({ limit: eventsShown }), figures());
    },
  );
}
