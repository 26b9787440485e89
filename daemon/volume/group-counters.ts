/**
 * What is counted of a group, and where its data files are: the points of history that committed
 * frames end at, from the checkpoint to the commit point, so that a checkpoint always falls on the
 * end of a frame and its digest is known.
 */
import { emptyHistoryDigest, type HistoryPoint } from '../../wal/frame.ts';
import { LatencyHistogram } from '../../wal/latency-histogram.ts';
import type { FrameInFlight } from './frames-in-flight.ts';
import { Queue } from './queue.ts';

export class GroupCounters {
  framesFormed = 0;
  recordsFormed = 0;
  /** From the forming of a frame until it is durable here, there, and committed. */
  readonly localLogLatency = new LatencyHistogram();
  readonly peerLatency = new LatencyHistogram();
  readonly commitLatency = new LatencyHistogram();
  checkpoint: HistoryPoint = { sequence: 0, digest: emptyHistoryDigest };
  checkpointAtMs = 0;
  checkpointDurationMs = 0;
  /** What recovery found missing or wrong in the log, in words. */
  logDamage: string | undefined;
  /** Why the data files take nothing for the moment, and since when by the wall clock. */
  stalled: { readonly text: string; readonly sinceMs: number } | undefined;
  /** The log has no room for the group's writes, and since when by the wall clock. */
  logFull: { readonly text: string; readonly sinceMs: number } | undefined;
  /** Wall clock of the newest record that is known to be on both sites. */
  lastOnBothSitesMs: number | undefined;
  #suspendedMs = 0;
  #suspendedSinceMs: number | undefined;
  readonly #points = new Queue<HistoryPoint>();
  #applied: HistoryPoint | undefined;

  /** A frame is committed. */
  committed(entry: FrameInFlight, onBothSites: boolean, nowMs: number): void {
    const { frame, formedAtMs, durableAtMs, peerDurableAtMs } = entry;
    if (durableAtMs > 0) this.localLogLatency.observe(durableAtMs - formedAtMs);
    if (peerDurableAtMs > 0) this.peerLatency.observe(peerDurableAtMs - formedAtMs);
    this.commitLatency.observe(nowMs - formedAtMs);
    if (onBothSites) this.lastOnBothSitesMs = frame.timeMs;
    this.reached(frame);
  }

  /** The frame's records are committed: a checkpoint may fall on its end. */
  reached(frame: { readonly lastSequence: number; readonly digestAfter: string }): void {
    this.#points.push({ sequence: frame.lastSequence, digest: frame.digestAfter });
  }

  /** The history begins anew after `point`, which is also where the data files are. */
  restart(point: HistoryPoint): void {
    this.#points.drain();
    this.#applied = point;
    this.checkpoint = point;
  }

  /** The newest end of a committed frame that is known. */
  get committedPoint(): HistoryPoint {
    return this.#points.last() ?? this.#applied ?? this.checkpoint;
  }

  /** The newest end of a frame at or below `sequence`, since the last call moved past it. */
  appliedPoint(sequence: number): HistoryPoint | undefined {
    for (;;) {
      const point = this.#points.peek();
      if (point === undefined || point.sequence > sequence) return this.#applied;
      this.#applied = point;
      this.#points.shift();
    }
  }

  /** Whether writes are taken: the time in which they are not is counted. */
  noteServing(serving: boolean, nowMs: number): void {
    if (serving) {
      if (this.#suspendedSinceMs !== undefined) {
        this.#suspendedMs += nowMs - this.#suspendedSinceMs;
        this.#suspendedSinceMs = undefined;
      }
    } else {
      this.#suspendedSinceMs ??= nowMs;
    }
  }

  suspendedMs(nowMs: number): number {
    const current = this.#suspendedSinceMs === undefined ? 0 : nowMs - this.#suspendedSinceMs;
    return this.#suspendedMs + current;
  }
}
