/**
 * One group's resync on the site that is brought up to date (R26): from the core's wish
 * (`prepareResync`) to the moment when the copy is this site's history, over restarts of either
 * site. On the other site it only remembers, for the status, how far the peer said it was.
 *
 *   prepare: old image applied and checkpointed -> what is wanted is asked -> stage row durable
 *     -> volumes open on the stage, history begins at s0 -> the core follows the primary's frames
 *   copy: extents and frames go into the stage; checkpoints keep how far both are
 *   complete: everything held and applied, kept with one transaction: the stage counts
 *   merge: blocks move from the stage into the data files in the background
 *
 * Until it is complete the data files are the old image, untouched, to which `abandon` goes back.
 * In place (a blank site, or no room for a stage) there is no old image, and the group is
 * `inconsistent`, durably, from before the first block is written.
 */
import type { CoreEffect } from '../../replication/core/events.ts';
import type { Disk } from '../../wal/disk.ts';
import type { GroupId, HistoryPoint } from '../../wal/frame.ts';
import { CasemateError } from '../errors.ts';
import type { StoredCheckpoint, StoredStage } from '../store/site-store.ts';
import type { GroupContext } from '../volume/group-context.ts';
import { ByteRate } from './byte-rate.ts';
import { copySome } from './extent-copy.ts';
import { findWanted } from './find-wanted.ts';
import type { ResyncGroup } from './resync-group.ts';
import type { ResyncSave } from './resync-save.ts';
import { type PeerProgress, SeenProgress } from './seen-progress.ts';
import { makeStage, oldImageOf, type Stage } from './stage.ts';
import { mergeStage } from './stage-merge.ts';
import { type HeldExtents, isOfLostHistory, WantedExtents } from './wanted-extents.ts';

export type { HeldExtents } from './wanted-extents.ts';

type PrepareResync = Extract<CoreEffect, { kind: 'prepareResync' }>;

/** A source that can't answer is asked again after this long. */
const retryMs = 1000;

export interface ResyncProgress {
  /** Whether this site is brought up to date, or the other one is by it. */
  readonly direction: 'to-here' | 'from-here';
  readonly full: boolean;
  readonly inPlace: boolean;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly rateBytes: number;
}

export class GroupResync {
  readonly #context: GroupContext;
  readonly #groupId: GroupId;
  readonly #rate: ByteRate;
  #group: ResyncGroup | undefined;
  #stage: Stage | undefined;
  /** The last stage was given up here, and no checkpoint has passed the old image since. */
  #droppedAt: HistoryPoint | undefined;
  /** Counts promotions by force: what was being prepared before one is not begun after it. */
  #abandoned = 0;
  readonly #peer: SeenProgress;
  /** Bytes of extents that came from the source, and of those that were the same, ever. */
  receivedBytes = 0;
  sameBytes = 0;
  completed = 0;

  constructor(context: GroupContext, groupId: GroupId) {
    this.#context = context;
    this.#groupId = groupId;
    this.#rate = new ByteRate(() => context.nowMs());
    this.#peer = new SeenProgress(() => context.nowMs());
    const { store } = context;
    const row = store.stage(groupId);
    if (row === undefined) return;
    if (row.state === 'dropped') {
      this.#droppedAt = oldImageOf(this.#context, this.#groupId).checkpoint;
      return;
    }
    this.#stage = this.#makeStage(row);
    const { files, wanted } = this.#stage;
    files.load(store.loadExtents(groupId, 'stage-data'));
    files.load(store.loadExtents(groupId, 'stage-checksums'));
    wanted.load(store.loadExtents(groupId, 'wanted'));
    wanted.load(store.loadExtents(groupId, 'held'));
  }

  /** The resync that this group is in the middle of; complete ones are none. */
  get unfinished(): StoredStage | undefined {
    return this.#stage === undefined || this.#isComplete ? undefined : this.#stage.row;
  }

  /** The files are the old image again, and the log may still have what followed the stage. */
  get wasDropped(): boolean {
    return this.#droppedAt !== undefined;
  }

