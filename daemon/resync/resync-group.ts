/** The group as its resync sees it. */
import type { CoreEvent, CoreView } from '../../replication/core/events.ts';
import type { GroupId, HistoryPoint } from '../../wal/frame.ts';
import type { GroupChanges } from '../volume/group-changes.ts';
import type { GroupCounters } from '../volume/group-counters.ts';
import type { GroupHistory } from '../volume/group-history.ts';
import type { GroupVolumes } from '../volume/group-volumes.ts';

/** What a resync needs of its group. */
export interface ResyncGroup {
  readonly groupId: GroupId;
  readonly groupName: string;
  readonly volumes: GroupVolumes;
  readonly counters: GroupCounters;
  readonly history: GroupHistory;
  readonly changes: GroupChanges;
  readonly view: CoreView;
  readonly closed: boolean;
  /** Gives the core an event. */
  tell(event: CoreEvent): void;
  waitFor(condition: () => boolean): Promise<void>;
  retain(checkpoint: HistoryPoint): void;
}
