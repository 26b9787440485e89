/**
 * What several clients saw of one register, and whether it is linearizable. Every value has an
 * epoch one above that of the value it replaced, so the register's history is a chain, and it is
 * enough that there is one value for each epoch, that nobody sees a value before it was proposed,
 * and that nobody sees an older epoch than another had seen before it asked.
 */
import type { GroupConfig } from '../../replication/core/config.ts';

interface Seen {
  readonly client: string;
  readonly what: 'read' | 'won' | 'lost';
  readonly begun: number;
  readonly ended: number;
  readonly epoch: number;
  readonly epochId: string;
}

export class RegisterHistory {
  readonly #seen: Seen[] = [];
  /** When each value was first proposed. */
  readonly #proposed = new Map<string, number>();
  #now = 0;

  /** The moment at which something begins. */
  begin(): number {
    this.#now += 1;
    return this.#now;
  }

  propose(config: GroupConfig): number {
    const begun = this.begin();
    this.#proposed.set(config.epochId, begun);
    return begun;
  }

  saw(client: string, what: Seen['what'], begun: number, config: GroupConfig | undefined): void {
    const ended = this.begin();
    const { epoch, epochId } = config ?? { epoch: 0, epochId: 'absent' };
    this.#seen.push({ client, what, begun, ended, epoch, epochId });
  }

  get wins(): number {
    return this.#seen.filter(({ what }) => what === 'won').length;
  }

  /** Why it is not linearizable, or undefined if it is. */
  problem(): string | undefined {
    const ids = new Map<number, string>();
    const winners = new Set<string>();
    for (const seen of this.#seen) {
      const { epoch, epochId, what, ended } = seen;
      const other = ids.get(epoch);
      if (other !== undefined && other !== epochId) {
        return `epoch ${epoch} is ${other} and ${epochId} (${describe(seen)})`;
      }
      ids.set(epoch, epochId);
      if (epochId !== 'absent' && (this.#proposed.get(epochId) ?? ended) >= ended) {
        return `${describe(seen)} before it was proposed`;
      }
      if (what === 'won' && winners.has(epochId)) return `${epochId} was won twice`;
      if (what === 'won') winners.add(epochId);
    }
    return this.#disorder();
  }

  #disorder(): string | undefined {
    for (const later of this.#seen) {
      for (const earlier of this.#seen) {
        if (earlier.ended < later.begun && earlier.epoch > later.epoch) {
          return `${describe(later)} after ${describe(earlier)}`;
        }
      }
    }
    return undefined;
  }
}

function describe({ client, what, epoch, epochId, begun, ended }: Seen): string {
  return `${client} ${what} ${epochId} of epoch ${epoch} in ${begun}..${ended}`;
}
