/** What a run of the suite has found: samples by job and target, single values, absences. */
import type { Sample } from './jobs.ts';
import { median, spread } from './statistics.ts';
import type { Absent } from './target.ts';

/** A figure that is not a rate of fio's. */
export interface SingleValue {
  readonly title: string;
  readonly unit: string;
  readonly value: number;
  /** How it came about, in words. */
  readonly note: string;
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
  readonly absent: Absent[] = [];
  /** What went wrong: failed jobs, copies that differ. Empty after a good run. */
  readonly problems: string[] = [];

  add(job: string, target: string, sample: Sample): void {
    const byTarget = this.#samples.get(job) ?? new Map<string, Sample[]>();
    this.#samples.set(job, byTarget);
    byTarget.set(target, [...(byTarget.get(target) ?? []), sample]);
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

  /** Targets that the job has samples of, in the order they came. */
  targetsOf(job: string): readonly string[] {
    return [...(this.#samples.get(job)?.keys() ?? [])];
  }

  /** Median over the repetitions; undefined when the job was not run against the target. */
  median(job: string, target: string, field: SampleField): number | undefined {
    return median(this.#column(job, target, field));
  }

  spread(job: string, target: string, field: SampleField): number {
    return spread(this.#column(job, target, field));
  }

  #column(job: string, target: string, field: SampleField): number[] {
    return (this.#samples.get(job)?.get(target) ?? [])
      .map(fields[field])
      .filter((value) => value !== undefined);
  }

  /** Everything, for a file of results. */
  toJSON(): object {
    const samples = [...this.#samples].map(
      ([job, byTarget]) => [job, Object.fromEntries(byTarget)] as const,
    );
    return {
      jobs: Object.fromEntries(samples),
      values: Object.fromEntries(this.#values),
      absent: this.absent,
      problems: this.problems,
    };
  }
}
