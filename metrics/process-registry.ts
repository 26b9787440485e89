/**
 * The Prometheus registry of one process, of whichever kind. Nothing is counted here: at each
 * scrape a snapshot of the counters that their owners keep is taken, and every metric reads from
 * it. The only file that imports prom-client.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { NumberMetric } from './metric.ts';

/** Gauges that prom-client names as if they were counters; the same figures are there by type. */
const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

export class ProcessRegistry<Snapshot> {
  readonly contentType: string;
  readonly #registry = new Registry();
  /** The snapshot of the scrape that is under way. */
  #current: Snapshot | undefined;

  constructor(declarations: readonly NumberMetric<Snapshot>[]) {
    this.contentType = this.#registry.contentType;
    for (const declaration of declarations) this.#register(declaration);
    // Event-loop delay (p50, p90, p99), garbage collection, memory and CPU of the process.
    collectDefaultMetrics({ register: this.#registry });
    for (const name of misnamed) this.#registry.removeSingleMetric(name);
  }

  /** All metrics in Prometheus' text format, all from this snapshot. */
  async text(snapshot: Snapshot): Promise<string> {
    this.#current = snapshot;
    return await this.#registry.metrics();
  }

  #register({ type, name, help, labels, read }: NumberMetric<Snapshot>): void {
    const samples = () => (this.#current === undefined ? [] : read(this.#current));
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
