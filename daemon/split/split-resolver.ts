/**
 * Ends a split (R36): an operator says which side is given up. That side remembers it, durably,
 * before anything else; from then on it goes on by itself, over restarts of either site:
 *
 *   remembered: its reign is over, its acceptor hears the other site again, its clients are gone
 *     -> what it had answered is in its data files, what it had changed is copied aside
 *     -> the other side reigns, in an epoch newer than any that is known here
 *     -> it joins that side by a resync, whose last step forgets all this
 *
 * The other side keeps nothing: it is asked until it reigns. While they are apart nothing happens.
 */

import type { GroupId } from '../../wal/frame.ts';
import type { Log } from '../../wal/log.ts';
import { CasemateError } from '../errors.ts';
import { type ForcedPromotionHost, promoteByForce, servesAsPrimary } from '../forced-promotion.ts';
import type { OperationsHost } from '../operations.ts';
import type { PeerCallResult } from '../peer-calls.ts';
import type { SiteGroups } from '../site-groups.ts';
import { delayOn, type SitePorts } from '../site-ports.ts';
import type { ResolvedSplit, SplitSide, SplitStatus } from '../site-status.ts';
import { isSameResolve, type SiteStore, type StoredResolve } from '../store/site-store.ts';
import type { Group } from '../volume/group.ts';
import { splitSide } from './changed-extents.ts';
import { isSplit } from './is-split.ts';
import { asideBytes, asideDirectory, keepAside } from './kept-aside.ts';

/** Between two attempts at what could not be done yet. */
const retryMs = 1000;
/** Copying aside goes on after this; who asked for it need not wait. */
const asideMsMax = 15_000;
/** Two sites that have just met compare their histories for so long at most. */
const compareMsMax = 5000;
/** What each side has changed is looked at so often while a group is split. */
const lookEveryMs = 2000;
/** Room that stays free beside what is kept aside. */
const spareBytes = 16 * 1024 * 1024;

export interface SplitResolverHost {
  readonly site: ForcedPromotionHost &
    Pick<OperationsHost, 'call' | 'event' | 'recordForcedPromotion'>;
  readonly groups: Pick<SiteGroups, 'get' | 'disconnect'>;
  readonly store: SiteStore;
  readonly log: Pick<Log, 'readFrames'>;
  readonly ports: Pick<SitePorts, 'disk' | 'clock' | 'wallMs' | 'freeBytesAt'>;
  readonly dataDirectory: string;
  /** @throws CasemateError ERR_NO_SUCH_VOLUME */
  find(volume: string): { readonly group: Group };
  /** The site is closed or has failed: nothing goes on here. */
  isOver(): boolean;
}

export class SplitResolver {
  readonly #host: SplitResolverHost;
  /** Groups whose side here is being given up by this life. */
  readonly #running = new Set<GroupId>();
  /**
   * Those that are about to be: it is being looked whether that may be. The other site is told so
   * before it is asked the same, or both sides could be given up at once.
   */
  readonly #claims = new Map<GroupId, Promise<void>>();
  /** Groups that are being promoted for the other site. */
  readonly #winning = new Set<GroupId>();
  /** What status shows, and when it is to be looked at again. */
  readonly #shown = new Map<GroupId, { status: SplitStatus | undefined; dueMs: number }>();

  readonly #delay: (ms: number) => Promise<void>;

  constructor(host: SplitResolverHost) {
    this.#host = host;
    this.#delay = delayOn(host.ports.clock);
  }

  /** Goes on with what a last life had begun, and looks at what is split. */
  tick(groups: Iterable<Group>): void {
    for (const group of groups) {
      if (group.view.resolving) this.#start(group);
      if (isSplit(group) || group.view.resolving) this.#look(group);
      else this.#shown.delete(group.groupId);
    }
  }

  /** How this side of the group stands, for the other one. */
  async side(groupId: GroupId): Promise<PeerCallResult<'splitSide'>> {
    const group = this.#group(groupId);
    const split = isSplit(group);
    const resolving = group.view.resolving || this.#claims.has(groupId);
    // What can't be shown does not keep it from being ended.
    const side = split || resolving ? await this.#sideOf(group).catch(() => undefined) : undefined;
    return { split, resolving, ...(side === undefined ? {} : { side }) };
  }

  /** Both sides of the split as they were seen last; undefined if the group is not split. */
  status({ groupId }: Group): SplitStatus | undefined {
    return this.#shown.get(groupId)?.status;
  }

