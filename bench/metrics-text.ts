/** Figures out of Prometheus' text format, as the daemons serve it at /metrics. Pure. */

/** Values by metric name, summed over all labels (`_sum` and `_count` of histograms included). */
export type MetricSums = ReadonlyMap<string, number>;

const samplePattern = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)/;

/** Sums the samples of a text; comments and values that are no finite numbers are left out. */
export function sumMetrics(text: string): MetricSums {
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = samplePattern.exec(line);
    const name = match?.[1];
    const value = Number(match?.[2]);
    if (name === undefined || !Number.isFinite(value)) continue;
    sums.set(name, (sums.get(name) ?? 0) + value);
  }
  return sums;
}

/** How much a counter has grown; 0 for a counter that neither side has. */
export function growth(before: MetricSums, after: MetricSums, name: string): number {
  return (after.get(name) ?? 0) - (before.get(name) ?? 0);
}

/** Mean of what a histogram was told between two scrapes; undefined if that was nothing. */
export function meanBetween(
  before: MetricSums,
  after: MetricSums,
  histogram: string,
): number | undefined {
  const count = growth(before, after, `${histogram}_count`);
  if (count <= 0) return undefined;
  return growth(before, after, `${histogram}_sum`) / count;
}
