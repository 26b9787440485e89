/**
 * One site: everything that runs in the daemon, put together. Opening it recovers the log and the
 * groups; `start` lets the world in (peer, clients, operators). What it says of itself is in
 * `status.ts`, what operators do in `operations.ts`, the talk with the peer in
 * `peer-conversation.ts`.
 */
import { join } from 'node:path';
import type { GroupConfig } from '../replication/core/config.ts';
import { Acceptor } from '../replication/register/acceptor.ts';
import { isAcceptorState } from '../replication/register/messages.ts';
import { Log } from '../wal/log.ts';
import type { LogRecovery } from '../wal/log-types.ts';
import { AcceptorBatch } from './acceptor-batch.ts';
import { AcceptorClients } from './acceptor-clients.ts';
import { Checkpointer } from './checkpointer.ts';
import type { Config } from './config/schema.ts';
import { FileSizes } from './file-size.ts';
import { repairLog } from './log-repair.ts';
import { LogRoom } from './log-room.ts';
import type { Logger } from './logger.ts';
import { noteLostLog } from './lost-log.ts';
import { withinOperation } from './operation-limit.ts';
import { Operations } from './operations.ts';
import { PeerConversation } from './peer-conversation.ts';
import { SiteResync } from './resync/site-resync.ts';
import { SiteGroups } from './site-groups.ts';
import { siteIdentity } from './site-identity.ts';
import type { SiteClock, SiteParts } from './site-parts.ts';
import { delayOn, type SitePorts, systemPorts } from './site-ports.ts';
import { type SiteRegister, siteRegister } from './site-register.ts';
import type {
  CreateVolume,
  OperatorAction,
  PromotionEvidence,
  ResolvedSplit,
  SiteControl,
  SiteEvent,
  SiteStatus,
  VolumeStatus,
} from './site-status.ts';
import { SiteWitness } from './site-witness.ts';
import { receivedMemory } from './slab-pool.ts';
import { SplitResolver } from './split/split-resolver.ts';
import { siteStatus, volumeStatus } from './status.ts';
import { isStoreFull, storeFullForGood } from './store/errors.ts';
import type { NewEvent } from './store/event-log.ts';
import { SiteStore } from './store/site-store.ts';
import type { CertificateEnd } from './system-tls.ts';
import { applyGathering } from './volume/apply-gathering.ts';
import type { GroupContext } from './volume/group-context.ts';
import { MemoryBudget } from './volume/memory-budget.ts';
import { PassOnWindow } from './volume/passed-on.ts';
import { HealingRetries } from './volume/peer-blocks.ts';

/** How often time-outs, heartbeats and checkpoints are looked after. */
const tickMs = 50;
/** How long an orderly stop waits for the data files. */
const drainMsMax = 5000;

export interface SiteOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** A contradiction inside the program: the process has to end. */
  readonly bug: (error: unknown) => void;
  /** A volume is gone: its clients have to be disconnected. */
  readonly volumeGone: (name: string) => void;
  /** The world it runs in; the real one if absent. */
  readonly ports?: SitePorts;
}

export class Site implements SiteControl, SiteParts {
  readonly config: Config;
  readonly startedAtMs: number;
  readonly recovery: LogRecovery;
  readonly groups: SiteGroups;
  readonly resync: SiteResync;
  readonly peer: PeerConversation;
  readonly witness: SiteWitness;
  readonly register: SiteRegister;
  readonly operations: Operations;
  readonly splits: SplitResolver;
  readonly log: Log;
  readonly store: SiteStore;
  readonly memory: MemoryBudget;
  readonly clock: SiteClock;
  /** Why this site stopped serving for good (I8), if it did. */
  failure: string | undefined;
  readonly #logger: Logger;
  readonly #ports: SitePorts;
  readonly #checkpointer: Checkpointer;
  readonly #healingRetries = new HealingRetries();
  readonly #logRoom: LogRoom;
  readonly #votes: AcceptorBatch;
  #cancelTick: () => void = () => undefined;
  #closed = false;

