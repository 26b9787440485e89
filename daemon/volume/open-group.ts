/**
 * Brings a group to life when the site starts (or when the group is made): its volumes as of the
 * checkpoint, then every committed record after it from the log, and in memory what may be
 * committed or not, which only the peer or the register can tell (I3, R8, R23).
 */
import type { GroupConfig, RecoveredGroup } from '../../replication/core/config.ts';
import { GroupCore } from '../../replication/core/group-core.ts';
import type { Register } from '../../replication/register/register.ts';
import { blockSizeBytes } from '../../wal/checksum.ts';
import { StoreClosedError } from '../../wal/data-errors.ts';
import { isOutOfSpace } from '../../wal/disk-error.ts';
import { emptyHistoryDigest, type Frame, type HistoryPoint, recordKind } from '../../wal/frame.ts';
import type { RecoveredLogGroup } from '../../wal/group-recovery.ts';
import { fullDiskRetryMs, VolumeStore, type VolumeStoreOptions } from '../../wal/volume-store.ts';
import { GroupResync } from '../resync/group-resync.ts';
import type { StoredCheckpoint, StoredGroup } from '../store/site-store.ts';
import { giveBackPayload } from './given-back.ts';
import { Group } from './group.ts';
import { GroupChanges } from './group-changes.ts';
import type { GroupContext } from './group-context.ts';
import { GroupVolumes, type GroupVolumesHost } from './group-volumes.ts';
import { fetchBlocks, HealingEvents } from './peer-blocks.ts';
import { parseConfig } from './record-payloads.ts';
import { newCounters, Volume, type VolumeHost } from './volume.ts';

/** How much of the log is read at once while it is replayed. */
const replayBytes = 16 * 1024 * 1024;

export interface OpenGroupOptions {
  readonly context: GroupContext;
  readonly stored: StoredGroup;
  readonly checkpoint: StoredCheckpoint | undefined;
  readonly recovered: RecoveredLogGroup | undefined;
  readonly register: Register;
  /** Exports come and go with the volumes. */
  readonly tableChanged: () => void;
  /**
   * The list of acceptors that the group's mode stands for (R6), once the peer's store is known.
   */
  readonly defaultAcceptors: (
    me: string,
    peer: string,
    current: readonly string[],
  ) => readonly string[];
}

/** Opens a group; when it resolves its data files have everything known to be committed. */
export async function openGroup(options: OpenGroupOptions): Promise<Group> {
  const { context, stored, checkpoint } = options;
  const resync = new GroupResync(context, stored.groupId);
  const stage = resync.unfinished;
  // In the middle of a resync the files are what the stage says, and its log follows it (R26).
  const image = stage ?? checkpoint;
  const start = image?.checkpoint ?? { sequence: 0, digest: emptyHistoryDigest };
  const logIsVoid =
    stage === undefined
      ? resync.wasDropped && !logHas(options, start)
      : options.recovered?.damaged !== undefined || !logHas(options, stage.checkpoint);
  const recovered = logIsVoid ? undefined : options.recovered;
  const end = recovered?.end ?? start;
  const config = lastConfig(image?.config, recovered);
  const commit = knownCommit(start, end, recovered);
  const tail: Frame[] = [];
  const replay: Frame[] = [];
  // Of a damaged log what comes before the damage is good and can be followed from (R30); unless it
  // is not the history of the data files.
  const isOfDataFiles =
    recovered === undefined ||
    end.sequence < start.sequence ||
    context.log.digestAt(stored.groupId, start.sequence) === start.digest;
  const state: RecoveredGroup = {
    end,
    checkpoint: start,
    commit,
    config,
    epochHistory: [...(image?.epochHistory ?? []), ...laterEpochs(start, recovered)],
    acknowledgedMark: stage === undefined ? (checkpoint?.acknowledgedMark ?? 0) : 0,
    base: stored.base,
    flags: {
      ...stored.flags,
      damaged: stored.flags.damaged || recovered?.damaged !== undefined,
      inconsistent: stored.flags.inconsistent || !isOfDataFiles,
    },
    ...(stage === undefined ? {} : { stagedFrom: stage.from.sequence }),
  };
  const host = groupVolumesHost(options, resync);
  const volumes = new GroupVolumes(host.host);
  const { groupId, base } = stored;
  const changes = new GroupChanges({ groupId, base, store: context.store, volumes });
  await volumes.load(image?.volumes ?? [], start.sequence);
  if (isOfDataFiles) {
    const points = { start, commit, end };
    await replayLog(context, stored.groupId, points, volumes, { replayed: replay, tail }, host);
  }
  const core = new GroupCore({
    storeId: context.storeId,
    groupId: stored.groupId,
    recovered: { ...state, commit: commitBoundary(commit, tail, start) },
    times: context.times,
    confirmReads: context.confirmReads,
    nowMs: context.nowMs(),
    logStart: () => context.log.firstSequence(stored.groupId),
    logWaitsForRoom: () => context.log.waitsForRoom,
    volumes: () => [...volumes.all].map(({ number, sizeBytes }) => ({ volume: number, sizeBytes })),
    digestAt: (sequence) => context.log.digestAt(stored.groupId, sequence),
    random: () => context.random(),
    defaultAcceptors: options.defaultAcceptors,
  });
  const group = new Group(context, {
    groupId: stored.groupId,
    name: stored.name,
    core,
    register: options.register,
    volumes,
    changes,
    resync,
    tail,
    end,
    logIsVoid,
  });
  host.attach(group);
  group.counters.restart(start);
  group.counters.logDamage = recovered?.damaged;
  group.counters.checkpointAtMs = context.wallMs();
  group.history.begin(image?.epochHistory ?? [], image?.config);
  for (const frame of replay) group.replayed(frame);
  group.retain(start);
  return group;
}

