/**
 * A site that has groups and no log: the log's file system was not mounted, or the log was moved
 * away. A blank one is made, and all groups are marked first, since nothing tells afterwards what
 * is missing in them (R24, R30). A site without groups is new.
 */
import type { Logger } from './logger.ts';
import type { SiteStore } from './store/site-store.ts';

export function noteLostLog(site: {
  readonly store: Pick<SiteStore, 'logLost' | 'events'>;
  readonly logger: Pick<Logger, 'error'>;
  readonly atMs: number;
}): void {
  const { store, logger, atMs } = site;
  if (store.logLost() === 0) return;
  const code = 'log-lost';
  const text =
    'there is no log, and a blank one is made: records that this site had acknowledged may be ' +
    'missing, so that its copies count as damaged until the peer, or a forced promotion, mends that';
  logger.error({ code }, text);
  store.events.append({ level: 'error', code, group: undefined, text, atMs });
}
