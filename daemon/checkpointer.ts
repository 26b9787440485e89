/**
 * Checkpoints: every so often, and when the log has grown, the data files are synced, the point up
 * to which they are durable is kept in the store, and only then the log may let go of what lies
 * below (R18, R27, R31). One at a time, for all groups of the site in one transaction.
 */
import type { HistoryPoint } from '../wal/frame.ts';
import type { Log } from '../wal/log.ts';
import type { HeldExtents } from './resync/group-resync.ts';
import { groupSave, type SavedGroup } from './resync/group-save.ts';
import { isStoreFull } from './store/errors.ts';
import type { SiteStore } from './store/site-store.ts';
import type { Group } from './volume/group.ts';

/** A group as its checkpoints see it. */
export type CheckpointedGroup = SavedGroup &
  Pick<Group, 'appliedPoint' | 'checkpointed' | 'closed' | 'counters'> & {
    readonly resync: Pick<Group['resync'], 'takeHeld' | 'wantsSave'>;
    readonly volumes: Pick<Group['volumes'], 'sync'>;
  };

export interface CheckpointerOptions {
  readonly groups: () => Iterable<CheckpointedGroup>;
  readonly store: Pick<SiteStore, 'saveCheckpoint'>;
  readonly log: Pick<Log, 'bytesSinceCheckpointHint'>;
  readonly intervalMs: number;
  /** Log bytes after which a checkpoint is made before its time. */
  readonly logBytes: number;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly failed: (error: unknown) => void;
  /** The disk has no room for the checkpoint: nothing is lost, it is tried again. */
  readonly postponed: (error: unknown) => void;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #running: Promise<void> | undefined;
  #lastMs: number;
  #stopped = false;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#lastMs = options.nowMs();
  }

  /** Starts a checkpoint if it is time for one. */
  tick(): void {
    if (this.#running !== undefined || this.#stopped) return;
    const { nowMs, intervalMs, log, logBytes } = this.#options;
    const due = nowMs() - this.#lastMs >= intervalMs;
    if (due || log.bytesSinceCheckpointHint >= logBytes) void this.run();
  }

  /** Makes a checkpoint now, or joins the one that is under way. */
  run(): Promise<void> {
    this.#running ??= this.#make()
      .catch((error: unknown) => {
        if (isStoreFull(error)) {
          this.#options.postponed(error);
          return;
        }
        // A sync that failed can't be repeated (I8): what it covered may be lost from the cache.
        this.#stopped = true;
        this.#options.failed(error);
      })
      .finally(() => {
        this.#running = undefined;
        this.#lastMs = this.#options.nowMs();
      });
    return this.#running;
  }

  /** Runs a task while no checkpoint is under way, such as opening data files anew. */
  async exclusively(task: () => Promise<void>): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    const running = task();
    this.#running = running
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
      });
    await running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #make(): Promise<void> {
    const { store, nowMs, wallMs } = this.#options;
    const started = nowMs();
    const moved: {
      group: CheckpointedGroup;
      point: HistoryPoint;
      held: HeldExtents | undefined;
    }[] = [];
    for (const group of this.#options.groups()) {
      const point = group.appliedPoint;
      if (point === undefined) continue;
      const isBehind = point.sequence > group.counters.checkpoint.sequence;
      // What is held is taken before the sync that makes it durable (R26).
      if (isBehind || group.resync.wantsSave) {
        moved.push({ group, point, held: group.resync.takeHeld() });
      }
    }
    if (moved.length === 0) {
      for (const group of this.#options.groups()) group.counters.checkpointAtMs = wallMs();
      return;
    }
    for (const { group } of moved) await syncUnlessClosed(group);
    const kept = moved
      .filter(({ group }) => !group.closed)
      .map(({ group, point, held }) => ({ group, point, save: groupSave(group, point, held) }));
    store.saveCheckpoint(
      kept.flatMap(({ save }) => save.checkpoint ?? []),
      kept.flatMap(({ save }) => save.stage ?? []),
    );
    // Nothing may come between, or what a group keeps meanwhile is taken for older than this.
    for (const { group, point, save } of kept) {
      save.kept();
      group.counters.checkpoint = point;
      group.counters.checkpointAtMs = wallMs();
      group.counters.checkpointDurationMs = nowMs() - started;
      group.checkpointed(point);
      save.resync?.kept();
    }
    for (const { save } of kept) await save.resync?.release();
  }
}

/** A group that is removed meanwhile has closed its files, which is no failure of theirs. */
async function syncUnlessClosed(group: CheckpointedGroup): Promise<void> {
  try {
    await group.volumes.sync();
  } catch (error) {
    if (!group.closed) throw error;
  }
}
