/** The metrics of one site, histograms included. */
import { declarations } from './declarations.ts';
import { histogramText } from './histogram-text.ts';
import type { DurationMetric, NumberMetric } from './metric.ts';
import { ProcessRegistry } from './process-registry.ts';
import type { MetricsSnapshot } from './snapshot.ts';

export class SiteMetrics {
  readonly contentType: string;
  readonly #registry: ProcessRegistry<MetricsSnapshot>;
  readonly #histograms: readonly DurationMetric[];
  readonly #snapshot: () => MetricsSnapshot;

  /** @param snapshot gives the site's figures as they are at the moment of the call */
  constructor(snapshot: () => MetricsSnapshot) {
    this.#snapshot = snapshot;
    const isNumber = (each: NumberMetric | DurationMetric): each is NumberMetric =>
      each.type !== 'histogram';
    this.#registry = new ProcessRegistry(declarations.filter(isNumber));
    this.#histograms = declarations.filter((each) => each.type === 'histogram');
    this.contentType = this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format, all from one snapshot. */
  async text(): Promise<string> {
    const snapshot = this.#snapshot();
    const numbers = await this.#registry.text(snapshot);
    const histograms = this.#histograms.map((declaration) => histogramText(declaration, snapshot));
    return [numbers, ...histograms].join('\n');
  }
}
