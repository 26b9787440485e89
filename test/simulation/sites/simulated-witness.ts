/** The machine of the witness: the production witness runs on it, life after life. */
import { WitnessServer } from '../../../daemon/witness/witness-server.ts';
import { WitnessStore } from '../../../daemon/witness/witness-store.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { ProcessLife } from './process-life.ts';
import { simulatedWitnessConfig } from './simulated-config.ts';
import { SimulatedDatabases } from './simulated-databases.ts';
import { randomHex, silentLogger, wordsOf } from './simulated-machine.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import { Violation } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface WitnessOptions {
  readonly time: VirtualTime;
  readonly network: SimulatedNetwork;
  readonly random: SeededRandom;
  readonly violated: (violation: Violation) => void;
}

export class SimulatedWitness {
  readonly name = 'witness';
  life: ProcessLife | undefined;
  databases = new SimulatedDatabases();
  server: WitnessServer | undefined;
  readonly #options: WitnessOptions;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.life !== undefined) return;
    const { time, network, random, violated } = this.#options;
    const life = new ProcessLife({ machineName: this.name, time, clockOffsetMs: 0, clockRate: 1 });
    this.life = life;
    const bug = (error: unknown): void => {
      if (life.alive) violated(new Violation('assertion', `witness: ${wordsOf(error)}`));
    };
    const config = simulatedWitnessConfig();
    this.server = new WitnessServer({
      config,
      store: WitnessStore.open({
        directory: config.dataDirectory,
        name: config.name,
        groupsMax: config.limits.groupsMax,
        newId: () => randomHex(random),
        openDatabase: this.databases.openDatabase,
      }),
      network: network.portOf(life),
      clock: life.clock,
      bootId: randomHex(random),
      logger: silentLogger,
      later: (run) => {
        life.after(0, run);
      },
    });
    this.server.start().catch(bug);
  }

  crash(how: 'kill' | 'power'): void {
    const { life } = this;
    if (life === undefined) return;
    life.alive = false;
    this.#options.network.lifeEnded(life, how === 'power');
    this.databases = this.databases.crash();
    this.life = undefined;
    this.server = undefined;
  }
}
