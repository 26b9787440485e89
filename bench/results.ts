/** What a run of the suite has found: samples by job and target, single values, absences. */
import type { Sample } from './jobs.ts';
import { median, spread } from './statistics.ts';
import type { Absent, Durability } from './target.ts';

/** A figure that is not a rate of fio's. */
export interface SingleValue {
  readonly title: string;
  readonly unit: string;
  readonly value: number;
  /** How it came about, in words. */
  readonly note: string;
  /** Absent for what belongs to no larger whole. */
  readonly group?: 'micro' | 'soak';
}

/** A plot of figures that are no jobs' samples: over time, or over what grows. */
export interface Plot {
  readonly group: 'growth' | 'soak';
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** The x axis has a logarithmic scale. */
  readonly logarithmic: boolean;
  readonly note: string;
  /** Points by line, in the order in which they came. */
  readonly lines: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** What a target's figures have to be judged by. */
export interface TargetFacts {
  readonly copies: number;
  readonly durability: Durability;
}

/** What a file of results holds of the figures. */
export interface ResultsDocument {
  readonly targets: Readonly<Record<string, TargetFacts>>;
  readonly jobs: Readonly<Record<string, Readonly<Record<string, readonly Sample[]>>>>;
  readonly values: Readonly<Record<string, SingleValue>>;
  readonly plots: Readonly<Record<string, Plot>>;
  readonly absent: readonly Absent[];
  readonly problems: readonly string[];
}

export type SampleField = 'rate' | 'throughput' | 'cpu' | 'p50' | 'p99' | 'p999' | 'max';

const fields: Record<SampleField, (sample: Sample) => number | undefined> = {
  rate: (sample) => sample.operationsPerSecond,
  throughput: (sample) => sample.mebibytesPerSecond,
  cpu: (sample) => sample.cpuUsPerOperation,
  p50: (sample) => sample.latency.p50Us,
  p99: (sample) => sample.latency.p99Us,
  p999: (sample) => sample.latency.p999Us,
  max: (sample) => sample.latency.maxUs,
};

export class Results {
  readonly #samples = new Map<string, Map<string, Sample[]>>();
  readonly #values = new Map<string, SingleValue>();
  readonly #plots = new Map<string, Plot>();
  readonly #targets = new Map<string, TargetFacts>();
  readonly absent: Absent[] = [];
  /** What went wrong: failed jobs, copies that differ. Empty after a good run. */
  readonly problems: string[] = [];

  /** The results that a file holds. */
  static from(document: ResultsDocument): Results {
    const results = new Results();
    for (const [name, facts] of Object.entries(document.targets)) results.setTarget(name, facts);
    for (const [job, byTarget] of Object.entries(document.jobs)) {
      for (const [target, samples] of Object.entries(byTarget)) {
        for (const sample of samples) results.add(job, target, sample);
      }
    }
    for (const [name, value] of Object.entries(document.values)) results.setValue(name, value);
    for (const [name, plot] of Object.entries(document.plots)) results.#plots.set(name, plot);
    results.absent.push(...document.absent);
    results.problems.push(...document.problems);
    return results;
  }

  add(job: string, target: string, sample: Sample): void {
    const byTarget = this.#samples.get(job) ?? new Map<string, Sample[]>();
    this.#samples.set(job, byTarget);
    byTarget.set(target, [...(byTarget.get(target) ?? []), sample]);
  }

  setTarget(name: string, { copies, durability }: TargetFacts): void {
    this.#targets.set(name, { copies, durability });
  }

  /** Undefined for the bounds, which serve nobody. */
  target(name: string): TargetFacts | undefined {
    return this.#targets.get(name);
  }

  setValue(name: string, value: SingleValue): void {
    this.#values.set(name, value);
  }

  value(name: string): number | undefined {
    return this.#values.get(name)?.value;
  }

  get values(): readonly SingleValue[] {
    return [...this.#values.values()];
  }

  /** Adds a point to a line of a plot, which the first of its points makes. */
  addPoint(
    name: string,
    plot: Omit<Plot, 'lines'>,
    point: { readonly line: string; readonly x: number; readonly y: number },
  ): void {
    const lines = this.#plots.get(name)?.lines ?? {};
    const points = [...(lines[point.line] ?? []), [point.x, point.y] as const];
    this.#plots.set(name, { ...plot, lines: { ...lines, [point.line]: points } });
  }

  get plots(): readonly Plot[] {
    return [...this.#plots.values()];
  }

  /** Jobs that have samples, in the order they came. */
  get jobNames(): readonly string[] {
    return [...this.#samples.keys()];
  }

  samples(job: string, target: string): readonly Sample[] {
    return this.#samples.get(job)?.get(target) ?? [];
  }

  /** Targets that the job has samples of, in the order they came. */
  targetsOf(job: string): readonly string[] {
    return [...(this.#samples.get(job)?.keys() ?? [])];
  }

  /** Median over the repetitions; undefined when the job was not run against the target. */
  median(job: string, target: string, field: SampleField): number | undefined {
    return median(this.repetitions(job, target, field));
  }

  spread(job: string, target: string, field: SampleField): number {
    return spread(this.repetitions(job, target, field));
  }

  /** The figure in each repetition. */
  repetitions(job: string, target: string, field: SampleField): number[] {
    return this.samples(job, target)
      .map(fields[field])
      .filter((value) => value !== undefined);
  }

  /** The samples of each round of repetitions by themselves. */
  rounds(): Results[] {
    const all = [...this.#samples.values()].flatMap((byTarget) => [...byTarget.values()]);
    const count = Math.max(0, ...all.map((samples) => samples.length));
    return Array.from({ length: count }, (_, index) => this.#round(index));
  }

  #round(index: number): Results {
    const round = new Results();
    for (const [job, byTarget] of this.#samples) {
      for (const [target, samples] of byTarget) {
        const sample = samples[index];
        if (sample !== undefined) round.add(job, target, sample);
      }
    }
    return round;
  }

  /** Everything, for a file of results. */
  toJSON(): ResultsDocument {
    const samples = [...this.#samples].map(
      ([job, byTarget]) => [job, Object.fromEntries(byTarget)] as const,
    );
    return {
      targets: Object.fromEntries(this.#targets),
      jobs: Object.fromEntries(samples),
      values: Object.fromEntries(this.#values),
      plots: Object.fromEntries(this.#plots),
      absent: this.absent,
      problems: this.problems,
    };
  }
}
