/**
 * The last part of a resync (R26): what is in the stage moves into the data files, while the group
 * does what it does, and over restarts. Then nothing is left of the resync.
 */
import { isOutOfSpace } from '../../wal/disk-error.ts';
import { isWithoutRoom } from '../store/errors.ts';
import type { GroupContext } from '../volume/group-context.ts';
import type { GroupVolumes } from '../volume/group-volumes.ts';
import { oldImageOf, type Stage } from './stage.ts';

/** What could not be done is tried again after this long. */
const retryMs = 1000;

export interface MergeOptions {
  readonly context: Pick<GroupContext, 'checkpoint' | 'delay' | 'disk' | 'exclusively' | 'store'>;
  readonly volumes: Pick<GroupVolumes, 'table'>;
  /** The group is closed, or the stage is no more. */
  readonly isOver: () => boolean;
  /** The store has forgotten the stage. */
  readonly done: () => void;
}

/** Resolves when it is done, or over. Rejects if files or store fail (I8); a full disk is none. */
export async function mergeStage(stage: Stage, options: MergeOptions): Promise<void> {
  const { context, volumes, isOver } = options;
  const { files } = stage;
  files.forget(volumes.table());
  while (!isOver() && (await mergeSome(stage, options))) await context.delay(0);
  // What has moved is durable, and kept as moved, with a checkpoint begun after it.
  while (!isOver() && files.hasUnsaved) {
    await context.checkpoint();
    if (files.hasUnsaved) await context.delay(retryMs);
  }
  while (!isOver() && !(await endStage(stage, options))) await context.delay(retryMs);
}

/** Everything has moved. False: there is no room to forget the stage, which can be done anew. */
async function endStage({ files, row }: Stage, options: MergeOptions): Promise<boolean> {
  const { context, isOver } = options;
  try {
    await context.exclusively(async () => {
      if (isOver()) return;
      await files.remove();
      // A removal that no checkpoint has passed yet is done anew after a crash, by the log (R40).
      const { volumes: kept } = oldImageOf(context, row.groupId);
      await files.removeGone(kept);
      context.store.dropStage(row.groupId);
      options.done();
    });
    return true;
  } catch (error) {
    if (!isWithoutRoom(error)) throw error;
    return false;
  }
}

/** A disk that is full gets room by a checkpoint, which frees what has moved, or by an operator. */
async function mergeSome({ files }: Stage, { context }: MergeOptions): Promise<boolean> {
  try {
    return await files.mergeSome();
  } catch (error) {
    if (!isOutOfSpace(error)) throw error;
  }
  await context.checkpoint();
  await context.delay(retryMs);
  return true;
}
