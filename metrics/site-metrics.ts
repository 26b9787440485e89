/**
 * The Prometheus registry of one site. Nothing is counted here: at each scrape a snapshot of the
 * counters that their owners keep is taken, and every metric reads from it. The only file that
 * imports prom-client.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type DurationMetric, declarations, type NumberMetric } from './declarations.ts';
import { histogramText } from './histogram-text.ts';
import type { MetricsSnapshot } from './snapshot.ts';

/** Gauges that prom-client names as if they were counters; the same figures are there by type. */
const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

export class SiteMetrics {
  readonly contentType: string;
  readonly #registry = new Registry();
  readonly #histograms: DurationMetric[] = [];
  readonly #snapshot: () => MetricsSnapshot;
  /** The snapshot of the scrape that is under way. */
  #current: MetricsSnapshot | undefined;

  /** @param snapshot gives the site's figures as they are at the moment of the call */
  constructor(snapshot: () => MetricsSnapshot) {
    this.#snapshot = snapshot;
    this.contentType = this.#registry.contentType;
    for (const declaration of declarations) {
      if (declaration.type === 'histogram') this.#histograms.push(declaration);
      else this.#register(declaration);
    }
    // Event-loop delay (p50, p90, p99), garbage collection, memory and CPU of the process.
    collectDefaultMetrics({ register: this.#registry });
    for (const name of misnamed) this.#registry.removeSingleMetric(name);
  }

  /** All metrics in Prometheus' text format, all from one snapshot. */
  async text(): Promise<string> {
    const snapshot = this.#snapshot();
    this.#current = snapshot;
    const numbers = await this.#registry.metrics();
    const histograms = this.#histograms.map((declaration) => histogramText(declaration, snapshot));
    return [numbers, ...histograms].join('\n');
  }

  #register({ type, name, help, labels, read }: NumberMetric): void {
    const samples = () => read(this.#current ?? this.#snapshot());
    const options = { name, help, labelNames: labels, registers: [this.#registry] };
    if (type === 'gauge') {
      new Gauge({
        ...options,
        collect() {
          this.reset();
          for (const { labels, value } of samples()) this.set(labels, value);
        },
      });
    } else {
      new Counter({
        ...options,
        collect() {
          this.reset();
          for (const { labels, value } of samples()) this.inc(labels, value);
        },
      });
    }
  }
}
