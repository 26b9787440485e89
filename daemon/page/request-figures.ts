/** What clients of a site have asked for since it started: the sums that the page's plots need. */
import type { HistogramSnapshot, MetricsSnapshot } from '../../metrics/snapshot.ts';

export interface RequestSums {
  readonly requests: number;
  readonly bytes: number;
  /** Of the latency: sum, and observations per bucket (the last one is beyond all bounds). */
  readonly sumMs: number;
  readonly counts: readonly number[];
}

/** All of it only ever grows, until the daemon is started anew. */
export interface RequestFigures {
  readonly boundsMs: readonly number[];
  readonly read: RequestSums;
  readonly write: RequestSums;
}

type Sums = { requests: number; bytes: number; sumMs: number; counts: number[] };

function add(sums: Sums, latency: HistogramSnapshot, bytes: number): void {
  sums.requests += latency.count;
  sums.bytes += bytes;
  sums.sumMs += latency.sumMs;
  latency.counts.forEach((count, bucket) => {
    sums.counts[bucket] = (sums.counts[bucket] ?? 0) + count;
  });
}

/** The sums over all volumes. */
export function requestFigures({
  volumes,
  histogramBoundsMs,
}: Pick<MetricsSnapshot, 'volumes' | 'histogramBoundsMs'>): RequestFigures {
  const none = (): Sums => {
    return { requests: 0, bytes: 0, sumMs: 0, counts: histogramBoundsMs.map(() => 0).concat(0) };
  };
  const read = none();
  const write = none();
  for (const volume of volumes) {
    add(read, volume.readLatency, volume.readBytes);
    add(write, volume.writeLatency, volume.writtenBytes);
  }
  return { boundsMs: histogramBoundsMs, read, write };
}
