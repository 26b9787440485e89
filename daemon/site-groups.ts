/**
 * The groups of this site: opened from the store at start, made when a volume is created or when
 * the peer has one that this site lacks, dropped when a group is removed (R39). Also the directory
 * in which the NBD server finds its exports.
 */
import type { GroupId } from '../wal/frame.ts';
import type { LogRecovery } from '../wal/log-types.ts';
import { CasemateError } from './errors.ts';
import { type EndHow, GroupEndings } from './group-endings.ts';
import type { BlockDevice, ExportDirectory } from './nbd/block-device.ts';
import type { GroupDescription } from './peer-calls.ts';
import { SiteExports } from './site-exports.ts';
import { checkRegister, fixedAcceptors, type SiteRegister } from './site-register.ts';
import type { StoredGroup } from './store/site-store.ts';
import type { Group } from './volume/group.ts';
import type { GroupContext } from './volume/group-context.ts';
import { sweepLeftFiles } from './volume/left-files.ts';
import { openGroup } from './volume/open-group.ts';
import type { Volume } from './volume/volume.ts';
import type { Voters } from './voters.ts';

/** A group that is removed is ended by who removed it, or by this site after so long. */
const removedMsMax = 5000;

export interface SiteGroupsOptions {
  readonly context: GroupContext;
  readonly siteName: string;
  readonly register: SiteRegister;
  readonly voters: Voters;
  /** A volume is gone: its clients are disconnected. */
  readonly volumeGone: (name: string) => void;
  /** This site is removing the group. */
  readonly isRemoving: (group: Group) => boolean;
}

export class SiteGroups implements ExportDirectory {
  readonly #options: SiteGroupsOptions;
  readonly #groups = new Map<GroupId, Group>();
  /** Mode of each group, as the store has it. */
  readonly #stored = new Map<GroupId, StoredGroup>();
  /** When a group was first seen to be removed. */
  readonly #removedMs = new Map<GroupId, number>();
  readonly #exports: SiteExports;
  readonly #endings: GroupEndings;

  constructor(options: SiteGroupsOptions) {
    this.#options = options;
    this.#exports = new SiteExports(options.volumeGone);
    this.#endings = new GroupEndings(options.context);
  }

