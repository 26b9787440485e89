/**
 * What a checkpoint keeps of one group, all in one transaction: where its data files are, what has
 * changed since the base (R27), and how far its resync is (R26). While a group is staged its own
 * checkpoint stays what it was, the old image; the stage's moves on instead.
 */
import type { HistoryPoint } from '../../wal/frame.ts';
import type { StageSave, StoredCheckpoint } from '../store/site-store.ts';
import type { Group } from '../volume/group.ts';
import type { HeldExtents } from './group-resync.ts';
import type { ResyncSave } from './resync-save.ts';

/** What of a group a checkpoint keeps. */
export type SavedGroup = Pick<Group, 'groupId'> & {
  readonly history: Pick<Group['history'], 'at'>;
  readonly volumes: Pick<Group['volumes'], 'table'>;
  readonly resync: Pick<Group['resync'], 'save'>;
  readonly changes: Pick<Group['changes'], 'take'>;
  readonly view: Pick<Group['view'], 'commit'>;
};

export interface GroupSave {
  readonly checkpoint: StoredCheckpoint | undefined;
  readonly stage: StageSave | undefined;
  readonly resync: ResyncSave | undefined;
  /** The store has it: what was changed is taken for kept. */
  kept(): void;
}

/** Everything up to `point` is synced in the group's files, and so is what is `held`. */
export function groupSave(
  group: SavedGroup,
  point: HistoryPoint,
  held: HeldExtents | undefined,
): GroupSave {
  const copy = {
    checkpoint: point,
    ...group.history.at(point.sequence),
    volumes: group.volumes.table(),
  };
  const resync = group.resync.save(copy, held);
  if (resync?.checkpointStays === true) {
    return { checkpoint: undefined, stage: resync.save, resync, kept: () => undefined };
  }
  const changes = group.changes.take();
  return {
    checkpoint: {
      groupId: group.groupId,
      ...copy,
      acknowledgedMark: group.view.commit,
      chunks: changes.chunks,
    },
    stage: resync?.save,
    resync,
    kept: () => changes.kept(),
  };
}
