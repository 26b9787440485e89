/**
 * A long run under mixed load in which a site is killed and started again every so often: memory,
 * descriptors, log and latency have to stay flat. The secondary is killed in each cycle, in the
 * middle of the load; in every fifth one the primary instead, between two loads, because clients of
 * a killed process get errors by rights. Both copies are compared at the end.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type CasematePair, mainVolume } from '../casemate.ts';
import { type RunFigures, runFio } from '../fio.ts';
import { type Allowance, flatness, type Observation } from '../flatness.ts';
import { firstAnswer } from '../nbd-probe.ts';
import { memoryMiB } from '../processes.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;
const cycleSeconds = 24;
const windowSeconds = 3;
/** When, in a cycle, the site goes and comes back; the rest is for settling. */
const killAtSeconds = 6;
const awaySeconds = 4;
const primaryEvery = 5;
const answerMs = 60_000;

interface Kept {
  readonly title: string;
  readonly unit: string;
  readonly allowed: Allowance;
}

/** What is watched, and how much of growth is none. */
const watched = {
  memory: { title: 'Memory', unit: 'MiB', allowed: { factor: 1.2, amount: 32 } },
  descriptors: {
    title: 'Open descriptors',
    unit: 'descriptors',
    allowed: { factor: 1, amount: 8 },
  },
  log: { title: 'Log in use', unit: 'MiB', allowed: { factor: 1.5, amount: 64 } },
  latency: { title: 'p99 of writes', unit: 'µs', allowed: { factor: 2, amount: 5000 } },
} as const satisfies Record<string, Kept>;
type Watched = keyof typeof watched;

class Soak {
  readonly #session: Session;
  readonly #pair: CasematePair;
  readonly #startedMs = performance.now();
  readonly #observed = new Map<string, { what: Watched; observations: Observation[] }>();
  readonly #lives = [0, 0];
  #kills = 0;

  constructor(session: Session, pair: CasematePair) {
    this.#session = session;
    this.#pair = pair;
  }

  get seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  /** One cycle: load throughout, one site away for a while, everything observed in each window. */
  async cycle(number: number): Promise<void> {
    const end = this.seconds + cycleSeconds;
    const killsPrimary = number % primaryEvery === primaryEvery - 1;
    for (let window = 0; this.seconds < end; window += 1) {
      const due = window === Math.floor(killAtSeconds / windowSeconds);
      if (due && killsPrimary) await this.#killPrimary();
      const away = due && !killsPrimary ? this.#killSecondary() : Promise.resolve();
      const [figures] = await Promise.all([this.#load(), away]);
      await this.#observe(figures);
    }
  }

  async #load(): Promise<RunFigures> {
    return await runFio({
      uris: [this.#pair.uri(mainVolume)],
      workload: { pattern: 'randrw', blockBytes: 4096, depth: 16, readPercent: 50 },
      sizeBytes: sizeOf(this.#session),
      seconds: windowSeconds,
      directory: this.#session.directory,
    });
  }

  async #killSecondary(): Promise<void> {
    const [, b] = this.#pair.sites;
    await delay(500);
    await b.signal('SIGKILL');
    this.#kills += 1;
    await delay(awaySeconds * 1000);
    await this.#start(1);
  }

  async #killPrimary(): Promise<void> {
    const [a] = this.#pair.sites;
    await a.signal('SIGKILL');
    this.#kills += 1;
    await this.#start(0);
    await firstAnswer(a.socketPath, mainVolume, answerMs);
  }

  async #start(index: 0 | 1): Promise<void> {
    await this.#pair.sites[index].start();
    this.#lives[index] = (this.#lives[index] ?? 0) + 1;
  }

  async #observe({ latency }: RunFigures): Promise<void> {
    this.#add('latency', 'clients', latency.p99Us, 0);
    for (const [index, site] of this.#pair.sites.entries()) {
      const life = this.#lives[index] ?? 0;
      const status = await site.status();
      this.#add('memory', site.name, memoryMiB(site.pid).nowMiB, life);
      this.#add('descriptors', site.name, readdirSync(`/proc/${site.pid}/fd`).length, life);
      this.#add('log', site.name, status.log.usedBytes / mebibyte, 0);
    }
  }

  #add(what: Watched, line: string, value: number, life: number): void {
    const { title, unit } = watched[what];
    const seconds = this.seconds;
    const name = `${what}, ${line}`;
    const kept = this.#observed.get(name) ?? { what, observations: [] };
    this.#observed.set(name, kept);
    kept.observations.push({ seconds, value, life });
    const plot = {
      group: 'soak',
      title,
      xTitle: 'seconds',
      yTitle: unit,
      logarithmic: false,
      note: '',
    } as const;
    this.#session.results.addPoint(`soak ${what}`, plot, {
      line,
      x: Math.round(seconds),
      y: value,
    });
  }

  /** What has stayed as it was and what has not; growth is a problem of the run. */
  judge(): void {
    const { results } = this.#session;
    for (const [name, { what, observations }] of this.#observed) {
      const { unit, allowed } = watched[what];
      const { verdict, first, last } = flatness(observations, allowed);
      const figures = `${Math.round(first)} ${unit} early, ${Math.round(last)} ${unit} late`;
      results.setValue(`soak ${name}`, {
        title: `soak: ${name}`,
        unit: 'late / early',
        value: first === 0 ? 1 : last / first,
        note: `${verdict}: ${figures}; ${this.#kills} kills`,
        group: 'soak',
      });
      if (verdict === 'grows') this.#session.problem(`soak: ${name} grows: ${figures}`);
    }
  }
}

const sizeOf = ({ settings }: Session): number => Math.min(settings.volumeBytes, 512 * mebibyte);

/** A pair of its own; ends with both sites in sync and compared. */
export async function measureSoak(session: Session): Promise<void> {
  const { logBytes, minutes } = session.settings;
  const pair = await session.startPair({ logBytes: Math.min(logBytes, 512 * mebibyte) });
  const sizeBytes = sizeOf(session);
  await pair.createVolume({ name: mainVolume, sizeBytes, onPeerLoss: 'preferred' });
  await runFio({
    uris: [pair.uri(mainVolume)],
    workload: { pattern: 'write', blockBytes: mebibyte, depth: 8 },
    sizeBytes,
    directory: session.directory,
  });
  const soak = new Soak(session, pair);
  for (let cycle = 0; soak.seconds < minutes * 60; cycle += 1) {
    session.progress(`soak: ${Math.round(soak.seconds)} of ${minutes * 60} s, cycle ${cycle + 1}`);
    await soak.cycle(cycle);
  }
  await pair.pair.connected();
  await pair.pair.inSync(mainVolume);
  soak.judge();
  await session.finishPair('soak', pair);
}
