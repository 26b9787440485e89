/**
 * The register of one group in an etcd cluster (R7): one key, changed by transactions that compare
 * it with what was read. Which write is whose is told by the epoch id in the record, 128 random
 * bits of the proposer, and by nothing else.
 *
 * Why a swap is repeated (R11): a transaction that was not answered may be done, may never be, or
 * may be done *later*, even after a linearizable read that does not show it (H5). So nothing is
 * concluded from reading the old value. The same transaction is sent again, with the same id. It
 * compares the revision of the key, which never comes again, so of all its copies at most one is
 * done; and once the key shows another id, none of them ever will be. Only then is it lost.
 */
import assert from 'node:assert/strict';
import type { GroupConfig } from '../core/config.ts';
import { ReplicationError } from '../errors.ts';
import type { EtcdEntry, TransactionResult } from './etcd-messages.ts';
import { decodeRecord, encodeRecord } from './etcd-record.ts';
import type { Register, SwapOutcome } from './register.ts';

/** The etcd cluster as one register needs it. Both reject if it does not answer. */
export interface EtcdKeys {
  range(key: string): Promise<EtcdEntry | undefined>;
  replace(key: string, before: EtcdEntry | undefined, value: Buffer): Promise<TransactionResult>;
}

export interface EtcdRegisterOptions {
  readonly key: string;
  readonly keys: EtcdKeys;
  readonly random: () => number;
  readonly delay: (ms: number) => Promise<void>;
}

/** What stands in the register: the record, and how a transaction compares it. */
interface Standing {
  readonly entry: EtcdEntry | undefined;
  readonly config: GroupConfig | undefined;
}

/** What an attempt to change the value came to; undefined: try again. */
type Verdict = SwapOutcome | undefined;

const backoffMs = 20;
const backoffMsMax = 1000;

export class EtcdRegister implements Register {
  readonly #options: EtcdRegisterOptions;
  /**
   * The newest of each: older ones end quietly. A force that is refused must not have ended a swap,
   * which may have been sent and has to be heard of (R11).
   */
  readonly #newest: { swap: object | undefined; force: object | undefined };
  #cancelled = false;
  /** Rejects what is under way, one entry for each call that has not settled. */
  readonly #underWay = new Set<(error: Error) => void>();

  constructor(options: EtcdRegisterOptions) {
    this.#options = options;
    this.#newest = { swap: undefined, force: undefined };
  }

  read(): Promise<GroupConfig | undefined> {
    return this.#untilCancelled(async () => (await this.#standing()).config);
  }

  swap(expected: GroupConfig | undefined, next: GroupConfig): Promise<SwapOutcome> {
    assert(next.epoch === (expected?.epoch ?? 0) + 1, 'a swap begins the next epoch (R10)');
    assert(next.epochId !== expected?.epochId, 'each epoch has an id of its own (R10)');
    return this.#untilCancelled(() =>
      this.#repeat('swap', async (standing) => {
        const { config } = standing;
        if (config?.epochId === next.epochId) return { outcome: 'won' };
        if (config?.epochId === expected?.epochId) return this.#put(standing, next);
        // An older epoch, or none, is a register that lost what was decided: it decides nothing.
        if (config === undefined || config.epoch < next.epoch) return undefined;
        return { outcome: 'lost', current: config };
      }),
    );
  }

  async force(next: GroupConfig): Promise<void> {
    assert(next.forced !== undefined, 'what is forced says so (R35)');
    assert(
      next.inSync.length === 1 && next.inSync[0] === next.primary,
      'a site forces itself only (R35)',
    );
    const result = await this.#untilCancelled(async () => {
      // While nothing was sent there is nothing to repeat: whoever asked may choose to wait.
      await this.#standing();
      return this.#repeat('force', async (standing) => {
        const { config } = standing;
        if (config?.epochId === next.epochId) return { outcome: 'won' };
        if (config !== undefined && config.epoch >= next.epoch) {
          return { outcome: 'lost', current: config };
        }
        return this.#put(standing, next);
      });
    });
    if (result.outcome === 'won') return;
    throw new ReplicationError(
      'ERR_REGISTER_NEWER',
      `the register has gone on to epoch ${result.current.epoch}, which this site had not heard of`,
    );
  }

  cancel(): void {
    this.#cancelled = true;
    this.#newest.swap = undefined;
    this.#newest.force = undefined;
    for (const reject of this.#underWay) reject(cancelled());
    this.#underWay.clear();
  }

  async #standing(): Promise<Standing> {
    const { keys, key } = this.#options;
    return standingOf(await keys.range(key));
  }

  /** Sends the transaction. Whether it was done is not known if this rejects. */
  async #put(standing: Standing, next: GroupConfig): Promise<Verdict> {
    const { keys, key } = this.#options;
    const result = await keys.replace(key, standing.entry, encodeRecord(next));
    // Not done: what stands there now says whether an earlier copy was, or who was faster.
    return result.kind === 'put' ? { outcome: 'won' } : undefined;
  }

  /** Looks and acts until there is a verdict; gives none if a newer call took its place. */
  async #repeat(
    what: 'swap' | 'force',
    act: (standing: Standing) => Promise<Verdict>,
  ): Promise<SwapOutcome> {
    const token = {};
    this.#newest[what] = token;
    const isNewest = (): boolean => this.#newest[what] === token;
    for (let attempt = 0; ; attempt += 1) {
      const verdict = await this.#attempt(act, isNewest);
      if (!isNewest()) return never();
      if (verdict !== undefined) return verdict;
      await this.#pause(attempt);
      if (!isNewest()) return never();
    }
  }

  async #attempt(
    act: (standing: Standing) => Promise<Verdict>,
    isNewest: () => boolean,
  ): Promise<Verdict> {
    try {
      const standing = await this.#standing();
      return isNewest() ? await act(standing) : undefined;
    } catch (error) {
      // Unreachable, or a record that this version cannot read: nothing is known, R11.
      if (error instanceof ReplicationError) return undefined;
      throw error;
    }
  }

  #pause(attempt: number): Promise<void> {
    const longest = Math.min(backoffMs * 2 ** Math.min(attempt, 10), backoffMsMax);
    return this.#options.delay(longest * (0.5 + this.#options.random()));
  }

  #untilCancelled<T>(begin: () => Promise<T>): Promise<T> {
    if (this.#cancelled) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      begin()
        .then(resolve, reject)
        .finally(() => this.#underWay.delete(reject));
    });
  }
}

function standingOf(entry: EtcdEntry | undefined): Standing {
  return { entry, config: entry === undefined ? undefined : decodeRecord(entry.value) };
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

function cancelled(): ReplicationError {
  return new ReplicationError('ERR_REGISTER_CANCELLED', 'the register was closed');
}
