/**
 * Files of what is gone, which a crash has left behind: the store says that a volume or a group is
 * removed before its files are (R39, R40). Looked for at the start, before groups are opened.
 *
 * Files of removed volumes are removed, unless the group is in the middle of a resync, whose end
 * sees to them: until then they may be another volume's that has the number. Of a removed group it
 * is not known whether its data was to be deleted or set aside: it is set aside.
 */
import { join } from 'node:path';
import type { GroupId } from '../../wal/frame.ts';
import type { GroupContext } from './group-context.ts';
import { asideName, setAside } from './set-aside.ts';

type LeftFilesContext = Pick<GroupContext, 'dataDirectory' | 'disk' | 'event'> & {
  readonly store: Pick<GroupContext['store'], 'groups' | 'loadCheckpoints' | 'stage'>;
};

const filePattern = /^([0-9a-f]{32})-(\d+)\.(data|checksums)(\.stage)?$/;

export async function sweepLeftFiles(context: LeftFilesContext): Promise<void> {
  const { disk, dataDirectory, event, store } = context;
  const groups = new Map(store.groups().map((group) => [group.groupId, group]));
  const gone = goneVolumes(store);
  let isChanged = false;
  for (const file of await disk.list(dataDirectory)) {
    const [, groupId = '', volume] = filePattern.exec(file) ?? [];
    const group = groups.get(groupId);
    if (group === undefined) continue;
    try {
      if (group.removed) await setAside(context, file);
      else if (gone.get(groupId)?.has(Number(volume))) await disk.remove(join(dataDirectory, file));
      else continue;
      isChanged = true;
      const what = group.removed
        ? `the removed group; it is in "${asideName}"`
        : 'a removed volume';
      event('warn', 'files-left', group.name, `${file} had been left of ${what}`);
    } catch (error) {
      // It is in nobody's way.
      event('warn', 'files-left', group.name, `${file} is left of what was removed: ${error}`);
    }
  }
  if (isChanged) await disk.syncDirectory(dataDirectory);
}

/** Numbers of volumes whose removal is in the checkpoint of their group, where that counts. */
function goneVolumes(store: LeftFilesContext['store']): Map<GroupId, ReadonlySet<number>> {
  const gone = new Map<GroupId, ReadonlySet<number>>();
  for (const [groupId, { volumes }] of store.loadCheckpoints()) {
    if (store.stage(groupId) !== undefined) continue;
    const removed = volumes.filter((entry) => entry.removed).map(({ volume }) => volume);
    const present = new Set(volumes.filter((entry) => !entry.removed).map(({ volume }) => volume));
    gone.set(groupId, new Set(removed.filter((volume) => !present.has(volume))));
  }
  return gone;
}
