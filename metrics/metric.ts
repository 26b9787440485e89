/** What a declaration of a metric says: name, meaning, labels, how it is read from a snapshot. */
import type { HistogramSnapshot, MetricsSnapshot } from './snapshot.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Sample<Value> {
  readonly labels: Labels;
  readonly value: Value;
}

interface Common {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** What is read from a site's figures, or from those of another kind of process. */
export interface NumberMetric<Snapshot = MetricsSnapshot> extends Common {
  readonly type: 'counter' | 'gauge';
  readonly read: (snapshot: Snapshot) => readonly Sample<number>[];
}

export interface DurationMetric<Snapshot = MetricsSnapshot> extends Common {
  readonly type: 'histogram';
  readonly read: (snapshot: Snapshot) => readonly Sample<HistogramSnapshot>[];
}