/**
 * The log goes through the point that the data files are at. Not so after a crash between the
 * beginning of a stage, or its end, and the cut that follows it: what the log has is of no use
 * then, for nothing of a stage counts before it is complete.
 */
function logHas({ context, stored, recovered }: OpenGroupOptions, point: HistoryPoint): boolean {
  if (recovered === undefined) return true;
  return context.log.digestAt(stored.groupId, point.sequence) === point.digest;
}

/** The configuration of the last epochStart record at or before the log's end (R8). */
function lastConfig(
  atCheckpoint: GroupConfig | undefined,
  recovered: RecoveredLogGroup | undefined,
): GroupConfig | undefined {
  if (recovered?.lastEpochStart === undefined) return atCheckpoint;
  return parseConfig(recovered.lastEpochStart);
}

function laterEpochs(start: HistoryPoint, recovered: RecoveredLogGroup | undefined) {
  return (recovered?.epochs ?? []).filter((entry) => entry.firstSequence > start.sequence);
}

/**
 * What is certainly committed, as far as this site's own disk tells (R23). Not the whole log even
 * if this site was alone in sync when it ended: its last records may have waited for a joining peer
 * (R17), which can have become primary without them. The core commits them once this site reigns.
 */
function knownCommit(
  start: HistoryPoint,
  end: HistoryPoint,
  recovered: RecoveredLogGroup | undefined,
): number {
  return Math.max(start.sequence, Math.min(recovered?.lastFrameCommit ?? 0, end.sequence));
}

/** The commit point moved down to the end of a frame, which is where histories are compared. */
function commitBoundary(commit: number, tail: readonly Frame[], start: HistoryPoint): number {
  const first = tail[0];
  const boundary = first === undefined ? commit : first.firstSequence - 1;
  return Math.max(start.sequence, Math.min(commit, boundary));
}

async function replayLog(
  context: GroupContext,
  groupId: string,
  points: { readonly start: HistoryPoint; readonly commit: number; readonly end: HistoryPoint },
  volumes: GroupVolumes,
  found: { readonly replayed: Frame[]; readonly tail: Frame[] },
  host: { readonly onFailure: (reject: (error: unknown) => void) => void },
): Promise<void> {
  let position = points.start.sequence;
  volumes.setReplaying(true);
  while (position < points.end.sequence) {
    const frames = await context.log.readFrames(groupId, position, replayBytes);
    for (const frame of frames) {
      if (frame.lastSequence <= points.commit) {
        await new Promise<void>((resolve, reject) => {
          host.onFailure(reject);
          volumes.commit(frame, false, resolve);
        });
        found.replayed.push(pointOnly(frame));
      } else {
        found.tail.push(frame);
      }
      position = frame.lastSequence;
    }
    await volumes.idle();
  }
  // Of the tail too something may be in the data files: its commit point may have been learnt
  // from a message just before the crash.
  volumes.setReplaying(false, points.end.sequence);
}

