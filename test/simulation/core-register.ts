/**
 * The simulated register of one group: linearizable, but requests and answers may be late or lost,
 * and requests may arrive after their sender's death.
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import type { RandomNumbers } from './core-random-numbers.ts';
import type { SimulatedSite, SwapRequest } from './core-site.ts';

interface Request {
  readonly site: SimulatedSite;
  readonly life: number;
  /** Undefined: a read. */
  readonly swap: SwapRequest | undefined;
}

interface Reply extends Request {
  readonly result: 'read' | 'won' | 'lost';
  readonly current: GroupConfig;
}

export interface RegisterHost {
  readonly random: RandomNumbers;
  readonly faults: boolean;
  reachable(site: SimulatedSite): boolean;
}

export class SimulatedRegister {
  value: GroupConfig;
  readonly #host: RegisterHost;
  #requests: Request[] = [];
  #replies: Reply[] = [];
  /** Reads are never answered (a mutation). */
  deaf = false;

  constructor(host: RegisterHost, value: GroupConfig) {
    this.#host = host;
    this.value = value;
  }

  request(site: SimulatedSite, swap: SwapRequest | undefined): void {
    this.#requests.push({ site, life: site.life, swap });
  }

  loseOne(): void {
    if (this.#requests.length > 0) this.#take(this.#requests);
  }

  step(): void {
    const { random } = this.#host;
    if (this.#replies.length > 0 && random.chance(0.5)) {
      this.#deliver(this.#take(this.#replies));
      return;
    }
    if (this.#requests.length === 0) return;
    const request = this.#take(this.#requests);
    if (!this.#host.reachable(request.site) && random.chance(0.9)) {
      this.#requests.push(request);
      return;
    }
    if (this.#host.faults && random.chance(0.1)) return;
    this.#replies.push({ ...request, ...this.decide(request.swap) });
  }

  decide(swap: SwapRequest | undefined): Pick<Reply, 'result' | 'current'> {
    let result: Reply['result'] = 'read';
    if (swap !== undefined) {
      if (this.value.epochId === swap.expected.epochId) this.value = swap.next;
      result = this.value.epochId === swap.next.epochId ? 'won' : 'lost';
    }
    return { result, current: this.value };
  }

  #deliver(reply: Reply): void {
    const { site } = reply;
    if (!site.up || site.life !== reply.life) return;
    if (site.paused) {
      this.#replies.push(reply);
      return;
    }
    if (this.#host.faults && this.#host.random.chance(0.15)) return;
    this.answer(reply);
  }

  answer(reply: Reply): void {
    const { site, swap, current } = reply;
    if (swap === undefined) {
      if (!this.deaf) site.step({ kind: 'registerRead', current });
      return;
    }
    // A newer swap of this life has taken this one's place.
    if (site.swap?.next.epochId !== swap.next.epochId) return;
    site.swap = undefined;
    if (reply.result === 'won') site.step({ kind: 'swapWon', config: swap.next });
    else site.step({ kind: 'swapLost', current });
  }

  #take<T>(list: T[]): T {
    const index = this.#host.random.whole(0, list.length - 1);
    const [taken] = list.splice(index, 1);
    if (taken === undefined) throw new Error('nothing to take');
    return taken;
  }
}
