/**
 * A run in one document: what it was measured on and with, and all figures. Kept as a JSON file.
 */
import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { Results, type ResultsDocument } from './results.ts';
import { UsageError } from './settings.ts';

/** Counted up whenever a field changes its meaning. */
export const documentVersion = 2;

export interface RunHead {
  readonly documentVersion: typeof documentVersion;
  /** When the run ended, ISO 8601. */
  readonly time: string;
  readonly machine: Readonly<Record<string, string>>;
  readonly settings: RunSettings;
  readonly elapsedSeconds: number;
  /** Names of what was to be measured. */
  readonly wanted: readonly string[];
}

export interface RunSettings {
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly volumeBytes: number;
  readonly logBytes: number;
}

export type RunDocument = RunHead & ResultsDocument;

/** A run with its figures at hand. */
export interface Run {
  readonly head: RunHead;
  readonly results: Results;
}

/** What the figures are taken on, at this moment. */
export function machine(): Record<string, string> {
  const processors = cpus();
  return {
    processor: `${processors.length} x ${processors[0]?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: `${release()} ${arch()}`,
    node: process.version,
    load: readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' '),
  };
}

export function toDocument({ head, results }: Run): RunDocument {
  return { ...head, ...results.toJSON() };
}

/** Reads what an earlier run has left. Throws UsageError for a file that is none. */
export function readRun(path: string): Run {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(
      `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
  if (!isDocument(value)) {
    throw new UsageError(`${path} holds no results of version ${documentVersion} of this suite`);
  }
  return { head: value, results: Results.from(value) };
}

/** The version stands for the form: only this program writes it. */
function isDocument(value: unknown): value is RunDocument {
  return (
    typeof value === 'object' &&
    value !== null &&
    'documentVersion' in value &&
    value.documentVersion === documentVersion &&
    'jobs' in value &&
    'wanted' in value
  );
}
