/**
 * A volume's data file by itself: committed 4 KiB writes at random places applied, with their
 * checksums, and what of a checkpoint its sync takes (the rest is one transaction of the store).
 */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { checksumPieces } from '../../wal/checksum.ts';
import { type LogRecord, recordKind } from '../../wal/frame.ts';
import { SystemDisk } from '../../wal/system-disk.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const sizeBytes = 256 * 2 ** 20;
const blockBytes = 4096;
const batch = 32;

export async function measureVolume({ directory, quick }: MicroContext): Promise<MicroFigure[]> {
  const writes = quick ? 2048 : 16_384;
  const own = mkdtempSync(join(directory, 'volume-'));
  let failure: Error | undefined;
  const store = await VolumeStore.open({
    disk: new SystemDisk(),
    directory: own,
    name: 'v',
    sizeBytes,
    checksumCacheBytesMax: 2 ** 20,
    applyConcurrency: 4,
    nowMs: () => performance.now(),
    onProgress: () => undefined,
    onFailure: (error) => {
      failure = error;
    },
    onStall: () => undefined,
    delay: (ms) => delay(ms),
  });
  try {
    const payload = [randomBytes(blockBytes)];
    const before = performance.now();
    for (let sequence = batch; sequence <= writes; sequence += batch) {
      store.commit(
        Array.from({ length: batch }, () => write(payload)),
        sequence,
      );
    }
    await store.idle();
    const appliedMs = performance.now() - before;
    await store.sync();
    const syncedMs = performance.now() - before - appliedMs;
    if (failure !== undefined) throw failure;
    const apply = 'apply to the data file, 4 KiB at random, per write';
    const sync = `checkpoint, sync of a data file with ${writes} such writes`;
    return [
      { name: apply, nanosecondsPerCall: (appliedMs * 1e6) / writes, bytesPerCall: blockBytes },
      { name: sync, nanosecondsPerCall: syncedMs * 1e6, bytesPerCall: writes * blockBytes },
    ];
  } finally {
    await store.close();
    rmSync(own, { recursive: true, force: true });
  }
}

function write(payload: Buffer[]): LogRecord {
  const offsetBytes = randomInt(sizeBytes / blockBytes) * blockBytes;
  return {
    kind: recordKind.write,
    volume: 1,
    offsetBytes,
    lengthBytes: blockBytes,
    origin: { boot: 1n, number: 1 },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, offsetBytes, blockBytes),
  };
}
