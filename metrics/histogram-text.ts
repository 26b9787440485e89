/**
 * Histograms in Prometheus' text format, from counts that are kept elsewhere: prom-client's own
 * histograms can only be filled one observation at a time.
 */
import type { DurationMetric, Labels } from './metric.ts';
import type { MetricsSnapshot } from './snapshot.ts';

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}

function series(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  const list = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
  return `${name}${list} ${value}`;
}

/** One metric with all its series: cumulative buckets in seconds, sum, count. */
export function histogramText(declaration: DurationMetric, snapshot: MetricsSnapshot): string {
  const { name, help, read } = declaration;
  const lines = [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} histogram`];
  for (const { labels, value } of read(snapshot)) {
    let cumulative = 0;
    for (const [index, boundMs] of snapshot.histogramBoundsMs.entries()) {
      cumulative += value.counts[index] ?? 0;
      lines.push(series(`${name}_bucket`, { ...labels, le: `${boundMs / 1000}` }, cumulative));
    }
    lines.push(series(`${name}_bucket`, { ...labels, le: '+Inf' }, value.count));
    lines.push(series(`${name}_sum`, labels, value.sumMs / 1000));
    lines.push(series(`${name}_count`, labels, value.count));
  }
  return `${lines.join('\n')}\n`;
}
