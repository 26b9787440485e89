/**
 * The source's side of a resync (R26): answers from committed state what the other site asks. It
 * remembers nothing between two questions but what its status shows.
 */
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { blockSizeBytes, checksumPieces } from '../../wal/checksum.ts';
import type { HistoryPoint } from '../../wal/frame.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';
import { CasemateError } from '../errors.ts';
import type { Group } from '../volume/group.ts';
import type { Volume } from '../volume/volume.ts';
import { type BulkCallParameters, type BulkCallResult, chunksPerCallMax } from './bulk-calls.ts';
import { allocatedExtents, extentHash } from './extents.ts';

/** How long a question waits for its records to be in effect here. */
const reachMsMax = 10_000;

type ExtentAnswer = BulkCallResult<'resyncExtents'>['extents'][number];

export async function answerVolumes(
  group: Group | undefined,
  asked: BulkCallParameters<'resyncVolumes'>,
  delay: (ms: number) => Promise<void>,
): Promise<BulkCallResult<'resyncVolumes'>> {
  const source = reigning(group);
  let isLate = false;
  const reached = (): boolean => isLate || source.volumes.committedThrough >= asked.from;
  if (!reached()) await Promise.race([source.waitFor(reached), delay(reachMsMax)]);
  isLate = true;
  if (source.volumes.committedThrough < asked.from) {
    throw cannot(`record ${asked.from} is not in effect here`);
  }
  const { base } = source.changes;
  const knowsChanges =
    asked.base !== null &&
    base?.sequence === asked.base.sequence &&
    base.digest === asked.base.digest &&
    (asked.own === null || provesOwn(source, asked.own, base));
  const { committedThrough: reach } = source.volumes;
  return { knowsChanges, reach, volumes: source.volumes.table() };
}

/**
 * What the other side changed since `own` and what this one changed since `base` is all that
 * differs, if the newer of the two is in both histories; the other side has looked at `base`.
 */
function provesOwn(source: Group, own: HistoryPoint, base: HistoryPoint): boolean {
  return own.sequence <= base.sequence || source.resync.hasPoint(own);
}

export async function answerMap(
  group: Group | undefined,
  asked: BulkCallParameters<'resyncMap'>,
): Promise<BulkCallResult<'resyncMap'>> {
  const source = reigning(group);
  const volume = volumeOf(source, asked.volume);
  if (!asked.full && source.changes.base === undefined) {
    throw cannot('there is no base to compare with');
  }
  const extents = asked.full
    ? await allocatedExtents(volume.store)
    : source.changes.map.extents(asked.volume);
  const all = extents.chunks().filter(({ chunk }) => chunk >= asked.fromChunk);
  const chunks = all
    .slice(0, chunksPerCallMax)
    .flatMap(({ chunk, bits }) => (bits === undefined ? [] : [{ chunk, bits }]));
  return { chunks, nextChunk: all[chunksPerCallMax]?.chunk ?? null };
}

export async function answerExtents(
  group: Group | undefined,
  asked: BulkCallParameters<'resyncExtents'>,
  rateBytes: number,
): Promise<BulkCallResult<'resyncExtents'>> {
  const source = reigning(group);
  const { store } = volumeOf(source, asked.volume);
  source.resync.peerAsks(asked.progress);
  // What is read has at least these records: they are in effect, and reads show them (H24).
  const upTo = source.volumes.committedThrough;
  const extents: ExtentAnswer[] = [];
  for (const { extent, lengthBytes, hash } of asked.extents) {
    extents.push(await answerExtent(store, { extent, lengthBytes, hash }));
  }
  if (!source.view.reigning) throw cannot('this site is primary no more');
  const { epoch } = source.view.config ?? {};
  const reach = source.volumes.committedThrough;
  return { upTo, reach, rateBytes, extents, ...(epoch === undefined ? {} : { epoch }) };
}

async function answerExtent(
  store: VolumeStore,
  asked: BulkCallParameters<'resyncExtents'>['extents'][number],
): Promise<ExtentAnswer> {
  const offsetBytes = asked.extent * extentSizeBytes;
  const { lengthBytes } = asked;
  if (offsetBytes + lengthBytes > store.sizeBytes) throw cannot('the volume is smaller here');
  const allocation = await store.extents(offsetBytes, lengthBytes);
  if (allocation.every(({ allocated }) => !allocated)) return { kind: 'hole' };
  const paddedBytes = Math.ceil(lengthBytes / blockSizeBytes) * blockSizeBytes;
  const content = Buffer.alloc(paddedBytes);
  await store.readUnhealed(content.subarray(0, lengthBytes), offsetBytes);
  if (asked.hash !== null && extentHash(content).equals(asked.hash)) return { kind: 'same' };
  const checksums = Buffer.alloc((paddedBytes / blockSizeBytes) * 4);
  checksumPieces([content], offsetBytes, paddedBytes).forEach((checksum, place) => {
    checksums.writeUInt32LE(checksum, 4 * place);
  });
  return { kind: 'data', data: content, checksums };
}

function reigning(group: Group | undefined): Group {
  if (group === undefined) throw cannot('this site does not have the group');
  if (!group.view.reigning) throw cannot('this site is not primary of the group');
  return group;
}

function volumeOf(group: Group, number: number): Volume {
  const volume = group.volumes.byNumber(number);
  if (volume === undefined) throw cannot(`there is no volume ${number}`);
  return volume;
}

function cannot(why: string): CasemateError {
  return new CasemateError('ERR_RESYNC_SOURCE', `a resync can't be served: ${why}`);
}
