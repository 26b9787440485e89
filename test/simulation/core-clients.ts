/**
 * Simulated clients: reads and writes of a few blocks at either site, when they were asked and
 * answered, and what was read. A site that does not serve holds its requests.
 */
import type { Mutation } from './core-faults.ts';
import { checkLinearizable, type Operation } from './core-linearizability.ts';
import { Violation } from './core-log.ts';
import type { RandomNumbers } from './core-random-numbers.ts';
import type { HeldRequest, SimulatedSite } from './core-site.ts';

const blocks = 2;
const operationsMax = 160;

export interface ClientsOptions {
  readonly mutation: Mutation;
  readonly sites: readonly SimulatedSite[];
  readonly nowMs: () => number;
  /** The site's clock, read after the request was taken from its socket (R19). */
  readonly clockMs: (site: SimulatedSite) => number;
}

export class SimulatedClients {
  readonly operations = new Map<number, Operation>();
  readShare = 0.5;
  readonly #random: RandomNumbers;
  readonly #options: ClientsOptions;
  #values = 0;

  constructor(random: RandomNumbers, options: ClientsOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** Mostly the site that reigns, or believes so. */
  #clientsChoice(site: SimulatedSite): SimulatedSite {
    if (this.#random.chance(0.2)) return site;
    return this.#options.sites.find(({ up, core }) => up && core.view().reigning) ?? site;
  }

  request(anywhere: SimulatedSite): void {
    const site = this.#clientsChoice(anywhere);
    if (!site.up || this.operations.size >= operationsMax) return;
    const operation = this.operations.size + 1;
    const block = this.#random.whole(0, blocks - 1);
    const isRead = this.#random.chance(this.readShare);
    if (!isRead) this.#values += 1;
    this.operations.set(operation, {
      block,
      kind: isRead ? 'read' : 'write',
      value: isRead ? 0 : this.#values,
      invokedMs: this.#options.nowMs(),
      respondedMs: undefined,
    });
    site.inbox.push({ operation, block, value: isRead ? undefined : this.#values });
  }

  handle(site: SimulatedSite): void {
    const held = site.inbox.shift();
    if (held === undefined) return;
    if (held.value === undefined) this.#read(site, held);
    else this.#write(site, held, held.value);
  }

  #read(site: SimulatedSite, held: HeldRequest): void {
    const through = this.#readPoint(site);
    if (through === undefined) {
      site.inbox.push(held);
      return;
    }
    const operation = this.operations.get(held.operation);
    if (operation === undefined) return;
    operation.value = site.log.valueAt(held.block, through);
    operation.respondedMs = this.#options.nowMs();
  }

  /** Up to where a read sees the log; undefined while reads are not served. */
  #readPoint(site: SimulatedSite): number | undefined {
    const view = site.core.view();
    if (this.#options.mutation === 'reads-without-lease' && view.takesReads) return view.commit;
    if (
      this.#options.mutation === 'reads-before-epoch-start' &&
      view.reigning &&
      !view.takesReads
    ) {
      return view.waitReason?.code === 'epoch-start' ? view.end.sequence : undefined;
    }
    return site.core.mayRead(this.#options.clockMs(site)) ? view.commit : undefined;
  }

  #write(site: SimulatedSite, held: HeldRequest, value: number): void {
    if (!site.core.view().takesWrites) {
      site.inbox.push(held);
      return;
    }
    site.records.push({ block: held.block, value, operation: held.operation });
    if (this.#random.chance(0.7)) site.formFrame();
  }

  answerEarly(site: SimulatedSite): void {
    const { reigning, config, durable, waitReason } = site.core.view();
    if (!reigning || config === undefined) return;
    const solo = config.inSync.length === 1;
    const dropping = waitReason?.code === 'peer-lost';
    const early = this.#options.mutation === 'answers-without-waiting' ? solo : dropping;
    if (early) this.answer(site, durable);
  }

  answer(site: SimulatedSite, through: number): void {
    for (const [sequence, number] of site.unanswered) {
      if (sequence > through) continue;
      site.unanswered.delete(sequence);
      const operation = this.operations.get(number);
      if (operation !== undefined) operation.respondedMs ??= this.#options.nowMs();
    }
  }

  /** A read of every block at the site that reigns, after everything else. */
  finalReads(): void {
    const site = this.#options.sites.find((each) => each.core.view().reigning);
    if (site === undefined) throw new Violation('nobody reigns after convergence');
    for (let block = 0; block < blocks; block += 1) {
      this.operations.set(this.operations.size + 1, {
        block,
        kind: 'read',
        value: site.log.valueAt(block, site.core.view().commit),
        invokedMs: this.#options.nowMs() + 1000,
        respondedMs: this.#options.nowMs() + 1100,
      });
    }
    checkLinearizable(this.operations.values(), blocks);
  }
}
