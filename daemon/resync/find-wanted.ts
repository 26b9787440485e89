/**
 * Which extents a resync has to get, by what the source knows: those that have changed since the
 * base, or else all that are allocated here or there, for what is a hole there must become one.
 */
import type { CoreView } from '../../replication/core/events.ts';
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { blockSizeBytes } from '../../wal/checksum.ts';
import type { GroupId } from '../../wal/frame.ts';
import { chunkNumbers, SparseSet } from '../../wal/sparse-set.ts';
import { CasemateError } from '../errors.ts';
import type { GroupChanges } from '../volume/group-changes.ts';
import type { Volume } from '../volume/volume.ts';
import type { BulkCall, BulkCallResult } from './bulk-calls.ts';
import { allocatedExtents } from './extents.ts';
import type { StageFiles } from './stage-files.ts';
import type { WantedExtents } from './wanted-extents.ts';

export interface FindWantedOptions {
  readonly group: {
    readonly groupId: GroupId;
    readonly volumes: { byNumber(volume: number): Pick<Volume, 'store'> | undefined };
    readonly changes: Pick<GroupChanges, 'map'>;
    readonly view: Pick<CoreView, 'resolving'>;
  };
  readonly source: BulkCallResult<'resyncVolumes'>;
  readonly full: boolean;
  readonly ask: BulkCall;
  /** A stage that is given up for this resync: the data files differ from what is open now. */
  readonly staged: StageFiles | undefined;
}

/** Puts them into `wanted`. Rejects if the source can't be asked. */
export async function findWanted(
  wanted: WantedExtents,
  { group, source, full, ask, staged }: FindWantedOptions,
): Promise<void> {
  for (const { volume, removed, sizeBytes } of source.volumes) {
    if (removed) continue;
    // What has grown meanwhile comes with the records.
    const endChunk = Math.ceil(sizeBytes / (chunkNumbers * extentSizeBytes));
    for (let fromChunk = 0; fromChunk < endChunk; ) {
      const parameters = { groupId: group.groupId, volume, full, fromChunk };
      const part: BulkCallResult<'resyncMap'> = await ask('resyncMap', parameters);
      const extents = new SparseSet();
      for (const { chunk, bits } of part.chunks) {
        if (chunk < endChunk) extents.load(chunk, bits);
      }
      wanted.want(volume, extents);
      const nextChunk = part.nextChunk ?? endChunk;
      if (nextChunk <= fromChunk) throw goesInCircles(nextChunk);
      fromChunk = nextChunk;
    }
    const own = group.volumes.byNumber(volume);
    if (full && own !== undefined) {
      wanted.want(volume, await allocatedExtents(own.store));
      // A crash may have kept a hole but not that it is one: then it could never be read again.
      wanted.want(volume, extentsOf(await own.store.nonZeroBlocks()));
    }
    // A side of a split that is given up gives up what it has changed itself (R36).
    if (group.view.resolving) wanted.want(volume, group.changes.map.extents(volume));
    // Where the stage has a hole the data file below it need not have one.
    if (staged !== undefined) wanted.want(volume, extentsOf(staged.stagedBlocks(volume)));
    wanted.limit(volume, sizeBytes);
  }
}

function goesInCircles(nextChunk: number): CasemateError {
  const text = `the map of the source does not end: after it, it goes on at chunk ${nextChunk}`;
  return new CasemateError('ERR_RESYNC_SOURCE', text);
}

/** The extents that have any of these blocks. */
function extentsOf(blocks: SparseSet): SparseSet {
  const extents = new SparseSet();
  const blocksPerExtent = extentSizeBytes / blockSizeBytes;
  for (const { first, end } of blocks.runs()) {
    extents.add(Math.floor(first / blocksPerExtent), Math.ceil(end / blocksPerExtent));
  }
  return extents;
}
