/**
 * The documents that records carry in place of volume data: JSON, because there are few of them and
 * someone may have to read them in a hex dump.
 *
 * | record | document |
 * | --- | --- |
 * | epochStart | the configuration that the epoch reigns by (`GroupConfig`) |
 * | volumeAdd | {volume, name, sizeBytes} |
 * | volumeResize | {volume, sizeBytes} |
 * | volumeRemove | {volume} |
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { GroupConfig } from '../../replication/core/config.ts';
import { checksumPieces } from '../../wal/checksum.ts';
import { type LogRecord, type RecordKind, recordKind } from '../../wal/frame.ts';
import { CasemateError } from '../errors.ts';

const identifier = Type.String({ pattern: '^[0-9a-f]{32}$' });
const sequence = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const historyPoint = Type.Object({ sequence, digest: identifier });

const configSchema = Type.Object({
  epoch: sequence,
  epochId: identifier,
  primary: identifier,
  inSync: Type.Array(identifier, { maxItems: 2 }),
  acceptors: Type.Array(identifier, { maxItems: 16 }),
  leaseMs: Type.Number({ minimum: 1 }),
  graceMs: Type.Number({ minimum: 1 }),
  forced: Type.Optional(historyPoint),
  removed: Type.Optional(Type.Boolean()),
});

const volumeAddSchema = Type.Object({
  volume: Type.Integer({ minimum: 1, maximum: 0xffffffff }),
  name: Type.String({ minLength: 1, maxLength: 255 }),
  sizeBytes: sequence,
});
export type VolumeAdd = Static<typeof volumeAddSchema>;

const volumeResizeSchema = Type.Object({
  volume: Type.Integer({ minimum: 1, maximum: 0xffffffff }),
  sizeBytes: sequence,
});
export type VolumeResize = Static<typeof volumeResizeSchema>;

const volumeRemoveSchema = Type.Object({
  volume: Type.Integer({ minimum: 1, maximum: 0xffffffff }),
});
export type VolumeRemove = Static<typeof volumeRemoveSchema>;

/** Gives the record that carries `document`, ready to be put into a frame. */
export function documentRecord(kind: RecordKind, volume: number, document: unknown): LogRecord {
  const payload = [Buffer.from(JSON.stringify(document))];
  const lengthBytes = payload[0]?.length ?? 0;
  return {
    kind,
    volume,
    offsetBytes: 0,
    lengthBytes,
    origin: { boot: 0n, number: 0 },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, 0, lengthBytes),
  };
}

function parse<Schema extends TSchema>(
  schema: Schema,
  payload: Buffer,
  what: string,
): Static<Schema> {
  let document: unknown;
  try {
    document = JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new CasemateError('ERR_RECORD_DOCUMENT', `${what} record is not JSON`, { cause });
  }
  if (Value.Check(schema, document)) return document;
  const first = Value.Errors(schema, document).First();
  throw new CasemateError(
    'ERR_RECORD_DOCUMENT',
    `${what} record: ${first?.path ?? ''} ${first?.message ?? 'does not fit'}`,
  );
}

/** The configuration in an epochStart record's payload. Throws ERR_RECORD_DOCUMENT. */
export function parseConfig(payload: Buffer): GroupConfig {
  const { forced, removed, ...rest } = parse(configSchema, payload, 'epochStart');
  return {
    ...rest,
    ...(forced === undefined ? {} : { forced }),
    ...(removed === undefined ? {} : { removed }),
  };
}

/** True if `value` has the shape of a configuration: for values that come from the peer. */
export function isGroupConfig(value: unknown): value is GroupConfig {
  return Value.Check(configSchema, value);
}

/** The documents of the volume records. Each throws ERR_RECORD_DOCUMENT. */
export function parseVolumeAdd(record: LogRecord): VolumeAdd {
  return parse(volumeAddSchema, Buffer.concat(record.payload), 'volumeAdd');
}
export function parseVolumeResize(record: LogRecord): VolumeResize {
  return parse(volumeResizeSchema, Buffer.concat(record.payload), 'volumeResize');
}
export function parseVolumeRemove(record: LogRecord): VolumeRemove {
  return parse(volumeRemoveSchema, Buffer.concat(record.payload), 'volumeRemove');
}

/** The configuration that a frame's epochStart record begins, if it has one. */
export function epochStartOf(records: readonly LogRecord[]): GroupConfig | undefined {
  const record = records[0];
  if (record === undefined || record.kind !== recordKind.epochStart) return undefined;
  return parseConfig(Buffer.concat(record.payload));
}
