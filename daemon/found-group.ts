/**
 * The first configuration of a group (R39): won in the register by the site that makes the group.
 * Until then the store knows the group as one that is being founded, so that a site that dies in
 * between ends it at its next start: a group without a configuration would keep its name for ever.
 */
import type { GroupConfig } from '../replication/core/config.ts';
import { isCancelled } from '../replication/errors.ts';
import { CasemateError } from './errors.ts';
import type { PeerCallName, PeerCallParameters, PeerCallResult } from './peer-calls.ts';
import type { Group } from './volume/group.ts';

/** What founding a group needs of the site. */
export interface FoundingHost {
  readonly peerName: string;
  readonly storeId: string;
  readonly registerType: 'sites' | 'etcd';
  describe(group: Group): PeerCallParameters<'groupAnnounce'>;
  acceptorsOf(group: Group): readonly string[];
  /** The register has the group's first configuration, or another site's: kept durably. */
  founded(group: Group): void;
  dropGroup(group: Group, how: 'delete-files'): Promise<void>;
  newConfig(config: Omit<GroupConfig, 'epochId' | 'leaseMs' | 'graceMs'>): GroupConfig;
  call<Name extends PeerCallName>(
    method: Name,
    parameters: PeerCallParameters<Name>,
  ): Promise<PeerCallResult<Name>>;
  event(level: 'info' | 'warn' | 'error', code: string, group: string, text: string): void;
  /** What `begin` begins, or ERR_TIMEOUT, which says `what`, and the signal to give it up. */
  within<Result>(what: string, begin: (givenUp: AbortSignal) => Promise<Result>): Promise<Result>;
}

/**
 * Wins the group's first configuration: both acceptors have to agree (R39). The peer makes the
 * group first: it may have one of that name which this site has not heard of.
 *
 * @throws {CasemateError} what is in the way; the group is gone then, on both sites
 */
export async function foundGroup(host: FoundingHost, group: Group, name: string): Promise<void> {
  const first = firstConfig(host, group);
  try {
    await host.call('groupAnnounce', host.describe(group));
    // Why etcd does not answer is an answer; the swap would wait until it does.
    if (host.registerType === 'etcd') await group.register.read();
    const won = await host.within(`agreeing on volume "${name}" with ${host.peerName}`, () =>
      group.register.swap(undefined, first),
    );
    if (won.outcome !== 'won') {
      throw new CasemateError('ERR_GROUP_EXISTS', `group of "${name}" exists already`);
    }
  } catch (error) {
    await abandon(host, group);
    throw error;
  }
  group.tell({ kind: 'created', config: first });
  host.founded(group);
}

/**
 * Ends a group that this site made in an earlier life, unless it was founded after all: a removed
 * group takes the place of its first configuration, so that nothing of then can still be won.
 */
export async function endUnfounded(host: FoundingHost, group: Group): Promise<void> {
  const none: GroupConfig = { ...firstConfig(host, group), removed: true };
  try {
    const result = await group.register.swap(undefined, none);
    if (result.outcome === 'lost' && result.current.removed !== true) {
      host.founded(group);
      return;
    }
  } catch (error) {
    // The group was ended meanwhile, or this site is; then its next start goes on with it.
    if (isCancelled(error)) return;
    throw error;
  }
  await abandon(host, group);
  const text = 'was not made: this site had stopped in the middle of it. Its name is free again';
  host.event('warn', 'group-abandoned', group.groupName, text);
}

function firstConfig(host: FoundingHost, group: Group): GroupConfig {
  return host.newConfig({
    epoch: 1,
    primary: host.storeId,
    inSync: [host.storeId],
    acceptors: [...host.acceptorsOf(group)],
  });
}

async function abandon(host: FoundingHost, group: Group): Promise<void> {
  await host.dropGroup(group, 'delete-files');
  // If it can't be told now, the list of groups tells it when the sites are connected again.
  await host.call('groupRemoved', { groupId: group.groupId }).catch(() => undefined);
}