  /**
   * The volume is none that this site has had, and nothing of it was copied yet: files that have
   * its number are another's.
   */
  isNewHere(volume: number): boolean {
    const stage = this.#stage;
    if (stage === undefined || stage.wanted.heldBytes > 0) return false;
    if (this.#isComplete || stage.row.checkpoint.sequence > stage.row.from.sequence) return false;
    const { volumes } = oldImageOf(this.#context, this.#groupId);
    return !volumes.some((entry) => entry.volume === volume);
  }

  /** What the volumes' files are opened through. */
  get disk(): Disk {
    return this.#stage?.files.disk ?? this.#context.disk;
  }

  /** The block of a volume will be overwritten as a whole. */
  isUnsettled(volume: number, offsetBytes: number): boolean {
    if (this.#stage === undefined || this.#isComplete) return false;
    return this.#stage.wanted.lacksBlock(volume, offsetBytes);
  }

  /** The group is open: goes on with what a last life had begun. */
  start(group: ResyncGroup): void {
    this.#group = group;
    if (this.#stage !== undefined) this.#goOn(this.#stage);
    else if (this.wasDropped) this.#sweep();
  }

  /** What a crash has left of a stage that was given up. */
  #sweep(): void {
    const swept = this.#context.exclusively(async () => {
      const row = this.#context.store.stage(this.#groupId);
      if (row?.state === 'dropped') await this.#makeStage(row).files.remove();
    });
    swept.catch((error: unknown) => this.#event('warn', 'files-left', String(error)));
  }

  /** The core wants a resync; answered by `resyncBegun` or `resyncFailed`. */
  prepare(effect: PrepareResync): void {
    this.#prepare(effect).catch((error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      this.#group?.tell({ kind: 'resyncFailed', text: `the resync can't begin: ${text}` });
    });
  }

  /** How far this site is, or the other one by its last question. */
  get progress(): ResyncProgress | undefined {
    const stage = this.#stage;
    if (stage !== undefined && !this.#isComplete) {
      return {
        direction: 'to-here',
        full: stage.row.full,
        inPlace: stage.row.state === 'in-place',
        doneBytes: stage.wanted.heldBytes,
        totalBytes: stage.wanted.wantedBytes,
        rateBytes: this.#rate.bytesPerSecond,
      };
    }
    const peer = this.#peer.shown;
    return peer === undefined ? undefined : { direction: 'from-here', ...peer };
  }

  /** The other site asks for extents. */
  peerAsks(progress: PeerProgress): void {
    this.#peer.asks(progress);
  }

  /** The group's history has this point, by the log. */
  hasPoint({ sequence, digest }: HistoryPoint): boolean {
    return this.#context.log.digestAt(this.#groupId, sequence) === digest;
  }

  /** Where a promotion of this site would begin, if it is not the end of its log. */
  get oldImage(): HistoryPoint | undefined {
    if (this.unfinished === undefined) return undefined;
    return this.#context.store.loadCheckpoints().get(this.#groupId)?.checkpoint;
  }

  // --- checkpoints

  /** There is something to keep although no record was applied. */
  get wantsSave(): boolean {
    return this.#stage !== undefined;
  }

  /** What is held now, before the sync that makes it durable. */
  takeHeld(): HeldExtents | undefined {
    return this.#stage === undefined || this.#isComplete ? undefined : this.#stage.wanted.take();
  }

