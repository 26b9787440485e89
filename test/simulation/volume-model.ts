/** A volume as a plain buffer, and random records for it: what a VolumeStore is compared with. */
import { checksumPieces } from '../../wal/checksum.ts';
import { type LogRecord, recordFlagNoHole, recordKind } from '../../wal/frame.ts';
import type { SeededRandom } from './seeded-random.ts';

const noOrigin = { boot: 0n, number: 0 };

export function writeRecord(data: Buffer, offsetBytes: number, volume = 1): LogRecord {
  // In two slices, as receive buffers may cut it anywhere.
  const cut = Math.floor(data.length / 3);
  const payload = cut === 0 ? [data] : [data.subarray(0, cut), data.subarray(cut)];
  return {
    kind: recordKind.write,
    volume,
    offsetBytes,
    lengthBytes: data.length,
    origin: noOrigin,
    flags: 0,
    payload,
    checksums: checksumPieces(payload, offsetBytes, data.length),
  };
}

export function zeroRecord(
  kind: 'trim' | 'writeZeroes',
  offsetBytes: number,
  lengthBytes: number,
  options: { readonly noHole?: boolean; readonly volume?: number } = {},
): LogRecord {
  return {
    kind: recordKind[kind],
    volume: options.volume ?? 1,
    offsetBytes,
    lengthBytes,
    origin: noOrigin,
    flags: options.noHole === true ? recordFlagNoHole : 0,
    payload: [],
    checksums: [],
  };
}

/** A random record: whole blocks, parts of blocks, or both; a write, zeroes or a trim. */
export function randomRecord(random: SeededRandom, sizeBytes: number, volume = 1): LogRecord {
  const unit = random.pick([1, 512, 4096, 4096, 4096]);
  const units = Math.floor(sizeBytes / unit);
  const longest = Math.max(1, Math.min(units, Math.ceil(random.pick([4096, 8192, 40_000]) / unit)));
  const count = 1 + random.below(longest);
  const offsetBytes = random.below(units - count + 1) * unit;
  const lengthBytes = count * unit;
  if (random.chance(0.2)) {
    const kind = random.pick(['trim', 'writeZeroes'] as const);
    return zeroRecord(kind, offsetBytes, lengthBytes, { noHole: random.chance(0.3), volume });
  }
  return writeRecord(Buffer.alloc(lengthBytes, 1 + random.below(255)), offsetBytes, volume);
}

/** Applies a record to the model at once. */
export function applyToModel(model: Buffer, record: LogRecord): void {
  const { offsetBytes, lengthBytes } = record;
  if (record.kind !== recordKind.write) {
    model.fill(0, offsetBytes, offsetBytes + lengthBytes);
    return;
  }
  let position = offsetBytes;
  for (const slice of record.payload) position += slice.copy(model, position);
}
