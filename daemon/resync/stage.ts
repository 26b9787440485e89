/**
 * A stage as the site that is resynced has it (R26): what the store says of it, its files, and what
 * is wanted and held. What becomes of it is decided in `group-resync.ts`.
 */
import { emptyHistoryDigest, type GroupId } from '../../wal/frame.ts';
import { isStoreFull } from '../store/errors.ts';
import type { StoredCheckpoint, StoredStage } from '../store/site-store.ts';
import type { GroupContext } from '../volume/group-context.ts';
import { StageFiles } from './stage-files.ts';
import { WantedExtents } from './wanted-extents.ts';

export interface Stage {
  row: StoredStage;
  readonly files: StageFiles;
  readonly wanted: WantedExtents;
}

type StageContext = Pick<GroupContext, 'disk' | 'dataDirectory'> & {
  readonly resync: Pick<GroupContext['resync'], 'stageBytesMax'>;
  readonly store: Pick<GroupContext['store'], 'goInPlace'>;
};

/** `isCurrent`: it is not given up yet; only then may it decide to go in place. */
export function makeStage(
  { disk, dataDirectory, resync, store }: StageContext,
  row: StoredStage,
  options: {
    readonly wanted?: WantedExtents;
    readonly isCurrent: () => boolean;
    readonly wentInPlace: () => void;
  },
): Stage {
  const goInPlace = (): boolean => {
    if (!options.isCurrent()) return false;
    const next: StoredStage = { ...stage.row, state: 'in-place' };
    try {
      store.goInPlace(next);
    } catch (error) {
      // Where files find no room the store may find none either: both are waited for.
      if (isStoreFull(error)) return false;
      throw error;
    }
    stage.row = next;
    options.wentInPlace();
    return true;
  };
  const stage: Stage = {
    row,
    wanted: options.wanted ?? new WantedExtents(row.reach, row.reaches),
    files: new StageFiles({
      disk,
      directory: dataDirectory,
      groupId: row.groupId,
      merging: row.state !== 'staged',
      bytesMax: resync.stageBytesMax,
      noRoom: goInPlace,
    }),
  };
  return stage;
}

/** What a group's own checkpoint says; while a stage is unfinished that is the old image. */
export function oldImageOf(
  { store }: Pick<GroupContext, 'store'>,
  groupId: GroupId,
): Pick<StoredCheckpoint, 'checkpoint' | 'epochHistory' | 'config' | 'volumes'> {
  const nothing = { sequence: 0, digest: emptyHistoryDigest };
  const none = { checkpoint: nothing, epochHistory: [], config: undefined, volumes: [] };
  return store.loadCheckpoints().get(groupId) ?? none;
}
