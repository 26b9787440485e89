/**
 * What operators do to volumes and roles by hand: create, resize, delete, switch over, promote by
 * force. Each throws a `CasemateError` that says what is in the way and what to do.
 */
import { type GroupId, type HistoryPoint, type LogRecord, recordKind } from '../wal/frame.ts';
import { CasemateError } from './errors.ts';
import { promoteByForce, promotionEvidence, servesAsPrimary } from './forced-promotion.ts';
import { endUnfounded, type FoundingHost, foundGroup } from './found-group.ts';
import { configChanges, GroupRemovals } from './group-removals.ts';
import type { PeerCallParameters } from './peer-calls.ts';
import type { CreateVolume, PromotionEvidence } from './site-status.ts';
import { needOneHistory } from './split/is-split.ts';
import { Turns } from './turns.ts';
import type { Group } from './volume/group.ts';
import { documentRecord } from './volume/record-payloads.ts';
import type { Volume } from './volume/volume.ts';

/** What the operations need of the site. */
export interface OperationsHost extends FoundingHost {
  readonly siteName: string;
  readonly peerStoreId: string | undefined;
  readonly peerConnected: boolean;
  readonly limits: { readonly countMax: number; readonly sizeBytesMax: number };
  /** Throws ERR_VOLUME_SIZE if the file system takes no file of that size. */
  needFileSize(sizeBytes: number): Promise<void>;
  readonly defaults: {
    readonly onPeerLoss: 'suspend' | 'preferred';
    readonly preferredSite: string | undefined;
  };
  volumes(): Iterable<{ group: Group; volume: Volume }>;
  groups(): Iterable<Group>;
  /** Makes a group on this site, not yet in the register: `founded` says when it is. */
  makeGroup(options: {
    name: string;
    onPeerLoss: 'suspend' | 'preferred';
    preferredSite: string | undefined;
  }): Promise<Group>;
  /** Who decides after a forced promotion (R35). */
  readonly forcedAcceptors: readonly string[];
  /** Why the two sites have no witness in common although one of them has one. */
  witnessDifference(): string | undefined;
  /** Epoch of the newest configuration that this site's acceptor has taken; 0 if none. */
  acceptedEpoch(group: Group): number;
  /** Kept for ever, with what was given up. */
  recordForcedPromotion(
    group: Group,
    promotion: { readonly epoch: number; readonly end: HistoryPoint; readonly text: string },
  ): void;
}

/** Who asks: what the peer has passed on is not passed back to it when this site can't do it. */
export type AskedBy = 'operator' | 'peer';

const volumeNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export class Operations {
  readonly #host: OperationsHost;
  readonly #removals: GroupRemovals;
  readonly #turns = new Turns<GroupId>();
  /** Names of volumes that are being created here. */
  readonly #claimed = new Set<string>();

  constructor(host: OperationsHost) {
    this.#host = host;
    this.#removals = new GroupRemovals(host);
  }

  find(name: string): { group: Group; volume: Volume } {
    for (const found of this.#host.volumes()) if (found.volume.name === name) return found;
    throw new CasemateError('ERR_NO_SUCH_VOLUME', `there is no volume "${name}"`, {
      hint: '`casemate volume list` shows the volumes there are.',
      status: 404,
    });
  }

  /** Creates a volume on both sites; resolves when both are in sync (R39, R40). */
  async create(request: CreateVolume): Promise<Volume> {
    this.checkNewVolume(request.name, request.sizeBytes, false);
    return await this.#claiming(request.name, () => this.#create(request));
  }

  async #create(request: CreateVolume): Promise<Volume> {
    const { name, sizeBytes } = request;
    const groupName = request.group ?? name;
    const existing = [...this.#host.groups()].find((group) => group.groupName === groupName);
    if (existing !== undefined) {
      await this.#addVolume(existing, name, sizeBytes, 'operator');
      return this.find(name).volume;
    }
    this.#needPeer(`creating volume "${name}"`);
    await this.#needBothToHold(name, sizeBytes, false);
    const onPeerLoss = request.onPeerLoss ?? this.#host.defaults.onPeerLoss;
    const preferredSite =
      onPeerLoss === 'preferred'
        ? (request.preferredSite ?? this.#host.defaults.preferredSite ?? this.#host.siteName)
        : undefined;
    this.#checkPreferred(preferredSite);
    this.#checkWitness(name);
    const group = await this.#host.makeGroup({ name: groupName, onPeerLoss, preferredSite });
    await foundGroup(this.#host, group, name);
    await this.#inTurn(group, () => this.#appendAdd(group, name, sizeBytes));
    await this.#waitFor(
      `getting volume "${name}" in sync on ${this.#host.peerName}`,
      group,
      () => group.view.inSyncWithPeer && group.view.takesReads,
    );
    await this.#host.call('volumeReady', { name, sizeBytes });
    this.#host.event('info', 'volume-created', groupName, `volume ${name}, ${sizeBytes} bytes`);
    return this.find(name).volume;
  }

  /** Grows a volume on both sites while it is in use. */
  async resize(name: string, sizeBytes: number, by: AskedBy = 'operator'): Promise<Volume> {
    const { group, volume } = this.find(name);
    if (sizeBytes < volume.sizeBytes) {
      throw new CasemateError(
        'ERR_SHRINK',
        `volume "${name}" has ${volume.sizeBytes} bytes; it can't shrink to ${sizeBytes}`,
        { hint: 'A volume only grows. Copy it to a smaller one instead.' },
      );
    }
    if (sizeBytes === volume.sizeBytes) return volume;
    this.checkNewVolume(name, sizeBytes, true);
    this.#needPeer(`growing volume "${name}"`);
    await this.#needBothToHold(name, sizeBytes, true);
    if (!group.view.reigning) {
      await this.#relay(by, group, { action: 'resize', name, sizeBytes, group: null });
    } else {
      await this.#inTurn(group, async () => {
        this.#needVolume(group, volume);
        const document = { volume: volume.number, sizeBytes };
        const record = documentRecord(recordKind.volumeResize, 0, document);
        await this.#append(group, record, `growing volume "${name}"`);
      });
      this.#host.event('info', 'volume-resized', group.groupName, `${name}: ${sizeBytes} bytes`);
    }
    await this.ready(name, sizeBytes);
    await this.#host.call('volumeReady', { name, sizeBytes });
    return volume;
  }

  /** Deletes a volume and its data on both sites. */
  async delete(name: string, by: AskedBy = 'operator'): Promise<void> {
    const { group, volume } = this.find(name);
    this.#needPeer(`deleting volume "${name}"`);
    const there = await this.#host.call('volumeClients', { name });
    const connections = volume.connections + there.connections;
    if (connections > 0) {
      throw new CasemateError(
        'ERR_VOLUME_IN_USE',
        `volume "${name}" has ${connections} client connection(s)`,
        { hint: 'Detach its clients first.', status: 409 },
      );
    }
    if (!group.view.reigning) {
      await this.#relay(by, group, { action: 'delete', name, sizeBytes: 0, group: null });
      await this.#waitFor(
        `deleting volume "${name}" on this site`,
        group,
        () => group.closed || group.volumes.byName(name) === undefined,
      );
      return;
    }
    if (this.isRemoving(group)) await this.#removals.remove(group);
    else await this.#inTurn(group, () => this.#deleteHere(group, volume));
    this.#host.event('info', 'volume-deleted', group.groupName, `volume ${name}`);
  }

  /** The group goes with its last volume. */
  async #deleteHere(group: Group, volume: Volume): Promise<void> {
    // Deleted in a turn before this one: what is left of the group is not of this volume.
    this.#needVolume(group, volume);
    if (group.volumes.count === 1) {
      await this.#removals.remove(group);
      return;
    }
    const record = documentRecord(recordKind.volumeRemove, 0, { volume: volume.number });
    await this.#append(group, record, `deleting volume "${volume.name}"`);
  }

  /** Hands the volume's group over to the site that is not its primary now (R21). */
  async switchover(name: string, by: AskedBy = 'operator'): Promise<void> {
    const { group } = this.find(name);
    if (!group.view.reigning) {
      await this.#relay(by, group, { action: 'switchover', name, sizeBytes: 0, group: null });
      await this.#waitFor(
        `switching "${name}" over to ${this.#host.siteName}`,
        group,
        () => group.view.reigning && group.view.takesReads,
      );
      return;
    }
    if (!group.view.inSyncWithPeer) {
      throw new CasemateError(
        'ERR_NOT_IN_SYNC',
        `${this.#host.peerName} is not in sync with group "${group.groupName}"`,
        { hint: '`casemate status` shows how far it is; switch over when it is in sync.' },
      );
    }
    const { epoch } = group.view.config ?? { epoch: 0 };
    group.tell({ kind: 'switchover' });
    await this.#waitFor(
      `switching "${name}" over to ${this.#host.peerName}`,
      group,
      () => (group.view.config?.epoch ?? 0) > epoch,
    );
    if (group.view.config?.primary === this.#host.storeId) {
      throw new CasemateError(
        'ERR_SWITCHOVER',
        `${this.#host.peerName} did not take "${name}" over in time; it stays here`,
        { hint: 'Try again; `casemate events` shows what happened.', status: 409 },
      );
    }
    this.#host.event('info', 'switchover', group.groupName, `to ${this.#host.peerName}`);
  }

  /** What is known before a forced promotion; changes nothing. */
  evidence(name: string): PromotionEvidence {
    return promotionEvidence(this.#host, this.find(name).group, name);
  }

  /** Makes this site primary whatever the other one does (R35). Recorded. */
  async forcePromote(name: string, confirmation: string): Promise<void> {
    const { group } = this.find(name);
    const evidence = this.evidence(name);
    if (evidence.confirmation !== confirmation) {
      throw new CasemateError(
        'ERR_EVIDENCE_CHANGED',
        `what was confirmed for "${name}" is no longer what is so`,
        { hint: 'Look at the evidence again, then confirm it.', status: 409 },
      );
    }
    if (servesAsPrimary(group)) {
      throw new CasemateError('ERR_ALREADY_PRIMARY', `this site is primary of "${name}" already`, {
        status: 409,
      });
    }
    const { end } = group.view;
    // Also if it takes so long that its operator is told no more: what it gave up is kept.
    const promotion = promoteByForce(this.#host, group).then((forced) => {
      const text =
        `epoch ${forced.epoch} forced at sequence ${end.sequence}; ${this.#host.peerName} ` +
        `${evidence.peerMayHaveAcknowledgedMore ? 'may have' : 'has not'} acknowledged more`;
      this.#host.recordForcedPromotion(group, { epoch: forced.epoch, end, text });
      this.#host.event('warn', 'forced-promotion', group.groupName, text);
    });
    await this.#host.within(`promoting "${name}"`, () => promotion);
    await this.#waitFor(
      `serving "${name}" at ${this.#host.siteName}`,
      group,
      () => group.view.takesReads,
    );
  }

  async #needBothToHold(name: string, sizeBytes: number, grows: boolean): Promise<void> {
    await this.#host.needFileSize(sizeBytes);
    await this.#host.call('volumeCheck', { name, sizeBytes, grows });
  }

  /** The peer asks whether this site could hold such a volume; throws if not. */
  async checkForPeer(name: string, sizeBytes: number, grows: boolean): Promise<void> {
    this.checkNewVolume(name, sizeBytes, grows);
    await this.#host.needFileSize(sizeBytes);
  }

  /** Throws if this site's configuration and volumes leave no place for such a volume. */
  checkNewVolume(name: string, sizeBytes: number, grows: boolean): void {
    if (!volumeNamePattern.test(name)) {
      throw new CasemateError('ERR_VOLUME_NAME', `"${name}" is no name for a volume`, {
        hint: 'Use letters, digits, ".", "_" and "-", starting with a letter or digit.',
      });
    }
    const { countMax, sizeBytesMax } = this.#host.limits;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 512 || sizeBytes % 512 !== 0) {
      throw new CasemateError(
        'ERR_VOLUME_SIZE',
        `${sizeBytes} bytes is no size for a volume: it has to be a multiple of 512`,
      );
    }
    if (sizeBytes > sizeBytesMax) {
      throw new CasemateError(
        'ERR_VOLUME_SIZE',
        `${sizeBytes} bytes is more than volumes.sizeBytesMax of ${this.#host.siteName}, ` +
          `${sizeBytesMax}`,
      );
    }
    if (grows) return;
    const volumes = [...this.#host.volumes()];
    if (this.#claimed.has(name) || volumes.some(({ volume }) => volume.name === name)) {
      throw new CasemateError('ERR_VOLUME_EXISTS', `there is a volume "${name}" already`, {
        status: 409,
      });
    }
    if (volumes.length >= countMax) {
      throw new CasemateError(
        'ERR_TOO_MANY_VOLUMES',
        `${this.#host.siteName} has ${volumes.length} volumes, its limit (volumes.countMax)`,
        { status: 409 },
      );
    }
  }

  /** Resolves when this site has the volume at that size: its record is in effect here. */
  async ready(name: string, sizeBytes: number): Promise<void> {
    const isReady = (group: Group): boolean =>
      (group.volumes.byName(name)?.sizeBytes ?? -1) >= sizeBytes;
    const groups = [...this.#host.groups()];
    await this.#host.within(`getting volume "${name}" to ${this.#host.siteName}`, (givenUp) =>
      Promise.race(groups.map((group) => group.waitFor(() => isReady(group), givenUp))),
    );
  }

  /** The peer asks for it, which is not the group's primary. */
  async addVolume(groupName: string, name: string, sizeBytes: number): Promise<void> {
    const group = [...this.#host.groups()].find((each) => each.groupName === groupName);
    if (group === undefined) {
      throw new CasemateError('ERR_NO_SUCH_GROUP', `there is no group "${groupName}"`, {
        status: 404,
      });
    }
    this.checkNewVolume(name, sizeBytes, false);
    await this.#claiming(name, () => this.#addVolume(group, name, sizeBytes, 'peer'));
  }

  /** Nobody else makes a volume of that name here meanwhile, nor at the peer, which asks first. */
  async #claiming<Result>(name: string, create: () => Promise<Result>): Promise<Result> {
    this.#claimed.add(name);
    try {
      return await create();
    } finally {
      this.#claimed.delete(name);
    }
  }

  async #addVolume(group: Group, name: string, sizeBytes: number, by: AskedBy): Promise<void> {
    this.#needPeer(`creating volume "${name}"`);
    // A peer that asks for it has claimed the name there, and has asked here whether it fits.
    if (by === 'operator') await this.#needBothToHold(name, sizeBytes, false);
    if (group.view.reigning) {
      await this.#inTurn(group, async () => {
        this.#needServing(group);
        await this.#appendAdd(group, name, sizeBytes);
      });
    } else {
      await this.#relay(by, group, { action: 'add', name, sizeBytes, group: group.groupName });
    }
    await this.ready(name, sizeBytes);
    await this.#host.call('volumeReady', { name, sizeBytes });
  }

  async #appendAdd(group: Group, name: string, sizeBytes: number): Promise<void> {
    const document = { volume: group.volumes.nextNumber, name, sizeBytes };
    const record = documentRecord(recordKind.volumeAdd, 0, document);
    await this.#append(group, record, `creating volume "${name}"`);
  }

  async #append(group: Group, record: LogRecord, what: string): Promise<void> {
    await this.#host.within(what, (givenUp) => group.appender.appendRecord(record, givenUp));
  }

  async #waitFor(what: string, group: Group, condition: () => boolean): Promise<void> {
    await this.#host.within(what, (givenUp) => group.waitFor(condition, givenUp));
  }

  /**
   * Changes of which volumes a group has take turns, so that each sees what the one before it has
   * left: two at once could give one number to two volumes, or take for the group's last volume
   * one that is gone already, and remove the group with the others.
   */
  async #inTurn(group: Group, change: () => Promise<void>): Promise<void> {
    // How that ends may not be known for long.
    if (this.isRemoving(group)) throw configChanges(group);
    await this.#turns.take(group.groupId, change);
  }

  /** Groups that this site made in an earlier life and may not have founded: ends them. */
  async endUnfounded(groups: Iterable<Group>): Promise<void> {
    await Promise.all([...groups].map((group) => endUnfounded(this.#host, group)));
  }

  /** Whether this site is removing the group, and will end it here when that is done. */
  isRemoving(group: Group): boolean {
    return this.#removals.has(group);
  }

  /** The volume is as it was when it was looked at, and its group can log a change of it. */
  #needVolume(group: Group, { name, number }: Volume): void {
    const found = this.find(name);
    if (found.group !== group || found.volume.number !== number) throw configChanges(group);
    this.#needServing(group);
  }

  /**
   * A record that can't be logged now would take effect at some later time, unasked; and which
   * volumes there are is known only when all that change them are in effect.
   */
  #needServing(group: Group): void {
    needOneHistory(group);
    if (this.isRemoving(group)) throw configChanges(group);
    if (group.view.takesWrites && group.view.takesReads) {
      const { appender, volumes, view } = group;
      if (!appender.hasOwnRecords && volumes.shows(view.commit)) return;
      throw new CasemateError(
        'ERR_VOLUMES_CHANGE',
        `an earlier change of the volumes of "${group.groupName}" is not in effect yet`,
        { hint: 'Try again; `casemate events` says if a disk is full.', status: 409 },
      );
    }
    throw new CasemateError(
      'ERR_NOT_SERVING',
      `group "${group.groupName}" does not serve: ${group.view.waitReason?.text ?? ''}`,
      { hint: 'Try again when it serves.', status: 409 },
    );
  }

  #needPeer(what: string): void {
    if (this.#host.peerConnected && this.#host.peerStoreId !== undefined) return;
    throw new CasemateError(
      'ERR_PEER_NEEDED',
      `${what} needs both sites, and ${this.#host.peerName} is not connected`,
      { hint: '`casemate status` says why it is not connected.', status: 503 },
    );
  }

  #checkPreferred(site: string | undefined): void {
    if (site === undefined) return;
    if (this.#host.registerType === 'etcd') {
      throw new CasemateError(
        'ERR_PREFERRED_SITE',
        'no site can be preferred with etcd: it decides which one goes on alone, either of them',
      );
    }
    if (site === this.#host.siteName || site === this.#host.peerName) return;
    throw new CasemateError(
      'ERR_PREFERRED_SITE',
      `preferred site "${site}" is neither ${this.#host.siteName} nor ${this.#host.peerName}`,
    );
  }

  /** A group whose voters the two sites see differently would be decided by neither's list. */
  #checkWitness(name: string): void {
    const difference = this.#host.witnessDifference();
    if (difference === undefined) return;
    throw new CasemateError(
      'ERR_WITNESS_DIFFERS',
      `volume "${name}" can't be created: ${difference}`,
      { hint: 'Give both sites the same [witness], then restart them.', status: 409 },
    );
  }

  async #relay(
    by: AskedBy,
    { groupName }: Group,
    asked: PeerCallParameters<'operate'>,
  ): Promise<void> {
    if (by === 'peer') {
      throw new CasemateError(
        'ERR_NOT_SERVING',
        `neither site is primary of group "${groupName}" at the moment`,
        { hint: 'Try again; `casemate why` shows what it waits for.', status: 409 },
      );
    }
    this.#needPeer(`${asked.action} of "${asked.name}"`);
    await this.#host.call('operate', asked);
  }
}
