/**
 * What this side of a split has changed since both sites were the same, for people: by its dirty
 * map (R27), and by what its log has above the commit point, which a site that was restarted in a
 * split does not apply before an operator has decided.
 */
import { DirtyMap, extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import type { Log } from '../../wal/log.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import type { SplitSide } from '../site-status.ts';
import type { Group } from '../volume/group.ts';
import { byteRanges } from './kept-aside.ts';

/** Ranges of one volume that are listed; the rest is told as a number of bytes. */
export const rangesShownMax = 16;
/** Of the log's tail so much is looked at. */
const tailBytesMax = 16 * 1024 * 1024;

/** How the side of this site stands; rejects if its log can't be read. */
export async function splitSide(
  group: Group,
  { site, log }: { readonly site: string; readonly log: Pick<Log, 'readFrames'> },
): Promise<SplitSide> {
  const { view, changes, volumes, groupId } = group;
  const tail = new DirtyMap();
  if (!view.reigning && view.end.sequence > view.commit && !view.staged) {
    const frames = await log.readFrames(groupId, view.commit, tailBytesMax);
    for (const frame of frames) tail.mark(frame.records);
  }
  let changedBytes = 0;
  const parts: SplitSide['volumes'][number][] = [];
  for (const { number, name, sizeBytes } of volumes.all) {
    const extents = new SparseSet();
    extents.addAll(changes.map.extents(number));
    extents.addAll(tail.extents(number));
    const bytes = extents.size * extentSizeBytes;
    const ranges = firstRanges(extents, sizeBytes);
    const shownBytes = ranges.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    changedBytes += bytes;
    // The last extent may end beyond the volume.
    const leftOutBytes = ranges.length < rangesShownMax ? 0 : Math.max(0, bytes - shownBytes);
    parts.push({ name, extents: ranges, leftOutBytes });
  }
  return {
    site,
    epoch: view.config?.epoch ?? 0,
    end: view.end.sequence,
    ...(changes.base === undefined ? {} : { since: changes.base.sequence }),
    changedBytes,
    volumes: parts,
  };
}

function firstRanges(
  extents: SparseSet,
  sizeBytes: number,
): SplitSide['volumes'][number]['extents'] {
  const first = new SparseSet();
  let count = 0;
  for (const run of extents.runs()) {
    if (count === rangesShownMax) break;
    first.add(run.first, run.end);
    count += 1;
  }
  return byteRanges(first, sizeBytes);
}
