/**
 * CPU profiles of the daemons, cut to the time of one job: which functions the samples were taken
 * in. V8 writes a profile when the process ends; its times are those of the monotonic clock that
 * `process.hrtime` shows, so a job is found in it by when it ran.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Window {
  readonly job: string;
  readonly fromUs: number;
  readonly toUs: number;
}

export interface SelfTime {
  /** Function and place, as in `write dist/wal/log.js:120`. */
  readonly place: string;
  readonly microseconds: number;
  /** Of the process's time in the window, idle time included. */
  readonly share: number;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** When each job ran, to be looked up in the profiles once the daemons have ended. */
export class Profiles {
  readonly #windows: Window[] = [];

  /** Remembers when `work` ran, under the job's name. */
  async during<Result>(job: string, work: () => Promise<Result>): Promise<Result> {
    const fromUs = monotonicUs();
    try {
      return await work();
    } finally {
      this.#windows.push({ job, fromUs, toUs: monotonicUs() });
    }
  }

  /** By job and profile file in the directory, the functions with the most self time. */
  report(directory: string, rows: number): string {
    const lines: string[] = [];
    const names = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'));
    if (names.length === 0)
      return 'no CPU profile was written: the daemons did not end by themselves';
    for (const name of names.sort()) {
      const profile = readProfile(join(directory, name));
      for (const job of new Set(this.#windows.map((window) => window.job))) {
        const windows = this.#windows.filter((window) => window.job === job);
        const times = selfTimes(profile, windows).slice(0, rows);
        lines.push('', `${job}, ${name}:`);
        for (const { place, microseconds, share } of times) {
          const percent = (share * 100).toFixed(1).padStart(6);
          lines.push(`${percent} %  ${Math.round(microseconds / 1000)} ms  ${place}`);
        }
      }
    }
    return lines.join('\n');
  }
}

function readProfile(path: string): Profile {
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (!isProfile(value)) throw new Error(`${path} is no CPU profile`);
  return value;
}

function isProfile(value: unknown): value is Profile {
  return (
    typeof value === 'object' &&
    value !== null &&
    'nodes' in value &&
    Array.isArray(value.nodes) &&
    'samples' in value &&
    Array.isArray(value.samples) &&
    'timeDeltas' in value &&
    Array.isArray(value.timeDeltas) &&
    'startTime' in value
  );
}

/** Self time by function over the windows, most first. */
export function selfTimes(
  profile: Profile,
  windows: readonly { fromUs: number; toUs: number }[],
): SelfTime[] {
  const places = new Map(profile.nodes.map((node) => [node.id, placeOf(node)]));
  const sums = new Map<string, number>();
  let now = profile.startTime;
  let total = 0;
  profile.samples.forEach((id, index) => {
    // A delta leads from the sample before: what was found here ran until the next one.
    now += profile.timeDeltas[index] ?? 0;
    const lasted = Math.max(0, profile.timeDeltas[index + 1] ?? 0);
    if (!windows.some(({ fromUs, toUs }) => now >= fromUs && now < toUs)) return;
    const place = places.get(id) ?? '(unknown)';
    sums.set(place, (sums.get(place) ?? 0) + lasted);
    total += lasted;
  });
  return [...sums]
    .map(([place, microseconds]) => ({ place, microseconds, share: microseconds / (total || 1) }))
    .sort((a, b) => b.microseconds - a.microseconds);
}

function placeOf({ callFrame }: ProfileNode): string {
  const { functionName, url, lineNumber } = callFrame;
  const file = url.replace(/^file:\/\//, '').replace(/^.*\/(?=dist\/|node_modules\/)/, '');
  const name = functionName === '' ? '(anonymous)' : functionName;
  return file === '' ? name : `${name} ${file}:${lineNumber + 1}`;
}
