/**
 * The register of one group (I5): its configuration, changed by compare-and-swap only, by CASPaxos
 * over the acceptors that the configuration itself lists. Rounds of this site go one after the
 * other; proposers of two sites get out of each other's way by random pauses (R13).
 */
import assert from 'node:assert/strict';
import type { GroupId, StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import { ReplicationError } from '../errors.ts';
import type { AcceptorClient } from './messages.ts';
import { Proposer, type RoundResult } from './proposer.ts';
import type { Register, SwapOutcome } from './register.ts';

export interface CasRegisterOptions {
  readonly groupId: GroupId;
  readonly me: StoreId;
  readonly bootId: string;
  readonly clients: () => readonly AcceptorClient[];
  readonly random: () => number;
  readonly delay: (ms: number) => Promise<void>;
}

const readAttemptsMax = 4;
const backoffMs = 20;
const backoffMsMax = 1000;

export class CasRegister implements Register {
  readonly #options: CasRegisterOptions;
  readonly #proposer: Proposer;
  /** The newest swap or force: older ones end quietly. */
  #newest: object | undefined;
  #cancelled = false;
  #busy: Promise<unknown> = Promise.resolve();
  /** Rejects what is under way, one entry for each call that has not settled. */
  readonly #underWay = new Set<(error: Error) => void>();

  constructor(options: CasRegisterOptions) {
    this.#options = options;
    this.#proposer = new Proposer(options);
  }

  read(): Promise<GroupConfig | undefined> {
    return this.#untilCancelled(this.#read());
  }

  swap(expected: GroupConfig | undefined, next: GroupConfig): Promise<SwapOutcome> {
    assert(next.epoch === (expected?.epoch ?? 0) + 1, 'a swap begins the next epoch (R10)');
    assert(next.epochId !== expected?.epochId, 'each epoch has an id of its own (R10)');
    return this.#untilCancelled(this.#swap(expected, next));
  }

  force(next: GroupConfig): Promise<void> {
    const { me } = this.#options;
    assert(next.primary === me && next.forced !== undefined, 'a site forces itself only (R35)');
    assert(next.acceptors.length === 1 && next.acceptors[0] === me, 'force asks nobody else');
    return this.#untilCancelled(this.#force(next));
  }

  cancel(): void {
    this.#cancelled = true;
    this.#newest = undefined;
    for (const reject of this.#underWay) reject(cancelled());
    this.#underWay.clear();
  }

  async #read(): Promise<GroupConfig | undefined> {
    const seen = await this.#proposer.look();
    if (seen !== undefined) return seen;
    for (let attempt = 0; attempt < readAttemptsMax && !this.#cancelled; attempt += 1) {
      const result = await this.#round((current) => current);
      if (result.kind === 'chosen') return result.value;
      if (result.kind === 'absent') return undefined;
      if (result.kind === 'unreachable') break;
      await this.#pause(attempt);
    }
    throw new ReplicationError(
      'ERR_REGISTER_UNAVAILABLE',
      'no quorum of acceptors agreed; it may be tried again',
    );
  }

  async #swap(expected: GroupConfig | undefined, next: GroupConfig): Promise<SwapOutcome> {
    const token = {};
    this.#newest = token;
    for (let attempt = 0; ; attempt += 1) {
      // Whatever stands there, chosen or half done, is confirmed by this round or replaced.
      const result = await this.#round((current) =>
        current?.epochId === expected?.epochId ? next : current,
      );
      if (this.#newest !== token) return never();
      if (result.kind === 'chosen') {
        const { value } = result;
        return value.epochId === next.epochId
          ? { outcome: 'won' }
          : { outcome: 'lost', current: value };
      }
      // The other site was forced (R35): this swap cannot win any more; its proposer, who has not
      // acted by it, may learn so. Otherwise it would suspend for ever and never meet the other.
      if (result.kind === 'forced' && result.value.epoch >= next.epoch) {
        return { outcome: 'lost', current: result.value };
      }
      await this.#pause(attempt);
      if (this.#newest !== token) return never();
    }
  }

  async #force(next: GroupConfig): Promise<void> {
    const token = {};
    this.#newest = token;
    for (let attempt = 0; ; attempt += 1) {
      const result = await this.#exclusive(() => this.#proposer.force(next));
      if (result.kind === 'chosen') return;
      if (this.#newest !== token) return never();
      await this.#pause(attempt);
    }
  }

  #round(
    change: (current: GroupConfig | undefined) => GroupConfig | undefined,
  ): Promise<RoundResult> {
    return this.#exclusive(() => this.#proposer.round(change));
  }

  #exclusive(run: () => Promise<RoundResult>): Promise<RoundResult> {
    const mine = this.#busy.then(run);
    this.#busy = mine.catch(() => undefined);
    return mine;
  }

  #pause(attempt: number): Promise<void> {
    const longest = Math.min(backoffMs * 2 ** Math.min(attempt, 10), backoffMsMax);
    return this.#options.delay(longest * (0.5 + this.#options.random()));
  }

  #untilCancelled<T>(work: Promise<T>): Promise<T> {
    if (this.#cancelled) {
      work.catch(() => undefined);
      return Promise.reject(cancelled());
    }
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      work.then(resolve, reject).finally(() => this.#underWay.delete(reject));
    });
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

function cancelled(): ReplicationError {
  return new ReplicationError('ERR_REGISTER_CANCELLED', 'the register was closed');
}