  /** What is kept with a checkpoint of the files at `copy`; undefined: there is no resync. */
  save(
    copy: Omit<StoredCheckpoint, 'groupId' | 'acknowledgedMark' | 'chunks'>,
    held: HeldExtents | undefined,
  ): ResyncSave | undefined {
    const stage = this.#stage;
    if (stage === undefined) return this.#forgetDropped(copy.checkpoint);
    const layers = stage.files.take();
    const { row, wanted } = stage;
    if (held === undefined) {
      return {
        checkpointStays: false,
        save: { groupId: this.#groupId, stage: row, chunks: layers.chunks, completes: false },
        kept: () => layers.kept(),
        release: () => stage.files.release(),
      };
    }
    const isReached = held.all && copy.checkpoint.sequence >= held.reach;
    const completes = isReached && !isOfLostHistory(held.reaches, copy.epochHistory);
    const next: StoredStage = {
      ...row,
      ...(completes ? { state: 'merging' } : {}),
      reach: held.reach,
      reaches: [...held.reaches],
      checkpoint: copy.checkpoint,
      epochHistory: [...copy.epochHistory],
      ...(copy.config === undefined ? {} : { config: copy.config }),
      volumes: [...copy.volumes],
    };
    const chunks = completes ? layers.chunks : [...held.chunks, ...layers.chunks];
    return {
      checkpointStays: !completes,
      save: { groupId: this.#groupId, stage: next, chunks, completes },
      kept: () => {
        stage.row = next;
        held.kept();
        if (completes) this.#complete(stage, wanted);
        layers.kept();
      },
      release: () => stage.files.release(),
    };
  }

  /** A record after the old image is durable here, and so is the cut before it. */
  #forgetDropped({ sequence }: HistoryPoint): ResyncSave | undefined {
    if (this.#droppedAt === undefined || sequence <= this.#droppedAt.sequence) return undefined;
    return {
      checkpointStays: false,
      save: { groupId: this.#groupId, stage: undefined, chunks: [], completes: false },
      kept: () => {
        this.#droppedAt = undefined;
      },
      release: () => Promise.resolve(),
    };
  }

  #complete(stage: Stage, wanted: WantedExtents): void {
    stage.files.startMerging();
    this.completed += 1;
    const mebibytes = (wanted.wantedBytes / 2 ** 20).toFixed(1);
    this.#event('info', 'resync-done', `${mebibytes} MiB compared or copied`);
    this.#group?.changes.baseDropped();
    this.#group?.tell({ kind: 'resynced' });
  }

  // --- beginning

  async #prepare(effect: PrepareResync): Promise<void> {
    const group = this.#opened();
    const { from } = effect;
    const abandoned = this.#abandoned;
    await group.waitFor(() => group.closed || this.#stage === undefined || !this.#isComplete);
    if (this.#stage === undefined) await this.#keepOldImage(group);
    const source = await this.#context.resync.ask('resyncVolumes', {
      groupId: this.#groupId,
      from: from.sequence,
      base: effect.changed ? (effect.base ?? null) : null,
      own: group.view.resolving ? (group.changes.base ?? null) : null,
    });
    const full = !effect.changed || !source.knowsChanges;
    // Volumes are as of then: added, grown and removed by records that have to be here as well.
    const reach = Math.max(from.sequence, source.reach ?? 0);
    const wanted = new WantedExtents(reach);
    await findWanted(wanted, {
      group,
      source,
      full,
      ask: this.#context.resync.ask,
      staged: this.#stage?.files,
    });
    if (group.closed) return;
    const isBlank = [...group.volumes.all].length === 0;
    const inPlace = isBlank || this.#stage?.row.state === 'in-place';
    const row: StoredStage = {
      groupId: this.#groupId,
      state: inPlace ? 'in-place' : 'staged',
      full,
      ...(effect.base === undefined ? {} : { base: effect.base }),
      from,
      reach,
      startedAtMs: this.#context.wallMs(),
      checkpoint: from,
      epochHistory: [...effect.epochHistory],
      config: effect.config,
      volumes: [...source.volumes],
    };
    await this.#context.exclusively(() => {
      if (abandoned !== this.#abandoned) throw new Error('this site is promoted by force');
      return this.#begin(group, effect, row, wanted);
    });
  }