/** Of a frame that was replayed only its place in history is still needed: let go of its data. */
function pointOnly(frame: Frame): Frame {
  const first = frame.records[0];
  const keep = first !== undefined && first.kind === recordKind.epochStart;
  return { ...frame, records: keep ? [first] : [], bytes: [] };
}

function groupVolumesHost(
  options: OpenGroupOptions,
  resync: GroupResync,
): {
  host: GroupVolumesHost;
  attach: (group: Group) => void;
  /** Whom to tell of a failure while the log is replayed: the start must not wait for ever. */
  onFailure: (reject: (error: unknown) => void) => void;
} {
  const { context, stored } = options;
  let group: Group | undefined;
  let failed: (error: unknown) => void = () => undefined;
  const stallText = 'the file system of the data directory is full; writes wait for room';
  const host: GroupVolumesHost = {
    openStore: (volume, sizeBytes, { isNew, isOver }) => {
      const healing = new HealingEvents(context, stored.name, () => {
        return group?.volumes.byNumber(volume)?.name ?? String(volume);
      });
      const onStall = (error: Error | undefined): void => {
        if (group !== undefined) {
          group.counters.stalled =
            error === undefined ? undefined : { text: stallText, sinceMs: context.wallMs() };
        }
        if (error === undefined) context.event('info', 'disk-room', stored.name, 'room again');
        else context.event('error', 'disk-full', stored.name, stallText);
      };
      const storeOptions: VolumeStoreOptions = {
        disk: resync.disk,
        directory: context.dataDirectory,
        name: `${stored.groupId}-${volume}`,
        sizeBytes,
        isNew: isNew || resync.isNewHere(volume),
        checksumCacheBytesMax: context.limits.checksumCacheBytesMax,
        applyConcurrency: context.limits.applyConcurrency,
        nowMs: () => context.nowMs(),
        onProgress: () => group?.progressed(),
        onFailure: (error) => context.failed(error),
        onStall,
        delay: (ms) => context.delay(ms),
        gathered: () => context.gathered(),
        isUnsettled: (block) => resync.isUnsettled(volume, block * blockSizeBytes),
        giveBack: (record) => giveBackPayload(record, context.giveBack),
        fetchBlocks: async (offsetBytes, lengthBytes) =>
          group && (await fetchBlocks(context, group, { volume, offsetBytes, lengthBytes })),
        onHealing: (report) => healing.take(report),
      };
      // Files that a record or a resync asks for wait for room, as writes do; those of a start are
      // there.
      const isStarted = group !== undefined;
      return isNew || isStarted
        ? openWhenRoom(storeOptions, isOver)
        : VolumeStore.open(storeOptions);
    },
    makeVolume: (entry, store) => {
      return new Volume({
        number: entry.volume,
        name: entry.name,
        sizeBytes: entry.sizeBytes,
        store,
        host: lateHost(() => group, stored.name, context),
        counters: newCounters(),
      });
    },
    tableChanged: options.tableChanged,
    progressed: () => group?.progressed(),
    keepsFiles: () => resync.unfinished?.state === 'staged',
    failed: (error) => {
      context.failed(error);
      failed(error);
    },
  };
  return {
    host,
    attach: (made) => {
      group = made;
    },
    onFailure: (reject) => {
      failed = reject;
    },
  };
}

async function openWhenRoom(
  options: VolumeStoreOptions,
  isOver: () => boolean,
): Promise<VolumeStore> {
  for (let isStalled = false; ; isStalled = true) {
    try {
      const store = await VolumeStore.open(options);
      if (isStalled) options.onStall(undefined);
      return store;
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      if (!isStalled) options.onStall(error);
    }
    await options.delay(fullDiskRetryMs);
    if (isOver()) throw new StoreClosedError(options.name);
  }
}

/** The volume's view of its group; the group is made after the volumes it starts with. */
function lateHost(
  group: () => Group | undefined,
  groupName: string,
  context: GroupContext,
): VolumeHost {
  return {
    groupName,
    mayRead: () => group()?.mayRead() ?? false,
    submit: (volume, request) => {
      const made = group();
      if (made === undefined) throw new Error('a request before its group was open');
      made.submit(volume, request);
    },
    get congested() {
      return group()?.congested ?? true;
    },
    whenRoom: (resume) => (group() ?? context.memory).whenRoom(resume),
    nowMs: () => context.nowMs(),
  };
}
