/** What is in a simulated world, for those who act in it and look at it. */
import type { SeededRandom } from '../seeded-random.ts';
import type { InvariantChecks } from './invariant-checks.ts';
import type { Plan } from './plan.ts';
import type { ResyncWatch } from './resync-watch.ts';
import type { SimulatedClients } from './simulated-clients.ts';
import type { SiteName } from './simulated-config.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import type { SimulatedWitness } from './simulated-witness.ts';
import type { VirtualTime } from './virtual-time.ts';
import type { VolumeBook } from './volume-book.ts';

export interface World {
  readonly plan: Plan;
  readonly time: VirtualTime;
  readonly network: SimulatedNetwork;
  readonly machines: ReadonlyMap<SiteName, SimulatedMachine>;
  readonly witness: SimulatedWitness | undefined;
  readonly clients: SimulatedClients;
  readonly checks: InvariantChecks;
  readonly random: SeededRandom;
  readonly resyncs: ResyncWatch;
  readonly volumes: VolumeBook;
  machine(name: SiteName): SimulatedMachine;
  /** For the list of what happened. */
  note(text: string): void;
  /** Does it after the first event after which the condition holds. */
  when(condition: () => boolean, act: () => void): void;
  /** Lets events happen until the condition holds or the time has come; true: it holds. */
  until(condition: () => boolean, withinMs: number): Promise<boolean>;
  /** The promise's result; a Violation if it is not there in time. */
  settled<Result>(promise: Promise<Result>, what: string, withinMs: number): Promise<Result>;
}
