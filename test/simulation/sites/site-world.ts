/**
 * A run: two machines with the production daemon's sites, clients, and a plan of what happens to
 * them. Nothing in it depends on real time or chance, so that one plan is one run, exactly.
 *
 *     set up (both sites, volumes in sync) -> the plan -> faults end -> in sync and identical?
 *
 * After every event all that follows from it without disk, network or time has happened (`turn`),
 * then the invariants are looked at.
 */
import { SeededRandom } from '../seeded-random.ts';
import { carryOut } from './actions.ts';
import { awaitConvergence, finalReads } from './convergence.ts';
import { CopyCheck } from './copy-check.ts';
import { InvariantChecks } from './invariant-checks.ts';
import type { Action, ActionKind, Plan } from './plan.ts';
import { ResyncWatch } from './resync-watch.ts';
import { SimulatedClients } from './simulated-clients.ts';
import { machineOf, type SiteName, simulatedConfig, siteNames } from './simulated-config.ts';
import { SimulatedMachine, wordsOf } from './simulated-machine.ts';
import { SimulatedNetwork } from './simulated-network.ts';
import { SimulatedWitness } from './simulated-witness.ts';
import { SplitEndings } from './split-endings.ts';
import { stateText } from './state-text.ts';
import { Violation } from './violation.ts';
import { VirtualTime } from './virtual-time.ts';
import { VolumeBook } from './volume-book.ts';
import type { World } from './world.ts';

const setUpMsMax = 60_000;
/** A run that does more is not getting anywhere. */
const eventsMax = 400_000;
const notesMax = 400;

export interface RunResult {
  readonly violation: Violation | undefined;
  /** Why the sites could not be brought in sync, if a fault made that impossible. */
  readonly excuse: string | undefined;
  readonly events: number;
  readonly simulatedMs: number;
  readonly answered: number;
  readonly resynced: boolean;
  /** Blocks that were compared between the sites while they were in use. */
  readonly compared: number;
  readonly resyncs: ResyncWatch;
  /** Splits that an operator has ended. */
  readonly splitsEnded: number;
  readonly faults: ReadonlyMap<ActionKind, number>;
  /** What happened, for a person. */
  readonly notes: readonly string[];
  /** Of all that happened: two runs of one plan have the same. */
  readonly fingerprint: string;
}

export class SiteWorld implements World {
  readonly plan: Plan;
  readonly time = new VirtualTime();
  readonly network: SimulatedNetwork;
  readonly machines: ReadonlyMap<SiteName, SimulatedMachine>;
  readonly witness: SimulatedWitness | undefined;
  readonly clients: SimulatedClients;
  readonly checks = new InvariantChecks();
  readonly copies = new CopyCheck({
    mayBeBad: (machineName) => this.checks.badDisks.has(machineName),
    isDoubtful: (volume, sector) => this.clients.isDoubtful(volume, sector),
    forced: () => this.checks.forced,
  });
  readonly resyncs = new ResyncWatch();
  readonly volumes: VolumeBook;
  readonly faults = new Map<ActionKind, number>();
  readonly random: SeededRandom;
  readonly #notes: string[] = [];
  readonly #watched = new Set<{ condition: () => boolean; act: () => void }>();
  #violation: Violation | undefined;
  #events = 0;
  #fingerprint = 0;

  constructor(plan: Plan) {
    this.plan = plan;
    const { seed } = plan;
    this.volumes = new VolumeBook(plan.volumes.map(({ name }) => name));
    this.random = new SeededRandom(seed + 1);
    this.network = new SimulatedNetwork(this.time, new SeededRandom(seed + 2), machineOf);
    const violated = (violation: Violation): void => {
      this.#violation ??= violation;
    };
    this.clients = new SimulatedClients({ violated, nowMs: () => this.time.nowMs });
    const { time, network } = this;
    this.witness = plan.witness
      ? new SimulatedWitness({ time, network, random: new SeededRandom(seed + 5), violated })
      : undefined;
    this.machines = new Map(
      siteNames.map((name, index) => [
        name,
        new SimulatedMachine({
          name,
          config: simulatedConfig(name, plan),
          time: this.time,
          network: this.network,
          random: new SeededRandom(seed + 3 + index),
          violated,
          note: (text) => this.note(text),
          volumeGone: (volume) => this.clients.leaveVolume(volume, name),
        }),
      ]),
    );
  }

  machine(name: SiteName): SimulatedMachine {
    const machine = this.machines.get(name);
    if (machine === undefined) throw new Error(`no machine ${name}`);
    return machine;
  }