  #sideOf(group: Group): Promise<SplitSide> {
    return splitSide(group, { site: this.#host.site.siteName, log: this.#host.log });
  }

  #look(group: Group): void {
    const { clock } = this.#host.ports;
    const before = this.#shown.get(group.groupId);
    if (before !== undefined && clock.nowMs() < before.dueMs) return;
    const shown = { status: before?.status, dueMs: clock.nowMs() + lookEveryMs };
    this.#shown.set(group.groupId, shown);
    this.#compare(group).then(
      (status) => {
        shown.status = status;
      },
      (error: unknown) => this.#failed(group, 'split-not-shown', error),
    );
  }

  async #compare(group: Group): Promise<SplitStatus> {
    const { site } = this.#host;
    const { siteName, peerConnected } = site;
    const here = await this.#sideOf(group);
    const { groupId } = group;
    const known = this.#shown.get(groupId)?.status?.there;
    const answer = peerConnected
      ? await site.call('splitSide', { groupId }).catch(() => undefined)
      : undefined;
    const there = answer?.side ?? known;
    return {
      ...(group.view.resolving ? { givenUp: siteName } : {}),
      here,
      ...(there === undefined ? {} : { there }),
    };
  }

  /** Gives up the side of `drop`, one of the two sites; resolves when that goes on by itself. */
  async resolve(name: string, drop: string): Promise<ResolvedSplit> {
    const { siteName, peerName } = this.#host.site;
    const { group } = this.#host.find(name);
    if (drop !== siteName && drop !== peerName) {
      throw new CasemateError(
        'ERR_NO_SUCH_SITE',
        `"${drop}" is no site of this pair: they are ${siteName} and ${peerName}`,
        { hint: 'Name the site whose changes are given up.' },
      );
    }
    await this.#checkSplit(group, drop === siteName);
    const { groupId } = group;
    const kept =
      drop === siteName
        ? await this.giveUpHere(groupId, name)
        : await this.#host.site.call('resolveHere', { groupId, volume: name });
    return { site: drop, ...kept };
  }

  async #checkSplit(group: Group, dropsOwn: boolean): Promise<void> {
    const { site } = this.#host;
    const { peerName, peerConnected } = site;
    if (!peerConnected) {
      throw new CasemateError(
        'ERR_PEER_NEEDED',
        `ending a split needs both sites, and ${peerName} is not connected`,
        { hint: '`casemate status` says why it is not connected.', status: 503 },
      );
    }
    let isLate = false;
    const compared = (): boolean => isLate || !isComparing(group);
    if (!compared()) await Promise.race([group.waitFor(compared), this.#delay(compareMsMax)]);
    isLate = true;
    const there = await this.#host.site.call('splitSide', { groupId: group.groupId });
    const begun = dropsOwn ? group.view.resolving : there.resolving;
    const against = dropsOwn ? there.resolving : group.view.resolving;
    if (against) throw otherIsGivenUp(group);
    if (begun || there.split || isSplit(group)) return;
    throw new CasemateError('ERR_NOT_SPLIT', `"${group.groupName}" is not split`, {
      hint: '`casemate why` says how it stands.',
      status: 409,
    });
  }

  /** This side is the one that is given up; also asked by the peer. */
  async giveUpHere(groupId: GroupId, volume: string): Promise<PeerCallResult<'resolveHere'>> {
    const { store, dataDirectory, ports } = this.#host;
    const group = this.#group(groupId);
    await this.#remembered(group);
    this.#start(group);
    const { startedAtMs } = store.resolve(groupId) ?? { startedAtMs: ports.wallMs() };
    const isKept = (): boolean => store.resolve(groupId)?.keptAside !== false;
    for (let waitedMs = 0; waitedMs < asideMsMax && !isKept(); waitedMs += 100)
      await this.#delay(100);
    return { directory: asideDirectory(dataDirectory, volume, startedAtMs), done: isKept() };
  }

  /** Whoever asks for it at the same time waits for the same. */
  async #remembered(group: Group): Promise<void> {
    const { groupId } = group;
    if (group.view.resolving) return;
    const claim = this.#claims.get(groupId) ?? this.#remember(group);
    this.#claims.set(groupId, claim);
    try {
      await claim;
    } finally {
      if (this.#claims.get(groupId) === claim) this.#claims.delete(groupId);
    }
  }

  async #remember(group: Group): Promise<void> {
    const { store, ports, dataDirectory, site } = this.#host;
    const { siteName } = site;
    const neededBytes = await asideBytes(group);
    const freeBytes = await ports.freeBytesAt?.(dataDirectory);
    if (freeBytes !== undefined && freeBytes < neededBytes + spareBytes) {
      throw new CasemateError(
        'ERR_NO_ROOM_ASIDE',
        `${siteName} has ${freeBytes} bytes free, and keeping its changes to ` +
          `"${group.groupName}" aside takes up to ${neededBytes + spareBytes}`,
        { hint: `Make room on the file system of ${dataDirectory}, then try again.`, status: 507 },
      );
    }
    const { resolving } = await site.call('splitSide', { groupId: group.groupId });
    if (resolving) throw otherIsGivenUp(group);
    const { view } = group;
    const known = Math.max(view.config?.epoch ?? 0, site.acceptedEpoch(group));
    store.beginResolve(group.groupId, {
      startedAtMs: ports.wallMs(),
      // A swap that is under way may still be won somewhere.
      epoch: known + (view.swapPending ? 1 : 0),
      keptAside: false,
    });
    group.tell({ kind: 'resolving', keptAside: false });
    const text = `the side of ${siteName} is given up at record ${view.end.sequence}`;
    this.#host.site.event('warn', 'resolve-begun', group.groupName, text);
  }

  #start(group: Group): void {
    const { groupId } = group;
    if (this.#running.has(groupId) || this.#host.isOver()) return;
    this.#running.add(groupId);
    this.#host.groups.disconnect(group);
    this.#run(group)
      .catch((error: unknown) => this.#failed(group, 'resolve-interrupted', error))
      .finally(() => this.#running.delete(groupId));
  }

  async #run(group: Group): Promise<void> {
    const { store } = this.#host;
    const row = store.resolve(group.groupId);
    if (row === undefined) throw new Error('a side that is given up is in the store');
    // A promotion by force ends it, even if this side is given up anew after that.
    const isOver = (): boolean =>
      this.#host.isOver() ||
      group.closed ||
      !group.view.resolving ||
      !isSameResolve(store.resolve(group.groupId), row);
    const { completed } = group.resync;
    if (!row.keptAside) await this.#keepAside(group, row, isOver);
    if (isOver()) return;
    group.tell({ kind: 'resolving', keptAside: true });
    while (!isOver()) {
      if (group.view.joinedSession === undefined) await this.#needWinner(group, row.epoch);
      await this.#delay(retryMs);
    }
    if (!group.closed && !this.#host.isOver() && group.resync.completed > completed) {
      const text = 'this side is a copy of the other one now';
      this.#host.site.event('info', 'resolve-done', group.groupName, text);
    }
  }

  async #keepAside(group: Group, row: StoredResolve, isOver: () => boolean): Promise<void> {
    const { ports, dataDirectory, site, store } = this.#host;
    const { disk } = ports;
    const { startedAtMs: atMs } = row;
    const isQuiet = (): boolean => group.view.durable >= group.view.end.sequence;
    await group.waitFor(() => isOver() || isQuiet());
    // Told after a promotion by force it would give this side up once more.
    if (isOver()) return;
    group.tell({ kind: 'resolving', keptAside: false });
    await group.waitFor(() => isOver() || group.volumes.committedThrough >= group.view.commit);
    while (!isOver()) {
      try {
        await group.volumes.idle();
        await keepAside({ disk, dataDirectory, site: site.siteName, group, atMs, isOver });
        if (isOver()) return;
        store.resolveKeptAside(group.groupId, row);
        const text = [...group.volumes.all]
          .map(({ name }) => asideDirectory(dataDirectory, name, atMs))
          .join(', ');
        this.#host.site.event(
          'info',
          'resolve-kept-aside',
          group.groupName,
          `what it held: ${text}`,
        );
        return;
      } catch (error) {
        if (isOver()) return;
        this.#failed(group, 'resolve-interrupted', error);
        await this.#delay(retryMs * 5);
      }
    }
  }

  /** The other side reigns, above every epoch that is known here; else it is asked again. */
  async #needWinner({ groupId }: Group, above: number): Promise<void> {
    if (!this.#host.site.peerConnected) return;
    try {
      await this.#host.site.call('resolveWinner', { groupId, above });
    } catch {
      // It says so itself, if it can't; what matters here is only that it reigns at last.
    }
  }

  /** The other site gives its side up: this one reigns. */
  async win(groupId: GroupId, above: number): Promise<void> {
    const group = this.#group(groupId);
    const { view } = group;
    if (view.resolving) {
      throw new CasemateError('ERR_RESOLVING', 'this side is being given up as well', {
        hint: 'Promote one of the two sites by force.',
        status: 409,
      });
    }
    const { config, waitReason } = view;
    const isOwn = config?.primary === this.#host.site.storeId && config.epoch > above;
    if (isOwn && (servesAsPrimary(group) || waitReason?.code !== 'split')) return;
    if (this.#winning.has(groupId)) return;
    this.#winning.add(groupId);
    try {
      const { end } = view;
      const { epoch } = await promoteByForce(this.#host.site, group, above);
      const text = `epoch ${epoch} begins at record ${end.sequence}: the other side is given up`;
      this.#host.site.recordForcedPromotion(group, { epoch, end, text });
      this.#host.site.event('warn', 'resolve-won', group.groupName, text);
    } finally {
      this.#winning.delete(groupId);
    }
  }

  #failed(group: Group, code: string, error: unknown): void {
    if (this.#host.isOver() || group.closed) return;
    const text = error instanceof Error ? error.message : String(error);
    this.#host.site.event('error', code, group.groupName, `goes on in a moment: ${text}`);
  }

  #group(groupId: GroupId): Group {
    const group = this.#host.groups.get(groupId);
    if (group !== undefined) return group;
    throw new CasemateError('ERR_NO_SUCH_GROUP', `there is no group ${groupId} here`, {
      status: 404,
    });
  }
}

function otherIsGivenUp({ groupName }: Group): CasemateError {
  return new CasemateError(
    'ERR_RESOLVING',
    `the other side of "${groupName}" is being given up already`,
    {
      hint: '`casemate status` shows how far that is; if nothing is, try again at one site only.',
      status: 409,
    },
  );
}

/** The two sites have met and have not told each other yet whether they fit. */
function isComparing({ view }: Group): boolean {
  return view.peer.kind === 'handshaking' || view.peer.kind === 'disconnected';
}