  /**
   * The old image is as new as it can be, and its checkpoint says so: what is applied beyond it
   * would be in the files, and in no log that it could be told from.
   */
  async #keepOldImage(group: ResyncGroup): Promise<void> {
    const { volumes, counters } = group;
    await group.waitFor(() => group.closed || !volumes.busy);
    await volumes.idle();
    const isKept = (): boolean => counters.checkpoint.sequence >= volumes.committedThrough;
    // One that is under way already may have begun too early.
    for (let attempt = 1; attempt <= 2 && !isKept(); attempt += 1) await this.#context.checkpoint();
    if (!isKept()) throw new Error('there is no room for a checkpoint');
  }

  async #begin(
    group: ResyncGroup,
    effect: PrepareResync,
    row: StoredStage,
    wanted: WantedExtents,
  ): Promise<void> {
    if (group.closed) return;
    const before = this.#stage;
    // In place of the stage before, if there is one, which stays what it is if this throws.
    this.#context.store.beginStage(row, wanted.wantedChunks());
    this.#stage = this.#makeStage(row, wanted);
    this.#droppedAt = undefined;
    try {
      await group.volumes.close();
      await before?.files.remove();
      await this.#reopen(group, { ...row, config: row.config });
    } catch (error) {
      // Half begun it can be neither used nor left: the next start goes on from the store.
      if (!group.closed) this.#context.failed(error);
      return;
    }
    if (group.closed) return;
    const { session } = effect;
    const { from, epochHistory, config = effect.config } = row;
    group.tell({ kind: 'resyncBegun', session, from, epochHistory, config });
    this.#goOn(this.#stage);
  }

  /** Unless the group is closed meanwhile: its files may be somebody else's to remove by then. */
  async #reopen(
    group: ResyncGroup,
    at: Pick<StoredCheckpoint, 'checkpoint' | 'volumes' | 'epochHistory' | 'config'>,
  ): Promise<void> {
    if (group.closed) return;
    group.counters.restart(at.checkpoint);
    await group.volumes.replace(at.volumes, at.checkpoint.sequence);
    if (group.closed) return;
    // What the files before these were waiting for is nobody's concern.
    group.counters.stalled = undefined;
    group.history.begin(at.epochHistory, at.config);
    group.retain(at.checkpoint);
  }

  /**
   * Back to the old image, which nothing has touched; what was copied is lost. Throws
   * ERR_INCONSISTENT if there is no old image. One that is being prepared does not begin any more.
   */
  async abandon(): Promise<void> {
    this.#abandoned += 1;
    await this.#context.exclusively(() => this.#abandon(this.#opened()));
  }

  async #abandon(group: ResyncGroup): Promise<void> {
    const stage = this.#stage;
    if (stage === undefined || this.#isComplete || group.closed) return;
    if (stage.row.state === 'in-place') {
      throw new CasemateError(
        'ERR_INCONSISTENT',
        `the copy of "${group.groupName}" at this site is a mixture of old and new`,
        { hint: 'Bring the other site back: the resync goes on by itself.', status: 409 },
      );
    }
    const {
      checkpoint: to,
      epochHistory,
      config,
      volumes,
    } = oldImageOf(this.#context, this.#groupId);
    this.#context.store.giveUpStage(stage.row);
    this.#stage = undefined;
    this.#droppedAt = to;
    await group.volumes.close();
    await stage.files.remove();
    await this.#reopen(group, { checkpoint: to, epochHistory, config, volumes });
    group.tell({
      kind: 'stageDropped',
      to,
      epochHistory,
      ...(config === undefined ? {} : { config }),
    });
  }

  // --- going on

  #goOn(stage: Stage): void {
    this.#run(stage).catch((error: unknown) => this.#context.bug(error));
  }

  async #run(stage: Stage): Promise<void> {
    const group = this.#opened();
    const isOver = (): boolean => group.closed || this.#stage !== stage;
    while (!isOver() && stage.row.state !== 'merging') {
      // Without the frames that follow, what is copied can't become whole.
      await group.waitFor(() => isOver() || group.view.joinedSession !== undefined);
      if (isOver()) return;
      try {
        if (await this.#copyMore(group, stage)) continue;
        await this.#finish(group, stage, isOver);
      } catch (error) {
        if (isOver()) return;
        const text = error instanceof Error ? error.message : String(error);
        this.#event('warn', 'resync-interrupted', `goes on in a moment: ${text}`);
        await this.#context.delay(retryMs);
      }
    }
    if (!isOver()) await this.#merge(stage, isOver);
  }

  #copyMore(group: ResyncGroup, stage: Stage): Promise<boolean> {
    return copySome({
      groupId: this.#groupId,
      site: this.#context.resync,
      wanted: stage.wanted,
      full: stage.row.full,
      inPlace: () => stage.row.state === 'in-place',
      store: (volume) => group.volumes.byNumber(volume)?.store,
      committedThrough: () => group.volumes.committedThrough,
      copied: ({ receivedBytes, sameBytes }) => {
        this.receivedBytes += receivedBytes;
        this.sameBytes += sameBytes;
        this.#rate.count(receivedBytes + sameBytes);
      },
    });
  }

  /** All is held: when all of its records are applied too, a checkpoint completes it. */
  async #finish(group: ResyncGroup, stage: Stage, isOver: () => boolean): Promise<void> {
    const { wanted } = stage;
    const lost = (): boolean => group.view.joinedSession === undefined;
    await group.waitFor(() => isOver() || lost() || group.volumes.committedThrough >= wanted.reach);
    if (isOver() || lost()) return;
    await group.volumes.idle();
    if (isOfLostHistory(wanted.reaches, group.history.at(wanted.reach).epochHistory)) {
      this.#event('warn', 'resync-again', 'the source has lost records: all is compared again');
      wanted.release();
      return;
    }
    await this.#context.checkpoint();
    // The store may have no room for the moment.
    if (!this.#isComplete) await this.#context.delay(retryMs);
  }

  async #merge(stage: Stage, isOver: () => boolean): Promise<void> {
    const { volumes } = this.#opened();
    const done = () => {
      this.#stage = undefined;
    };
    try {
      await mergeStage(stage, { context: this.#context, volumes, isOver, done });
    } catch (error) {
      if (!isOver()) this.#context.failed(error);
    }
    this.#group?.tell({ kind: 'tick' });
  }

  // --- parts

  get #isComplete(): boolean {
    return this.#stage?.row.state === 'merging';
  }

  #makeStage(row: StoredStage, wanted?: WantedExtents): Stage {
    const stage: Stage = makeStage(this.#context, row, {
      ...(wanted === undefined ? {} : { wanted }),
      isCurrent: () => this.#stage === stage,
      wentInPlace: () => {
        const text = 'there is no room for a stage: no old image is kept';
        this.#event('warn', 'resync-in-place', text);
      },
    });
    return stage;
  }

  #opened(): ResyncGroup {
    if (this.#group === undefined) throw new Error('a resync of a group that is not open');
    return this.#group;
  }

  #event(level: 'info' | 'warn', code: string, text: string): void {
    this.#context.event(level, code, this.#group?.groupName ?? this.#groupId, text);
  }
}
