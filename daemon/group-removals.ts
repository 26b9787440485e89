/**
 * Removing a group with its last volume (R39): the register decides it, by a configuration after
 * which there is none; then the group ends here, and the other site is told.
 */
import type { GroupId } from '../wal/frame.ts';
import { CasemateError } from './errors.ts';
import type { FoundingHost } from './found-group.ts';
import type { Group } from './volume/group.ts';

export type RemovalsHost = Pick<
  FoundingHost,
  'newConfig' | 'dropGroup' | 'call' | 'within' | 'event'
>;

export class GroupRemovals {
  readonly #host: RemovalsHost;
  /** Until it is known how they end, however long that takes. */
  readonly #removals = new Map<GroupId, Promise<void>>();

  constructor(host: RemovalsHost) {
    this.#host = host;
  }

  /** Whether this site is removing the group, and will end it here when that is done. */
  has({ groupId }: Group): boolean {
    return this.#removals.has(groupId);
  }

  /**
   * Removes the group; who asks again meanwhile waits for the same.
   * @throws {CasemateError} ERR_CONFIG_CHANGED: it is not removed; ERR_TIMEOUT: it may still be
   * @throws {ReplicationError} ERR_REGISTER_UNAVAILABLE: nobody can decide it now
   */
  async remove(group: Group): Promise<void> {
    const { groupId, groupName } = group;
    let removal = this.#removals.get(groupId);
    if (removal === undefined) {
      removal = this.#remove(group).finally(() => this.#removals.delete(groupId));
      this.#removals.set(groupId, removal);
      removal.catch((error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        this.#host.event('warn', 'group-not-removed', groupName, text);
      });
    }
    const known = removal;
    await this.#host.within(`removing group "${groupName}"`, () => known);
  }

  async #remove(group: Group): Promise<void> {
    const { config } = group.view;
    if (config === undefined) throw new Error('a group that serves has a configuration');
    // The register takes one swap of a site at a time: this one would leave the other unanswered.
    if (group.view.swapPending) throw configChanges(group);
    // That nobody can decide now is an answer; the swap would wait until somebody can.
    await group.register.read();
    if (!(await this.#isDecided(group, config.epoch))) throw configChanges(group);
    await this.#host.dropGroup(group, 'delete-files');
    await this.#host.call('groupRemoved', { groupId: group.groupId });
  }

  /** Swaps the group away, unless a swap of the group itself takes this one's place. */
  async #isDecided(group: Group, epoch: number): Promise<boolean> {
    const { config } = group.view;
    if (config?.epoch !== epoch || group.view.swapPending) return false;
    const { forced: _, ...rest } = config;
    const next = this.#host.newConfig({ ...rest, epoch: epoch + 1, removed: true });
    const known = new AbortController();
    const isKnown = (): boolean => group.closed || group.view.config?.epochId !== config.epochId;
    try {
      const result = await Promise.race([
        group.register.swap(config, next),
        group.waitFor(isKnown, known.signal),
      ]);
      if (result === undefined) return group.view.config?.removed === true;
      // The other site may have removed it at the same time.
      return result.outcome === 'won' || result.current.removed === true;
    } finally {
      known.abort();
    }
  }
}

/** Somebody else changes the group at this moment. */
export function configChanges({ groupName }: Group): CasemateError {
  return new CasemateError('ERR_CONFIG_CHANGED', `the configuration of "${groupName}" changes`, {
    hint: 'Try again.',
    status: 409,
  });
}
