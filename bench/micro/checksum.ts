/** CRC32C as the write path uses it: computed where a write enters, verified at every hop (I7). */
import { randomBytes } from 'node:crypto';
import { checksumPieces, crc32c, verifyPieces } from '../../wal/checksum.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

export async function measureChecksums({ time }: MicroContext): Promise<MicroFigure[]> {
  const block = randomBytes(4096);
  const large = randomBytes(2 ** 20);
  const chunks = Array.from({ length: 16 }, (_, index) =>
    large.subarray(index * 65_536, (index + 1) * 65_536),
  );
  const blockChecksums = checksumPieces([block], 0, block.length);
  return [
    time('crc32c, 4 KiB', block.length, () => crc32c(block)),
    time('checksumPieces, 4 KiB', block.length, () => checksumPieces([block], 0, block.length)),
    time('checksumPieces, 4 KiB at offset 512', block.length, () =>
      checksumPieces([block], 512, block.length),
    ),
    time('checksumPieces, 1 MiB in 16 slices', large.length, () =>
      checksumPieces(chunks, 0, large.length),
    ),
    time('verifyPieces, 4 KiB', block.length, () =>
      verifyPieces([block], 0, block.length, blockChecksums),
    ),
  ];
}
