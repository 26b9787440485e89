/** The metric of the HTTP API that a site and a witness both have, each under its own name. */
import type { NumberMetric } from './metric.ts';
import type { ApiRefused } from './snapshot.ts';

/** What is read from the figures of either. */
interface WithApi {
  readonly apiRefused?: ApiRefused;
}

export function apiRefusedMetric(name: string): NumberMetric<WithApi> {
  return {
    type: 'counter',
    name,
    help: 'Requests to the HTTP API that were refused for their token: none, a wrong one, or one whose role is too small.',
    labels: ['reason'],
    read: ({ apiRefused = {} }) =>
      Object.entries(apiRefused).map(([reason, value]) => ({ labels: { reason }, value })),
  };
}
