/**
 * Copies the extents that a resync wants, batch by batch (R26). A batch is asked for and written
 * while nothing is applied to its volume: what the source answers has every record that is applied
 * here, for this site learns from the source what is committed, so no newer record is overwritten
 * (H23); those that follow are applied over it.
 */
import { extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { blockSizeBytes, verifyPieces } from '../../wal/checksum.ts';
import { BlockChecksumError } from '../../wal/data-errors.ts';
import { DiskError } from '../../wal/disk-error.ts';
import { type GroupId, type LogRecord, recordKind } from '../../wal/frame.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';
import { CasemateError } from '../errors.ts';
import { type BulkCallParameters, type BulkCallResult, extentsPerCallMax } from './bulk-calls.ts';
import { extentHash } from './extents.ts';
import type { ResyncServices } from './resync-services.ts';
import type { ExtentBatch, WantedExtents } from './wanted-extents.ts';

type AskedExtent = BulkCallParameters<'resyncExtents'>['extents'][number];
type ExtentAnswer = BulkCallResult<'resyncExtents'>['extents'][number];

export interface CopyOptions {
  readonly groupId: GroupId;
  readonly site: ResyncServices;
  readonly wanted: WantedExtents;
  readonly full: boolean;
  readonly inPlace: () => boolean;
  /** The volume's files; undefined: it was removed. */
  readonly store: (volume: number) => VolumeStore | undefined;
  /** Every record up to here may have been applied to the files. */
  readonly committedThrough: () => number;
  /** Bytes of extents that came, and of those that needed not. */
  readonly copied: (bytes: { readonly receivedBytes: number; readonly sameBytes: number }) => void;
}

/** Copies one batch; false: everything is held. Rejects if the source can't be asked. */
export async function copySome(options: CopyOptions): Promise<boolean> {
  const { wanted, site } = options;
  const batch = wanted.next(extentsPerCallMax);
  if (batch === undefined) return false;
  const store = options.store(batch.volume);
  if (store === undefined) {
    wanted.forget(batch.volume);
    return true;
  }
  const { asked, answer } = await site.pace.run(() => fill(options, batch, store));
  wanted.hold(batch.volume, batch.extents, answer);
  let receivedBytes = 0;
  let lookedAtBytes = 0;
  asked.forEach(({ lengthBytes }, place) => {
    lookedAtBytes += lengthBytes;
    if (answer.extents[place]?.kind === 'data') receivedBytes += lengthBytes;
  });
  options.copied({ receivedBytes, sameBytes: lookedAtBytes - receivedBytes });
  // What was only compared costs the source's disk and the client's time as well, but less.
  await site.pace.spend(receivedBytes + lookedAtBytes / 8, answer.rateBytes);
  return true;
}

interface Filled {
  readonly asked: readonly AskedExtent[];
  readonly answer: BulkCallResult<'resyncExtents'>;
}

async function fill(options: CopyOptions, batch: ExtentBatch, store: VolumeStore): Promise<Filled> {
  const { wanted } = options;
  let filled: Filled | undefined;
  await store.replaceBlocks(async () => {
    const asked: AskedExtent[] = [];
    for (const extent of batch.extents) asked.push(await askedExtent(store, extent));
    // As of the question: what is committed after it is not applied before the answer is written.
    const applied = options.committedThrough();
    const answer = await options.site.ask('resyncExtents', {
      groupId: options.groupId,
      volume: batch.volume,
      progress: {
        full: options.full,
        inPlace: options.inPlace(),
        doneBytes: wanted.heldBytes,
        totalBytes: wanted.wantedBytes,
      },
      extents: asked,
    });
    if (answer.extents.length !== asked.length) throw badAnswer('it has other extents');
    if (answer.upTo < applied) throw badAnswer(`it ends at ${answer.upTo}, ${applied} is here`);
    filled = { asked, answer };
    return asked.flatMap((one, place) => recordsOf(batch.volume, one, answer.extents[place]));
  });
  if (filled === undefined) throw badAnswer('there is none');
  return filled;
}

/** The extent as it is here, for the source to compare with. */
async function askedExtent(store: VolumeStore, extent: number): Promise<AskedExtent> {
  const offsetBytes = extent * extentSizeBytes;
  const lengthBytes = Math.min(extentSizeBytes, store.sizeBytes - offsetBytes);
  const allocation = await store.extents(offsetBytes, lengthBytes);
  if (allocation.every(({ allocated }) => !allocated)) {
    return { extent, lengthBytes, hash: null };
  }
  const content = Buffer.alloc(wholeBlocks(lengthBytes));
  try {
    await store.readUnhealed(content.subarray(0, lengthBytes), offsetBytes);
  } catch (error) {
    if (!(error instanceof BlockChecksumError || error instanceof DiskError)) throw error;
    return { extent, lengthBytes, hash: null };
  }
  return { extent, lengthBytes, hash: extentHash(content) };
}

/** What has to be written so that the extent is as it is at the source. */
function recordsOf(
  volume: number,
  asked: AskedExtent,
  answer: ExtentAnswer | undefined,
): LogRecord[] {
  if (answer === undefined) throw badAnswer(`extent ${asked.extent} is missing`);
  if (answer.kind === 'same') {
    if (asked.hash === null) throw badAnswer(`extent ${asked.extent} can't be the same as nothing`);
    return [];
  }
  const lengthBytes = wholeBlocks(asked.lengthBytes);
  const record = {
    volume,
    offsetBytes: asked.extent * extentSizeBytes,
    lengthBytes,
    origin: { boot: 0n, number: 0 },
    flags: 0,
  };
  if (answer.kind === 'hole') {
    return [{ ...record, kind: recordKind.trim, payload: [], checksums: [] }];
  }
  const { data, checksums } = answer;
  const blocks = lengthBytes / blockSizeBytes;
  if (data.length !== lengthBytes || checksums.length !== 4 * blocks) {
    throw badAnswer(`extent ${asked.extent} has another size`);
  }
  const view = new DataView(checksums.buffer, checksums.byteOffset, checksums.length);
  const payload = [Buffer.from(data.buffer, data.byteOffset, data.length)];
  const expected = Uint32Array.from({ length: blocks }, (_, block) =>
    view.getUint32(4 * block, true),
  );
  // Here it is a question that is asked again; at the files it would be the end (I7, I8).
  if (!verifyPieces(payload, record.offsetBytes, lengthBytes, expected)) {
    throw badAnswer(`extent ${asked.extent} is not what its checksums say`);
  }
  return [{ ...record, kind: recordKind.write, payload, checksums: expected }];
}

function wholeBlocks(lengthBytes: number): number {
  return Math.ceil(lengthBytes / blockSizeBytes) * blockSizeBytes;
}

function badAnswer(what: string): CasemateError {
  return new CasemateError('ERR_RESYNC_SOURCE', `the answer of the source does not fit: ${what}`);
}