  /** Opens all groups of the store with what the log's recovery found of them. */
  async openAll(recovery: LogRecovery): Promise<void> {
    const { store } = this.#options.context;
    await sweepLeftFiles(this.#options.context);
    const checkpoints = store.loadCheckpoints();
    const known = new Set(
      store
        .groups()
        .filter(({ removed }) => !removed)
        .map(byId),
    );
    // Left over from a group that was removed just before a crash: nothing of it is needed.
    for (const groupId of recovery.groups.keys()) {
      if (!known.has(groupId)) this.#options.context.log.forget(groupId);
    }
    for (const stored of store.groups()) {
      if (stored.removed) continue;
      await this.#open(stored, {
        checkpoint: checkpoints.get(stored.groupId),
        recovered: recovery.groups.get(stored.groupId),
      });
    }
    this.#refreshExports();
  }

  get all(): IterableIterator<Group> {
    return this.#groups.values();
  }

  get(groupId: GroupId): Group | undefined {
    return this.#groups.get(groupId);
  }

  stored(groupId: GroupId): StoredGroup {
    const stored = this.#stored.get(groupId);
    if (stored === undefined) throw new Error(`group ${groupId} is not open`);
    return stored;
  }

  /** Groups that this site was founding when it was started. */
  get unfounded(): readonly Group[] {
    return [...this.#groups.values()].filter(({ groupId }) => this.stored(groupId).founding);
  }

  *volumes(): IterableIterator<{ group: Group; volume: Volume }> {
    for (const group of this.#groups.values()) {
      for (const volume of group.volumes.all) yield { group, volume };
    }
  }

  find(name: string): BlockDevice | undefined {
    return this.#exports.find(name);
  }

  list(): readonly BlockDevice[] {
    return this.#exports.list();
  }

  // --- making and dropping

  /** The acceptors that a group's mode stands for (R6), where `current` are those it has. */
  acceptorsOf(
    group: StoredGroup,
    me: string,
    peer: string,
    current: readonly string[],
  ): readonly string[] {
    const fixed = fixedAcceptors(this.#options.register, current);
    if (fixed !== undefined) return fixed;
    if (group.onPeerLoss === 'suspend') return this.#options.voters.acceptors(me, peer, current);
    return group.preferredSite === this.#options.siteName ? [me] : [peer];
  }

  describe(groupId: GroupId): GroupDescription {
    const { name, onPeerLoss, preferredSite, createdAtMs, removed } = this.stored(groupId);
    return {
      groupId,
      name,
      onPeerLoss,
      preferredSite: preferredSite ?? null,
      createdAtMs,
      removed,
    };
  }

  /** All groups that this site has or had, for the peer. */
  catalog(): GroupDescription[] {
    return this.#options.context.store.groups().map((stored) => ({
      groupId: stored.groupId,
      name: stored.name,
      onPeerLoss: stored.onPeerLoss,
      preferredSite: stored.preferredSite ?? null,
      createdAtMs: stored.createdAtMs,
      removed: stored.removed,
    }));
  }

  /** Makes a group that has no records yet: one that is being founded, or to join the peer's. */
  async make(
    description: Omit<GroupDescription, 'removed'>,
    how: 'founding' | 'joining' = 'joining',
  ): Promise<Group> {
    const { context } = this.#options;
    const { groupId, name, onPeerLoss, preferredSite, createdAtMs } = description;
    const known = this.#groups.get(groupId);
    if (known !== undefined) return known;
    for (const group of this.#groups.values()) {
      if (group.groupName !== name) continue;
      throw new CasemateError('ERR_GROUP_EXISTS', `there is another group "${name}" here`, {
        hint: 'Delete one of the two.',
        status: 409,
      });
    }
    const made = { groupId, name, onPeerLoss, createdAtMs };
    context.store.createGroup(
      { ...made, preferredSite: preferredSite ?? undefined },
      how === 'founding',
    );
    const stored = context.store.groups().find((each) => each.groupId === groupId);
    if (stored === undefined) throw new Error('the store keeps what it was given');
    return await this.#open(stored, { checkpoint: undefined, recovered: undefined });
  }

  /** Ends a group here; resolves when that is done, or goes on by itself when there is room. */
  async drop(group: Group, how: EndHow): Promise<void> {
    if (this.#groups.get(group.groupId) !== group) return;
    this.#groups.delete(group.groupId);
    this.#stored.delete(group.groupId);
    this.#removedMs.delete(group.groupId);
    this.#refreshExports();
    await this.#endings.end(group, how);
  }

  /** The peer's list of groups: makes what is missing here, ends what was removed there. */
  async takeCatalog(groups: readonly GroupDescription[]): Promise<void> {
    const { context } = this.#options;
    const had = new Map(context.store.groups().map((stored) => [stored.groupId, stored]));
    for (const description of groups) {
      if (this.#endings.has(description.groupId)) continue;
      const open = this.#groups.get(description.groupId);
      if (description.removed) {
        if (open === undefined) continue;
        await this.drop(open, 'set-aside');
        const text = 'was removed while this site was away; its data is kept in "removed"';
        context.event('warn', 'group-removed', description.name, text);
      } else if (open === undefined && had.get(description.groupId)?.removed !== true) {
        await this.make(description);
      }
    }
  }

  /**
   * Ends the groups that the register says are removed: whoever removed them tells this site to
   * delete them; if nobody does, their data is set aside (R39).
   */
  async endRemoved(isRemovedHere: (group: Group) => boolean): Promise<void> {
    const { context } = this.#options;
    const nowMs = context.nowMs();
    for (const group of [...this.#groups.values()]) {
      if (group.view.config?.removed !== true || isRemovedHere(group)) continue;
      const seenMs = this.#removedMs.get(group.groupId) ?? nowMs;
      this.#removedMs.set(group.groupId, seenMs);
      if (nowMs - seenMs < removedMsMax) continue;
      await this.drop(group, 'set-aside');
      const text = 'was removed; its data is kept in "removed"';
      context.event('warn', 'group-removed', group.groupName, text);
    }
  }

  /** Clients of the group's volumes are disconnected: what they know of the data is void. */
  disconnect(group: Group): void {
    for (const { name } of group.volumes.all) this.#options.volumeGone(name);
  }

  async closeAll(): Promise<void> {
    for (const group of this.#groups.values()) await group.close();
    await this.#endings.close();
  }

  async #open(
    stored: StoredGroup,
    found: Pick<Parameters<typeof openGroup>[0], 'checkpoint' | 'recovered'>,
  ): Promise<Group> {
    const { context, register } = this.#options;
    const group = await openGroup({
      context,
      stored,
      ...found,
      register: register.open(stored.groupId),
      tableChanged: () => this.#refreshExports(),
      defaultAcceptors: (me, peer, current) => this.acceptorsOf(stored, me, peer, current),
    });
    checkRegister(register, stored.name, group.view.config?.acceptors);
    this.#groups.set(stored.groupId, group);
    this.#stored.set(stored.groupId, stored);
    group.start();
    return group;
  }

  #refreshExports(): void {
    const isRemoving = (group: Group): boolean => this.#options.isRemoving(group);
    this.#exports.refresh(
      [...this.volumes()].map(({ group, volume }) => ({
        volume,
        isGoing: () => isRemoving(group),
      })),
    );
  }
}

function byId({ groupId }: StoredGroup): GroupId {
  return groupId;
}
