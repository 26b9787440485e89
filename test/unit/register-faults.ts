/**
 * What a network does to the messages of one client of a register, as a test or a seed says:
 * nothing, lose them, lose their answers, or keep the writes back and deliver them when the sender
 * has long given up.
 */
import type { RandomNumbers } from '../simulation/core-random-numbers.ts';

export type FaultMode = 'none' | 'cut' | 'lose-answers' | 'hold-writes' | 'random';

export class RegisterFaults {
  mode: FaultMode = 'none';
  /** Writes whose sender was told of a time-out, and which are still on their way. */
  readonly held: (() => Promise<unknown>)[] = [];
  /** Messages that were delivered though their sender heard of a time-out. */
  lostAnswers = 0;
  readonly #random: RandomNumbers;

  constructor(random: RandomNumbers) {
    this.#random = random;
  }

  /** Sends one message. */
  async carry<Answer>(kind: 'read' | 'write', send: () => Promise<Answer>): Promise<Answer> {
    const fate = this.#fate();
    if (fate === 'cut') throw new Error('cut');
    if (fate === 'hold-writes' && kind === 'write') {
      this.held.push(send);
      throw new Error('no answer in time');
    }
    const answer = await send();
    if (fate !== 'lose-answers') return answer;
    this.lostAnswers += 1;
    throw new Error('no answer in time');
  }

  /** Delivers what is still on its way, the newest first. */
  async release(): Promise<void> {
    for (const send of this.held.splice(0).reverse()) await send().catch(() => undefined);
  }

  #fate(): Exclude<FaultMode, 'random'> {
    if (this.mode !== 'random') return this.mode;
    const draw = this.#random.next();
    if (draw < 0.08) return 'cut';
    if (draw < 0.16) return 'lose-answers';
    return draw < 0.22 ? 'hold-writes' : 'none';
  }
}
