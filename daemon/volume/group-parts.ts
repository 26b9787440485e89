/** What a group is made of; `open-group.ts` puts it together. */
import type { GroupCore } from '../../replication/core/group-core.ts';
import type { Register } from '../../replication/register/register.ts';
import type { Frame, GroupId, HistoryPoint } from '../../wal/frame.ts';
import type { GroupResync } from '../resync/group-resync.ts';
import type { GroupChanges } from './group-changes.ts';
import type { GroupVolumes } from './group-volumes.ts';

export interface GroupParts {
  readonly groupId: GroupId;
  readonly name: string;
  readonly core: GroupCore;
  readonly register: Register;
  readonly volumes: GroupVolumes;
  readonly changes: GroupChanges;
  readonly resync: GroupResync;
  /** Frames of the log that may be committed or not. */
  readonly tail: readonly Frame[];
  readonly end: HistoryPoint;
  /** What the log has of the group is of no use: the history goes on from `end`. */
  readonly logIsVoid: boolean;
}