  note(text: string): void {
    if (this.#notes.length >= notesMax) this.#notes.shift();
    this.#notes.push(`${this.time.nowMs.toFixed(2).padStart(10)} ms  ${text}`);
  }

  /** Runs it to the end, or to the first violation. */
  async run(): Promise<RunResult> {
    let excuse: string | undefined;
    const endings = new SplitEndings(this);
    const onRejection = (error: unknown): void => {
      this.#violation ??= new Violation('assertion', `unhandled: ${wordsOf(error)}`);
    };
    process.on('unhandledRejection', onRejection);
    try {
      await this.#setUp();
      await this.#carryOutPlan();
      excuse = await awaitConvergence(this, endings);
      if (excuse === undefined) await finalReads(this);
      if (excuse === undefined) await endings.check();
      if (!this.checks.forced) this.clients.check();
      this.#checkErrors();
    } catch (error) {
      // An error that nobody caught would have ended the process.
      const words = wordsOf(error);
      this.#violation ??= error instanceof Violation ? error : new Violation('assertion', words);
    } finally {
      for (const machine of this.machines.values()) machine.crash('kill');
      this.witness?.crash('kill');
      process.off('unhandledRejection', onRejection);
    }
    return {
      violation: this.#violation,
      excuse,
      events: this.#events,
      simulatedMs: this.time.nowMs,
      answered: this.clients.answered,
      resynced: this.checks.resynced,
      compared: this.copies.compared,
      resyncs: this.resyncs,
      splitsEnded: endings.count,
      faults: this.faults,
      notes: this.#notes,
      fingerprint: `${this.#events}-${this.#fingerprint.toString(16)}`,
    };
  }

  when(condition: () => boolean, act: () => void): void {
    this.#watched.add({ condition, act });
  }

  async until(condition: () => boolean, withinMs: number): Promise<boolean> {
    let late = false;
    const cancel = this.time.after(withinMs, () => {
      late = true;
    });
    while (!condition()) {
      if (late) return false;
      await this.#step();
    }
    cancel();
    return true;
  }

  async settled<Result>(promise: Promise<Result>, what: string, withinMs: number): Promise<Result> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    await turn();
    if (!(await this.until(() => done, withinMs))) {
      throw new Violation('liveness', `${what} took longer than ${withinMs} ms`);
    }
    return await promise;
  }

  async #step(): Promise<void> {
    this.#events += 1;
    if (this.#events > eventsMax) {
      throw new Violation('liveness', `a run without an end\n${stateText(this)}`);
    }
    this.time.step();
    await turn();
    for (const machine of this.machines.values()) machine.wakeDisk();
    const machines = [...this.machines.values()];
    this.checks.look(machines, this.time.nowMs);
    this.copies.look(machines);
    this.resyncs.look(machines);
    for (const watched of this.#watched) {
      if (!watched.condition()) continue;
      this.#watched.delete(watched);
      watched.act();
    }
    if (this.#violation !== undefined) throw this.#violation;
    this.#fingerprint = (Math.imul(this.#fingerprint, 31) + Math.round(this.time.nowMs * 1000)) | 0;
  }

  /** Clients see an error only where a fault was that errors are for. */
  #checkErrors(): void {
    const [first] = this.clients.errors;
    const explained = ['stop', 'disk-error', 'rot', 'force'] as const;
    if (first === undefined || explained.some((kind) => this.faults.has(kind))) return;
    if (this.checks.resynced && !first.startsWith('read')) return;
    if (this.volumes.removals > 0) return;
    throw new Violation('errors', `a client got an error without a reason: ${first}`);
  }

  async #setUp(): Promise<void> {
    for (const [name, machine] of this.machines) {
      machine.clockRate = this.plan.clockRates[name];
      await machine.prepare();
      machine.start();
    }
    this.witness?.start();
    for (const machine of this.machines.values()) machine.wakeDisk();
    const connected = (): boolean =>
      [...this.machines.values()].every(({ site }) => {
        return (
          site?.peer.connected === true &&
          (!this.plan.witness || site.witness.figures?.connected === true)
        );
      });
    if (!(await this.until(connected, setUpMsMax))) {
      throw new Violation('liveness', 'the sites do not find each other');
    }
    for (const { name, sectors, site, onPeerLoss, preferredSite } of this.plan.volumes) {
      const creator = this.machine(site).site;
      if (creator === undefined) throw new Violation('liveness', `${site} is not there`);
      const made = creator.createVolume({
        name,
        sizeBytes: sectors * 512,
        onPeerLoss,
        ...(onPeerLoss === 'preferred' ? { preferredSite } : {}),
      });
      try {
        await this.settled(made, `creating ${name}`, setUpMsMax);
      } catch (error) {
        throw new Violation('liveness', `creating ${name}: ${wordsOf(error)}`);
      }
    }
    this.note('the volumes are in sync');
  }

  async #carryOutPlan(): Promise<void> {
    const startMs = this.time.nowMs;
    for (const action of this.plan.actions) {
      this.time.at(startMs + action.atMs, () => this.#carryOut(action));
    }
    await this.until(() => false, this.plan.durationMs);
  }

  #carryOut(action: Action): void {
    if (carryOut(this, action)) {
      this.faults.set(action.kind, (this.faults.get(action.kind) ?? 0) + 1);
    }
  }
}

/** Lets everything happen that waits for no disk, network or time. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
