/**
 * One machine with a disk: the production site runs on it, life after life. What a crash leaves is
 * decided here; which faults come when, by the plan.
 */
import assert from 'node:assert/strict';
import type { Config } from '../../../daemon/config/schema.ts';
import { createLogger, type Logger } from '../../../daemon/logger.ts';
import { Site } from '../../../daemon/site.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from '../simulated-disk.ts';
import { ProcessLife } from './process-life.ts';
import { SimulatedDatabases } from './simulated-databases.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import { Violation } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

export const silentLogger: Logger = createLogger({ level: 'silent', site: 'simulated' });
/** A daemon that could not start is started again, as a service manager does it. */
const startAgainMs = 400;
const stopMsMax = 60_000;

export interface MachineOptions {
  readonly name: string;
  readonly config: Config;
  readonly time: VirtualTime;
  readonly network: SimulatedNetwork;
  readonly random: SeededRandom;
  readonly violated: (violation: Violation) => void;
  readonly note: (text: string) => void;
  /** The daemon ends the connections of the volume's clients. */
  readonly volumeGone: (volume: string) => void;
}

export class SimulatedMachine {
  readonly name: string;
  readonly config: Config;
  life: ProcessLife | undefined;
  site: Site | undefined;
  disk: SimulatedDisk;
  databases = new SimulatedDatabases();
  /** How fast its clock runs, for this life. */
  clockRate = 1;
  /** Milliseconds for one step of a disk call. */
  diskStepMs = 0.05;
  lives = 0;
  stopping = false;
  /** Why the last start failed. */
  startProblem: string | undefined;
  readonly #options: MachineOptions;
  #diskPlanned = false;

  constructor(options: MachineOptions) {
    this.#options = options;
    this.name = options.name;
    this.config = options.config;
    this.disk = this.#emptyDisk();
  }

  get running(): boolean {
    return this.life !== undefined;
  }

  /** It runs and is not paused. */
  get awake(): boolean {
    return this.life !== undefined && !this.life.paused;
  }

  /** Starts the daemon, if it does not run. */
  start(): void {
    if (this.life !== undefined) return;
    const { time, network, random, config, violated, note, volumeGone } = this.#options;
    const life = new ProcessLife({
      machineName: this.name,
      time,
      clockOffsetMs: 1000 * random.below(100_000),
      clockRate: this.clockRate,
    });
    this.life = life;
    this.lives += 1;
    this.stopping = false;
    note(`${this.name} starts`);
    const starting = Site.open({
      config,
      logger: silentLogger,
      bug: (error) => {
        if (life.alive) violated(new Violation('assertion', `${this.name}: ${wordsOf(error)}`));
      },
      volumeGone: (name) => {
        if (life.alive) volumeGone(name);
      },
      ports: {
        disk: this.disk,
        network: network.portOf(life),
        clock: life.clock,
        wallMs: () => 1_700_000_000_000 + Math.floor(time.nowMs),
        random: { fraction: () => random.below(1_000_000) / 1_000_000 },
        randomId: () => randomHex(random),
        openDatabase: this.databases.openDatabase,
        later: (run) => {
          life.after(0, run);
        },
      },
    }).then(async (site) => {
      if (!life.alive) return;
      this.site = site;
      await site.start();
      this.startProblem = undefined;
    });
    starting.catch((error: unknown) => {
      if (!life.alive) return;
      this.startProblem = wordsOf(error);
      note(`${this.name} could not start: ${this.startProblem}`);
      this.crash('kill');
      time.after(startAgainMs, () => this.start());
    });
  }

  /** The process ends at this moment: killed, or with the power of its machine. */
  crash(how: 'kill' | 'power'): void {
    const { life } = this;
    if (life === undefined) return;
    life.alive = false;
    this.#diskPlanned = false;
    this.#options.network.lifeEnded(life, how === 'power');
    this.disk = this.disk.crash(how === 'kill' ? 'latest' : undefined);
    this.databases = this.databases.crash();
    this.life = undefined;
    this.site = undefined;
  }

  /** All that it has stored is gone, and an empty disk in its place; it must not run. */
  loseDisk(): void {
    assert(this.life === undefined, 'a disk is replaced while the machine is down');
    this.disk = this.#emptyDisk();
    this.databases = new SimulatedDatabases();
    this.prepare().catch((error: unknown) => {
      this.#options.violated(new Violation('assertion', `${this.name}: ${wordsOf(error)}`));
    });
  }

  #emptyDisk(): SimulatedDisk {
    return new SimulatedDisk({ random: this.#options.random, coldReadProbability: 0.2 });
  }

  /** Stops it in order, as an operator does. */
  stop(): void {
    const { life, site } = this;
    if (life === undefined || site === undefined || this.stopping) return;
    this.stopping = true;
    const end = (): void => {
      if (this.life !== life) return;
      this.crash('kill');
      this.stopping = false;
    };
    site.close().then(end, (error: unknown) => {
      this.#options.note(`${this.name} stopped with ${wordsOf(error)}`);
      end();
    });
    life.after(stopMsMax, end);
  }

  /** The machine's empty disk is set up. */
  async prepare(): Promise<void> {
    await this.disk.run(this.disk.makeDirectory('/data'));
    await this.disk.run(this.disk.syncDirectory('/'));
  }

  /** Starts it when it has stopped. */
  startAfterStop(): void {
    if (this.stopping) this.#options.time.after(startAgainMs, () => this.startAfterStop());
    else this.start();
  }

  /** The disk works on what it was asked for, if there is anything. */
  wakeDisk(): void {
    const { life, disk } = this;
    if (this.#diskPlanned || life === undefined || disk.pendingCalls === 0) return;
    this.#diskPlanned = true;
    const { time, random } = this.#options;
    const waitMs = (this.diskStepMs * (500 + random.below(1000))) / 1000;
    time.after(waitMs, () => {
      if (this.life !== life) return;
      if (life.paused) {
        life.after(0, () => {
          this.#diskPlanned = false;
          this.wakeDisk();
        });
        return;
      }
      this.#diskPlanned = false;
      disk.completeOne();
    });
  }
}

export function randomHex(random: SeededRandom): string {
  let text = '';
  while (text.length < 32) text += random.unsigned32().toString(16).padStart(8, '0');
  return text;
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
