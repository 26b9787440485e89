/** What the log counts while it writes; owned by the writer, read as plain numbers. */
import { LatencyHistogram } from './latency-histogram.ts';
import type { FramesPerCommit, LogEntry } from './log-types.ts';

const frameBounds: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

export class LogCounters {
  appendedBytes = 0;
  payloadBytes = 0;
  frames = 0;
  records = 0;
  cuts = 0;
  commits = 0;
  waitsForRoom = 0;
  segmentsTakenFromPeer = 0;
  readonly commitLatency = new LatencyHistogram();
  readonly #framesPerCommit = new Float64Array(frameBounds.length + 1);

  entry(entry: LogEntry): void {
    if (entry.kind === 'cut') {
      this.cuts += 1;
      return;
    }
    this.frames += 1;
    this.records += entry.frame.records.length;
    for (const record of entry.frame.records) {
      if (record.payload.length > 0) this.payloadBytes += record.lengthBytes;
    }
  }

  commit(options: { frames: number; bytes: number; tookMs: number }): void {
    this.commits += 1;
    this.appendedBytes += options.bytes;
    this.commitLatency.observe(options.tookMs);
    let bucket = 0;
    while (bucket < frameBounds.length && (frameBounds[bucket] ?? 0) < options.frames) bucket += 1;
    this.#framesPerCommit[bucket] = (this.#framesPerCommit[bucket] ?? 0) + 1;
  }

  framesPerCommit(): FramesPerCommit {
    return { bounds: frameBounds, counts: Array.from(this.#framesPerCommit) };
  }
}