  private constructor(parts: {
    options: SiteOptions;
    store: SiteStore;
    log: Log;
    recovery: LogRecovery;
    bootId: string;
    ports: SitePorts;
  }) {
    const { options, store, log, bootId, ports } = parts;
    const clock = { nowMs: () => ports.clock.nowMs(), wallMs: ports.wallMs };
    this.#ports = ports;
    this.clock = clock;
    this.config = options.config;
    this.#logger = options.logger;
    this.startedAtMs = clock.wallMs();
    this.store = store;
    this.log = log;
    this.recovery = parts.recovery;
    this.memory = new MemoryBudget(this.config.volumes.memoryBytesMax);
    const { config } = this;
    this.witness = new SiteWitness({
      config,
      own: siteIdentity(config, store.storeId, bootId),
      table: store.witnesses,
      ports,
      event: (level, code, text) => this.event(level, code, undefined, text),
      changed: () => this.peer.tellWitness(),
    });
    this.peer = new PeerConversation({
      site: this,
      bootId,
      logger: options.logger,
      witness: this.witness,
      ports,
    });
    this.#votes = new AcceptorBatch({
      commit: store.acceptors.together,
      later: ports.later,
      failed: (error) => this.fail(error),
    });
    this.resync = new SiteResync({
      limits: config.resync,
      groups: () => this.groups,
      nowMs: () => clock.nowMs(),
      delay: delayOn(ports.clock),
      bulkCall: (...call) => this.peer.bulkCall(...call),
    });
    const acceptors = new AcceptorClients({
      batch: this.#votes,
      own: new Acceptor({
        storeId: store.storeId,
        store: store.acceptors,
        accepted: (groupId, value) => this.groups.get(groupId)?.acceptorTook(value),
      }),
      ownStoreId: store.storeId,
      call: (method, parameters) => this.peer.rawCall(method, parameters),
      peerStoreId: () => store.peerStoreId,
      witness: () => this.witness.acceptor(),
    });
    this.register = siteRegister({
      config,
      storeId: store.storeId,
      bootId,
      clients: () => acceptors.clients(),
      random: () => ports.random.fraction(),
      delay: delayOn(ports.clock),
      event: (level, code, text) => this.event(level, code, undefined, text),
    });
    this.groups = new SiteGroups({
      context: this.#context(options, bootId),
      siteName: this.config.site,
      register: this.register,
      voters: this.witness.voters,
      volumeGone: options.volumeGone,
      isRemoving: (group) => this.operations.isRemoving(group),
    });
    this.peer.serve(acceptors);
    const operationsHost = this.#operationsHost();
    this.operations = new Operations(operationsHost);
    this.splits = new SplitResolver({
      site: operationsHost,
      groups: this.groups,
      find: (name) => this.operations.find(name),
      store,
      log,
      ports,
      dataDirectory: config.dataDirectory,
      isOver: () => this.#closed || this.failure !== undefined,
    });
    this.#checkpointer = new Checkpointer({
      groups: () => this.groups.all,
      store,
      log,
      intervalMs: this.config.log.checkpointMs,
      logBytes: this.config.log.checkpointBytes,
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      failed: (error) => this.fail(error),
      postponed: (error) => {
        const text = `a checkpoint has to wait: ${error instanceof Error ? error.message : error}`;
        this.event('error', 'checkpoint-postponed', undefined, text);
      },
    });
    this.#logRoom = new LogRoom({
      log,
      groups: () => this.groups.all,
      limitBytes: log.stats().limitBytes,
      wallMs: () => clock.wallMs(),
      event: (level, code, text) => this.event(level, code, undefined, text),
    });
    log.onFailure = (error) => this.fail(error);
  }

  /** Opens the data directory: recovers the log and all groups. Serves nobody yet. */
  static async open(options: SiteOptions): Promise<Site> {
    const { config, logger } = options;
    const ports = options.ports ?? systemPorts();
    const { disk, clock } = ports;
    const store = SiteStore.open({
      directory: config.dataDirectory,
      cluster: config.cluster,
      site: config.site,
      eventsCountMax: config.events.countMax,
      newId: ports.randomId,
      openDatabase: ports.openDatabase,
    });
    const started = clock.nowMs();
    await disk.makeDirectory(join(config.dataDirectory, 'volumes'));
    const logOptions = {
      disk,
      directory: join(config.dataDirectory, 'log'),
      storeId: store.storeId,
      segmentSizeBytes: config.log.segmentBytes,
      sizeBytesMax: config.log.sizeBytes,
      commitBytesMax: config.log.commitBytesMax,
      marks: store.logMarks(),
      missing: () => noteLostLog({ store, logger, atMs: ports.wallMs() }),
      nowMs: () => clock.nowMs(),
      later: ports.later,
    };
    let opened = await Log.open(logOptions);
    if (await repairLog({ config, store, ports, logger, ...opened })) {
      await opened.log.close();
      opened = await Log.open(logOptions);
    }
    const { log, recovery } = opened;
    const bootId = ports.randomId();
    const site = new Site({ options, store, log, recovery, bootId, ports });
    await site.groups.openAll(recovery);
    const tookMs = Math.round(clock.nowMs() - started);
    logger.info({ tookMs, recovery: recovery.report.text }, 'data directory opened');
    return site;
  }

  /** Lets the peer in and starts to look after time. */
  async start(): Promise<void> {
    const { unfounded } = this.groups;
    this.operations.endUnfounded(unfounded).catch((error: unknown) => this.fail(error));
    await this.peer.start();
    this.witness.start();
    this.#tickLater();
    this.event('info', 'started', undefined, this.recovery.report.text);
  }

  /** Leaves everything durable and in order; bounded in time by the disk only. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTick();
    await this.peer.close();
    if (this.failure === undefined) {
      await this.#drain();
      await this.#checkpointer.run();
    }
    await this.#checkpointer.stop();
    await this.groups.closeAll();
    await this.witness.close();
    this.#votes.close();
    this.register.close();
    await this.log.close();
    this.event('info', 'stopped', undefined, 'stopped in order');
    this.store.close();
  }

  /**
   * Lets the data files take what is committed, so that the next start has nothing to replay. Not
   * for ever: they may wait for room on the disk, and the log has it all anyway.
   */
  async #drain(): Promise<void> {
    const idle = Promise.all([...this.groups.all].map((group) => group.volumes.idle()));
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#ports.clock.setTimer(drainMsMax, resolve);
    });
    try {
      await Promise.race([idle, late]);
    } catch (error) {
      this.#logger.warn({ err: error }, 'not everything was applied; the next start does it');
    } finally {
      cancel();
    }
  }

  /** The log or a data file failed: nothing that follows can be trusted on this disk (I8, R33). */
  fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = error instanceof Error ? error.message : String(error);
    this.#logger.fatal({ err: error }, 'the disk failed; this site serves nothing until restarted');
    this.event('error', 'disk-failed', undefined, this.failure);
    for (const group of this.groups.all) group.logFailed();
  }

  /** When the certificates of TLS end that this site needs; none without TLS. */
  get certificates(): readonly CertificateEnd[] {
    return this.#ports.certificates?.() ?? [];
  }

  event(
    level: 'info' | 'warn' | 'error',
    code: string,
    group: string | undefined,
    text: string,
  ): void {
    this.#record({ level, code, group, text });
  }

  #record(event: Omit<NewEvent, 'atMs'>): void {
    const { level, code, group, text, by } = event;
    this.#logger[level]({ code, group, by }, text);
    try {
      this.store.events.append({ ...event, atMs: this.clock.wallMs() });
    } catch (error) {
      // The list of events must not stop what they tell of, such as a disk that runs full.
      this.#logger.warn({ err: error }, 'this event could not be kept');
    }
  }

  // --- SiteControl

  status(): Promise<SiteStatus> {
    return siteStatus(this);
  }

  events(options: { readonly limit: number }): readonly SiteEvent[] {
    return this.store.events.list(options);
  }

  recordAction(action: OperatorAction): void {
    this.#record({ ...action, group: undefined });
  }

  async createVolume(request: CreateVolume): Promise<VolumeStatus> {
    const volume = await this.operations.create(request);
    return volumeStatus(this, volume);
  }

  deleteVolume(name: string): Promise<void> {
    return this.operations.delete(name);
  }

  async resizeVolume(name: string, sizeBytes: number): Promise<VolumeStatus> {
    const volume = await this.operations.resize(name, sizeBytes);
    return volumeStatus(this, volume);
  }

  switchover(name: string): Promise<void> {
    return this.operations.switchover(name);
  }

  promotionEvidence(name: string): Promise<PromotionEvidence> {
    return Promise.resolve(this.operations.evidence(name));
  }

  forcePromote(name: string, confirmation: string): Promise<void> {
    return this.operations.forcePromote(name, confirmation);
  }

  resolveSplit(name: string, drop: string): Promise<ResolvedSplit> {
    return this.splits.resolve(name, drop);
  }

  #tickLater(): void {
    this.#cancelTick = this.#ports.clock.setTimer(tickMs, () => {
      this.#tick();
      if (!this.#closed) this.#tickLater();
    });
  }

  #tick(): void {
    for (const group of this.groups.all) group.tick();
    if (this.failure !== undefined) return;
    this.#checkpointer.tick();
    this.#logRoom.tick(this.clock.nowMs());
    this.#healingRetries.tick(this.clock.nowMs(), this.groups.all);
    this.splits.tick(this.groups.all);
    this.groups
      .endRemoved((group) => this.operations.isRemoving(group))
      .catch((error: unknown) => this.fail(error));
  }

  #context(options: SiteOptions, bootId: string): GroupContext {
    const { config } = this;
    const ports = this.#ports;
    const { replication, volumes } = config;
    return {
      storeId: this.store.storeId,
      boot: BigInt(`0x${bootId.slice(0, 16)}`),
      disk: ports.disk,
      log: this.log,
      store: this.store,
      link: this.peer,
      memory: this.memory,
      passedOn: { writes: new PassOnWindow(), reads: new PassOnWindow() },
      times: replication,
      confirmReads: replication.reads === 'confirmed',
      limits: {
        inFlightBytesMax: replication.inFlightBytesMax,
        applyBacklogBytesMax: volumes.applyBacklogBytesMax,
        checksumCacheBytesMax: volumes.checksumCacheBytesMax,
        applyConcurrency: volumes.applyConcurrency,
        holdMsMax: config.suspend.maxMs,
      },
      dataDirectory: join(config.dataDirectory, 'volumes'),
      giveBack: (memory, bytes) => receivedMemory.giveBack(memory, bytes),
      nowMs: () => this.clock.nowMs(),
      wallMs: () => this.clock.wallMs(),
      delay: delayOn(ports.clock),
      resync: this.resync,
      checkpoint: () => this.#checkpointer.run(),
      exclusively: (task) => this.#checkpointer.exclusively(task),
      gathered: applyGathering(delayOn(ports.clock)),
      askBlocks: (request) => this.peer.call('blocks', request),
      askFrame: (request) => this.peer.call('logFrame', request),
      random: () => ports.random.fraction(),
      randomId: ports.randomId,
      event: (level, code, group, text) => this.event(level, code, group, text),
      failed: (error) => this.fail(error),
      bug: (error) =>
        isStoreFull(error) ? this.fail(storeFullForGood(error)) : options.bug(error),
    };
  }

  #operationsHost(): ConstructorParameters<typeof Operations>[0] {
    const { config, store, groups, peer } = this;
    const fileSizes = new FileSizes(this.#ports.disk, config.dataDirectory);
    return {
      siteName: config.site,
      peerName: config.peer.site,
      storeId: store.storeId,
      get peerStoreId() {
        return store.peerStoreId;
      },
      get peerConnected() {
        return peer.connected;
      },
      limits: config.volumes,
      needFileSize: (sizeBytes) => fileSizes.need(sizeBytes),
      defaults: {
        onPeerLoss: config.replication.onPeerLoss,
        preferredSite: config.replication.preferredSite,
      },
      volumes: () => groups.volumes(),
      groups: () => groups.all,
      makeGroup: (description) =>
        groups.make(
          {
            ...description,
            groupId: this.#ports.randomId(),
            preferredSite: description.preferredSite ?? null,
            createdAtMs: this.clock.wallMs(),
          },
          'founding',
        ),
      founded: ({ groupId }) => store.groupFounded(groupId),
      describe: (group) => groups.describe(group.groupId),
      acceptorsOf: (group) =>
        groups.acceptorsOf(
          groups.stored(group.groupId),
          store.storeId,
          store.peerStoreId ?? store.storeId,
          [],
        ),
      forcedAcceptors: this.register.acceptors ?? [store.storeId],
      registerType: config.register.type,
      witnessDifference: () => this.witness.voters.difference,
      dropGroup: (group, how) => groups.drop(group, how),
      acceptedEpoch: ({ groupId }) => {
        const state = store.acceptors.load(groupId);
        return isAcceptorState(state) ? (state.value?.epoch ?? 0) : 0;
      },
      newConfig: (fields): GroupConfig => ({
        ...fields,
        epochId: this.#ports.randomId(),
        leaseMs: config.replication.leaseMs,
        graceMs: config.replication.graceMs,
      }),
      call: (method, parameters) => peer.call(method, parameters),
      event: (level, code, group, text) => this.event(level, code, group, text),
      recordForcedPromotion: (group, promotion) =>
        store.recordForcedPromotion(group.groupId, { ...promotion, atMs: this.clock.wallMs() }),
      within: (what, begin) => withinOperation(this.#ports.clock, what, begin),
    };
  }
}
