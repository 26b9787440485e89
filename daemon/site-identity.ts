/** How a site introduces itself to its peer and to its witness. */
import type { OwnIdentity } from '../replication/link/handshake.ts';
import type { StoreId } from '../wal/frame.ts';
import type { Config } from './config/schema.ts';
import { softwareVersion } from './version.ts';

/** This site, in the life of the process that `bootId` names. */
export function siteIdentity(config: Config, storeId: StoreId, bootId: string): OwnIdentity {
  return { clusterId: config.cluster, siteName: config.site, storeId, bootId, softwareVersion };
}
