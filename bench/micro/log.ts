/**
 * Group commit of the real log on the real disk, without network and protocol: frames of so many
 * 4 KiB writes handed to the log one after the other, each when the one before is durable. The
 * difference to the physical limit is what the log itself costs.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checksumPieces } from '../../wal/checksum.ts';
import { emptyHistoryDigest, type LogRecord, recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { type Appender, Log, type LogEntry } from '../../wal/log.ts';
import { SystemDisk } from '../../wal/system-disk.ts';
import { latencyOf } from '../statistics.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const groupId = 'a1'.repeat(16);
const epochId = 'b2'.repeat(16);
const storeId = 'c3'.repeat(16);
const mebibyte = 2 ** 20;
const warmUpCommits = 200;

/** One figure per frame size: the median time from handing over a frame to its being durable. */
export async function measureLog({ directory, quick }: MicroContext): Promise<MicroFigure[]> {
  const figures: MicroFigure[] = [];
  const commits = quick ? 500 : 2000;
  for (const writes of [1, 32, 128]) figures.push(await measure(directory, writes, commits));
  return figures;
}

/** A log of this store in the directory, made or recovered, with room for half a gibibyte. */
export function openLog(directory: string): ReturnType<typeof Log.open> {
  return Log.open({
    disk: new SystemDisk(),
    directory: join(directory, 'log'),
    storeId,
    marks: new Map(),
    segmentSizeBytes: 64 * mebibyte,
    sizeBytesMax: 512 * mebibyte,
    commitBytesMax: 4 * mebibyte,
    nowMs: () => performance.now(),
  });
}

async function measure(parent: string, writes: number, commits: number): Promise<MicroFigure> {
  const directory = mkdtempSync(join(parent, 'log-'));
  try {
    const { log } = await openLog(directory);
    const client = new LogClient(log, writes);
    for (let count = 0; count < warmUpCommits; count += 1) await client.commit();
    const samplesUs: number[] = [];
    for (let count = 0; count < commits; count += 1) {
      const before = performance.now();
      await client.commit();
      samplesUs.push((performance.now() - before) * 1000);
    }
    await log.close();
    return {
      name: `log, commit of ${writes} x 4 KiB, median`,
      nanosecondsPerCall: latencyOf(samplesUs).p50Us * 1000,
      bytesPerCall: writes * 4096,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A group whose next frame is formed when it is asked for, and freed once it is durable. */
export class LogClient implements Appender {
  readonly groupId = groupId;
  readonly urgent = false;
  readonly #log: Log;
  readonly #records: readonly LogRecord[];
  readonly #keeps: boolean;
  #pending: (() => void) | undefined;
  #end = { sequence: 0, digest: emptyHistoryDigest };

  /** With `keeps` nothing is freed: everything is there to be recovered. */
  constructor(log: Log, writes: number, keeps = false) {
    this.#log = log;
    this.#keeps = keeps;
    this.#records = Array.from({ length: writes }, (_, index) => write(index));
  }

  commit(): Promise<void> {
    return new Promise((resolve) => {
      this.#pending = resolve;
      this.#log.schedule(this);
    });
  }

  takeEntries(): readonly LogEntry[] {
    if (this.#pending === undefined) return [];
    const frame = encodeFrame({
      groupId,
      epoch: 1,
      epochId,
      firstSequence: this.#end.sequence + 1,
      commit: this.#end.sequence,
      timeMs: 1_700_000_000_000,
      digestBefore: this.#end.digest,
      records: this.#records,
    });
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    return [{ kind: 'frame', frame }];
  }

  entriesDurable(): void {
    const done = this.#pending;
    this.#pending = undefined;
    const { sequence } = this.#end;
    if (!this.#keeps) this.#log.retain(groupId, { own: sequence, peer: sequence });
    done?.();
  }
}

function write(index: number): LogRecord {
  const payload = [randomBytes(4096)];
  const offsetBytes = index * 4096;
  return {
    kind: recordKind.write,
    volume: 1,
    offsetBytes,
    lengthBytes: 4096,
    origin: { boot: 0x1234_5678_9abc_def0n, number: index + 1 },
    flags: 0,
    payload,
    checksums: checksumPieces(payload, offsetBytes, 4096),
  };
}
