/**
 * The register of this site's groups, as the configuration chooses it: the one place that knows
 * which there are.
 */
import { CasRegister } from '../replication/register/cas-register.ts';
import type { AcceptorClient } from '../replication/register/messages.ts';
import type { Register } from '../replication/register/register.ts';
import type { GroupId, StoreId } from '../wal/frame.ts';

export interface SiteRegister {
  /** The register of one group; whoever opens it cancels it. */
  open(groupId: GroupId): Register;
}

export interface SiteRegisterOptions {
  readonly storeId: StoreId;
  readonly bootId: string;
  /** The acceptors that can be asked now. */
  readonly clients: () => readonly AcceptorClient[];
  readonly random: () => number;
  readonly delay: (ms: number) => Promise<void>;
}

/** The register as the configuration chooses it. */
export function siteRegister(options: SiteRegisterOptions): SiteRegister {
  const { storeId: me, bootId, clients, random, delay } = options;
  return {
    open: (groupId) => new CasRegister({ groupId, me, bootId, clients, random, delay }),
  };
}
