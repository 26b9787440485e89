/** Whether the daemon of a configuration runs, by what answers at its API. */
import type { StatusAnswer } from '../api/schemas.ts';

export type Running =
  | { readonly kind: 'stopped' }
  /** The daemon that the configuration describes; a witness tells no status of a site. */
  | {
      readonly kind: 'running';
      readonly version: string | undefined;
      readonly status: StatusAnswer | undefined;
    }
  /** Something answers at `api.listen`, but it is not this daemon, or can't be asked. */
  | { readonly kind: 'unclear'; readonly text: string };
