/**
 * Acceptors in memory and a network between them and the proposers that a test controls: by hand
 * (`down`) or by a seed (messages late, lost, in any order).
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import { Acceptor, type AcceptorClient } from '../../replication/register/acceptor.ts';
import { CasRegister } from '../../replication/register/cas-register.ts';
import { RandomNumbers } from '../simulation/core-random-numbers.ts';

export const groupId = 'group';

/** An acceptor's disk. */
export class MemoryStore {
  state: unknown;
  saves = 0;
  /** Says that it is saved, but a crash loses it (a mutation). */
  lies = false;
  #durable: unknown;

  load(): unknown {
    return this.state;
  }

  save(_groupId: string, state: object): void {
    this.saves += 1;
    this.state = JSON.parse(JSON.stringify(state));
    if (!this.lies) this.#durable = this.state;
  }

  crash(): void {
    this.state = this.#durable;
  }
}

export interface Machine {
  readonly storeId: string;
  readonly store: MemoryStore;
  readonly acceptor: Acceptor;
}

export function machine(storeId: string): Machine {
  const store = new MemoryStore();
  return { storeId, store, acceptor: new Acceptor({ storeId, store }) };
}

interface Waiting {
  readonly run: () => void;
  readonly lose: () => void;
}

export class RegisterCluster {
  machines: Machine[];
  readonly down = new Set<string>();
  /** They stand still: what is asked of them is neither answered nor given up. */
  readonly silent = new Set<string>();
  readonly random: RandomNumbers;
  /** Messages wait for `turn` instead of being delivered at once. */
  readonly shuffled: boolean;
  waiting: Waiting[] = [];
  #boots = 0;

  constructor(storeIds: readonly string[], options: { seed?: number } = {}) {
    this.machines = storeIds.map(machine);
    this.shuffled = options.seed !== undefined;
    this.random = new RandomNumbers(options.seed ?? 1);
  }

  machine(storeId: string): Machine {
    const found = this.machines.find((each) => each.storeId === storeId);
    if (found === undefined) throw new Error(`no machine ${storeId}`);
    return found;
  }

  replace(storeId: string, by: string): void {
    this.machines = this.machines.map((each) => (each.storeId === storeId ? machine(by) : each));
  }

  register(me: string, bootId?: string): CasRegister {
    this.#boots += 1;
    return new CasRegister({
      groupId,
      me,
      bootId: bootId ?? `boot${this.#boots}`,
      clients: () => this.machines.map((each) => this.#client(me, each)),
      random: () => this.random.next(),
      delay: () => this.#later(() => undefined, false),
    });
  }

  #client(me: string, target: Machine): AcceptorClient {
    const { storeId } = target;
    return {
      storeId,
      look: (group, asker) =>
        this.#call(me, storeId, () => this.#acceptor(storeId).look(group, asker)),
      prepare: (group, ballot) =>
        this.#call(me, storeId, () => this.#acceptor(storeId).prepare(group, ballot)),
      accept: (group, ballot, value) =>
        this.#call(me, storeId, () => this.#acceptor(storeId).accept(group, ballot, value)),
    };
  }

  #acceptor(storeId: string): Acceptor {
    return this.machine(storeId).acceptor;
  }

  async #call<T>(me: string, storeId: string, answer: () => T): Promise<T> {
    if (this.down.has(storeId) && me !== storeId) throw new Error(`${storeId} is down`);
    if (this.silent.has(storeId)) return new Promise(() => undefined);
    // The request and its answer travel on their own; either can be lost.
    const canBeLost = me !== storeId;
    const result = await this.#later(answer, canBeLost);
    return this.#later(() => result, canBeLost);
  }

  #later<T>(run: () => T, canBeLost = true): Promise<T> {
    if (!this.shuffled) return new Promise((resolve) => setImmediate(() => resolve(run())));
    return new Promise((resolve, reject) => {
      this.waiting.push({
        run: () => {
          try {
            resolve(run());
          } catch (error) {
            reject(error);
          }
        },
        lose: () => (canBeLost ? reject(new Error('lost')) : resolve(run())),
      });
    });
  }

  /** Delivers or loses one waiting message, whichever the seed says. */
  async turn(lossChance: number): Promise<void> {
    if (this.waiting.length > 0) {
      const index = this.random.whole(0, this.waiting.length - 1);
      const [message] = this.waiting.splice(index, 1);
      if (this.random.chance(lossChance)) message?.lose();
      else message?.run();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

let epochs = 0;

export function firstConfig(acceptors: readonly string[], primary = 'A0'): GroupConfig {
  return {
    epoch: 1,
    epochId: 'first',
    primary,
    inSync: [primary],
    acceptors,
    leaseMs: 10_000,
    graceMs: 13_000,
  };
}

/** The next configuration after `from`, with an id of its own. */
export function nextConfig(from: GroupConfig, changes: Partial<GroupConfig> = {}): GroupConfig {
  epochs += 1;
  return { ...from, ...changes, epoch: from.epoch + 1, epochId: `epoch${epochs}` };
}

/** Gives up waiting for a promise that should stay open. */
export async function stays<T>(promise: Promise<T>): Promise<'open' | T> {
  const turns = async (): Promise<'open'> => {
    for (let count = 0; count < 200; count += 1) await new Promise((done) => setImmediate(done));
    return 'open';
  };
  return Promise.race([promise, turns()]);
}
