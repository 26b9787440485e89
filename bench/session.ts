/**
 * One run of the suite: its settings, its scratch directory, what it has found, and everything it
 * has to end again, also when it is interrupted.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../test/support/run-command.ts';
import { type CasemateOptions, CasematePair } from './casemate.ts';
import { DiskTraffic } from './disk-traffic.ts';
import type { Sample } from './jobs.ts';
import { Profiles } from './profile.ts';
import { Results } from './results.ts';
import { type Settings, UsageError } from './settings.ts';
import { formatNumber } from './table.ts';

const nameWidth = 36;

export class Session {
  readonly settings: Settings;
  readonly results = new Results();
  readonly profiles = new Profiles();
  readonly directory: string;
  readonly traffic: DiskTraffic;
  readonly #toStop = new Set<{ stop(): Promise<void> }>();
  readonly #startedMs = performance.now();
  #directories = 0;
  #planned = 0;
  #done = 0;

  /** Makes the scratch directory. Throws UsageError when the disk has too little room. */
  constructor(settings: Settings, neededBytes: number) {
    this.settings = settings;
    const { bavail, bsize } = statfsSync(settings.directory);
    if (bavail * bsize < neededBytes) {
      throw new UsageError(
        `${settings.directory} has ${Math.round((bavail * bsize) / 2 ** 20)} MiB free, ` +
          `${Math.round(neededBytes / 2 ** 20)} MiB are needed: name another with --directory`,
      );
    }
    this.directory = mkdtempSync(join(settings.directory, 'casemate-bench-'));
    this.traffic = new DiskTraffic(this.directory);
  }

  /** So many runs are to come, for `progressRow` to count. */
  plan(runs: number): void {
    this.#planned = runs;
    this.#done = 0;
  }

  progress(text: string): void {
    process.stderr.write(`[${this.#elapsed()}] ${text}\n`);
  }

  /** One line of a table that grows while the suite runs. */
  progressRow(name: string, { operationsPerSecond, latency, ...figures }: Sample): void {
    this.#done += 1;
    const count = this.#planned === 0 ? '' : `${this.#done}/${this.#planned}`;
    const cell = (value: number | undefined, width: number): string =>
      formatNumber(value).padStart(width);
    this.progress(
      `${count.padStart(8)} ${name.padEnd(nameWidth)}${cell(operationsPerSecond, 8)} IOPS` +
        `${cell(figures.mebibytesPerSecond, 7)} MiB/s${cell(latency.p50Us, 8)} µs p50` +
        `${cell(latency.p99Us, 8)} µs p99${cell(figures.cpuUsPerOperation, 8)} µs CPU`,
    );
  }

  #elapsed(): string {
    const seconds = Math.round((performance.now() - this.#startedMs) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`.padStart(6);
  }

  get elapsedSeconds(): number {
    return Math.round((performance.now() - this.#startedMs) / 1000);
  }

  /** A new directory for one target or pair; its name is short, as sockets go into it. */
  makeDirectory(): string {
    this.#directories += 1;
    const directory = join(this.directory, String(this.#directories));
    mkdirSync(directory);
    return directory;
  }

  /** Remembers something that runs until `release`. */
  track<Running extends { stop(): Promise<void> }>(running: Running): Running {
    this.#toStop.add(running);
    return running;
  }

  release(running: { stop(): Promise<void> }): void {
    this.#toStop.delete(running);
  }

  /** Starts a pair of daemons that this session ends. */
  async startPair(options: Omit<CasemateOptions, 'directory'>): Promise<CasematePair> {
    return this.track(await CasematePair.start({ ...options, directory: this.makeDirectory() }));
  }

  /** Ends the pair after comparing what both sites hold; a difference is a problem of the run. */
  async finishPair(name: string, pair: CasematePair): Promise<void> {
    const difference = await pair.finish();
    this.release(pair);
    if (difference !== undefined) this.problem(`${name}: the sites differ: ${difference}`);
  }

  problem(text: string): void {
    this.results.problems.push(text);
    this.progress(`PROBLEM ${text}`);
  }

  /** What earlier runs left in the page cache is on the disk, so that it burdens no later one. */
  async settle(): Promise<void> {
    await run('sync', ['--file-system', this.directory]);
  }

  /** Ends what still runs and removes everything that was written. */
  async close(): Promise<void> {
    for (const running of this.#toStop) await running.stop();
    this.#toStop.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
