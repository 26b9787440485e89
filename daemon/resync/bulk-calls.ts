/**
 * What a site that is being resynced asks of its source, on the connection for bulk (R26). The
 * source remembers nothing: each question says what it is about, and the one who asks knows what it
 * has. Both sides check what they are given.
 */
import { type Static, Type } from '@sinclair/typebox';

const identifier = Type.String({ pattern: '^[0-9a-f]{32}$' });
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const historyPoint = Type.Object({ sequence: count, digest: identifier });

/** Extents in one question. */
export const extentsPerCallMax = 16;
/** Chunks of a map in one answer. */
export const chunksPerCallMax = 128;
const extentBytesMax = 64 * 1024;
export const chunkBytes = 4096;

export const bulkCalls = {
  /** The volumes of the group, with every record up to `from`. */
  resyncVolumes: {
    parameters: Type.Object({
      groupId: identifier,
      from: count,
      base: Type.Union([historyPoint, Type.Null()]),
      /** Since when the one who asks knows its own changes, if those have to go (R36). */
      own: Type.Union([historyPoint, Type.Null()]),
    }),
    result: Type.Object({
      /** The source knows what has changed since `base`, and has had `own` in its history. */
      knowsChanges: Type.Boolean(),
      /** The volumes are as of this record; a source of version 0.1.0 may not tell. */
      reach: Type.Optional(count),
      volumes: Type.Array(
        Type.Object({
          volume: count,
          name: Type.String({ minLength: 1, maxLength: 255 }),
          sizeBytes: count,
          removed: Type.Boolean(),
        }),
        { maxItems: 100_000 },
      ),
    }),
  },
  /** Which extents of a volume have changed since the base, or (full) are allocated. */
  resyncMap: {
    parameters: Type.Object({
      groupId: identifier,
      volume: count,
      full: Type.Boolean(),
      fromChunk: count,
    }),
    result: Type.Object({
      chunks: Type.Array(
        Type.Object({
          chunk: count,
          bits: Type.Uint8Array({ minByteLength: chunkBytes, maxByteLength: chunkBytes }),
        }),
        { maxItems: chunksPerCallMax },
      ),
      /** Where to go on; null: that was all. */
      nextChunk: Type.Union([count, Type.Null()]),
    }),
  },
  /** Extents as they are at the source, but for those that are the same (by SHA-256). */
  resyncExtents: {
    parameters: Type.Object({
      groupId: identifier,
      volume: count,
      /** As far as the one who asks is, for the source's status. */
      progress: Type.Object({
        full: Type.Boolean(),
        inPlace: Type.Boolean(),
        doneBytes: count,
        totalBytes: count,
      }),
      extents: Type.Array(
        Type.Object({
          extent: count,
          lengthBytes: Type.Integer({ minimum: 1, maximum: extentBytesMax }),
          /** Of what is there; null: a hole, or nothing that could be the same. */
          hash: Type.Union([
            Type.Uint8Array({ minByteLength: 32, maxByteLength: 32 }),
            Type.Null(),
          ]),
        }),
        { minItems: 1, maxItems: extentsPerCallMax },
      ),
    }),
    result: Type.Object({
      /** Every record up to here is in what was read. */
      upTo: count,
      /** No record after this is. */
      reach: count,
      /** Of the source's reign then; a source of version 0.1.0 may not tell. */
      epoch: Type.Optional(count),
      /** Bytes per second that resyncs may take now. */
      rateBytes: Type.Number({ minimum: 1 }),
      extents: Type.Array(
        Type.Union([
          Type.Object({ kind: Type.Literal('same') }),
          Type.Object({ kind: Type.Literal('hole') }),
          Type.Object({
            kind: Type.Literal('data'),
            data: Type.Uint8Array({ minByteLength: 4096, maxByteLength: extentBytesMax }),
            /** CRC32C of each block, four bytes, little-endian. */
            checksums: Type.Uint8Array({ minByteLength: 4, maxByteLength: 64 }),
          }),
        ]),
        { maxItems: extentsPerCallMax },
      ),
    }),
  },
} as const;

export type BulkCallName = keyof typeof bulkCalls;
export type BulkCallParameters<Name extends BulkCallName> = Static<
  (typeof bulkCalls)[Name]['parameters']
>;
export type BulkCallResult<Name extends BulkCallName> = Static<(typeof bulkCalls)[Name]['result']>;

/** Asks the source; rejects when it can't be reached, or can't answer. */
export type BulkCall = <Name extends BulkCallName>(
  method: Name,
  parameters: BulkCallParameters<Name>,
) => Promise<BulkCallResult<Name>>;
