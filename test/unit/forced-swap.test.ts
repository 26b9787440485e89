/** R35: what a forced promotion does when the configuration changes under its swap. */
import t from 'tap';
import { swapByForce } from '../../daemon/forced-swap.ts';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { SwapOutcome } from '../../replication/register/register.ts';

const alone: GroupConfig = {
  epoch: 3,
  epochId: 'alone',
  primary: 'A',
  inSync: ['A'],
  acceptors: ['A', 'B', 'W'],
  leaseMs: 1000,
  graceMs: 2000,
};
const forcedAt = { sequence: 4, digest: '0' };

/** What stands in the register is changed by each of `changes` just before a swap. */
class BusyRegister {
  current = alone;
  asked = 0;
  readonly #changes: ((current: GroupConfig) => GroupConfig)[];

  constructor(...changes: ((current: GroupConfig) => GroupConfig)[]) {
    this.#changes = changes;
  }

  async swap(expected: GroupConfig | undefined, next: GroupConfig): Promise<SwapOutcome> {
    this.asked += 1;
    const change = this.#changes.shift();
    if (change !== undefined) this.current = change(this.current);
    if (this.current.epochId !== expected?.epochId)
      return { outcome: 'lost', current: this.current };
    this.current = next;
    return { outcome: 'won' };
  }
}

function later(change: Partial<GroupConfig>): (current: GroupConfig) => GroupConfig {
  return (current) => {
    const epoch = current.epoch + 1;
    return { ...current, epoch, epochId: `other-${epoch}`, ...change };
  };
}

interface Told {
  isNewest?: (config: GroupConfig) => boolean;
  isOver?: () => boolean;
}

function promote(register: BusyRegister, told: Told = {}): Promise<GroupConfig | undefined> {
  return swapByForce(alone, {
    register,
    promoted: ({ epoch, acceptors }) => ({
      ...alone,
      epoch: epoch + 1,
      epochId: `forced-${epoch + 1}`,
      primary: 'B',
      inSync: ['B'],
      acceptors,
      forced: forcedAt,
    }),
    isNewest: told.isNewest ?? (() => true),
    isOver: told.isOver ?? (() => false),
  });
}

t.test('a group that was removed meanwhile stays so', async (t) => {
  const register = new BusyRegister(later({ removed: true }));
  t.equal(await promote(register), undefined);
  t.equal(register.current.removed, true);
});

t.test('a change that leaves what was confirmed true is gone along with', async (t) => {
  const register = new BusyRegister(later({ acceptors: ['A', 'B'] }), later({}));
  const won = await promote(register);
  t.equal(won?.epoch, 6);
  t.same(won?.acceptors, ['A', 'B'], 'who votes now decides on it');
  t.equal(register.current.epochId, won?.epochId);
});

t.test('what an earlier promotion of this site has won is replaced', async (t) => {
  const own = later({ primary: 'B', inSync: ['B'], forced: forcedAt });
  t.equal((await promote(new BusyRegister(own)))?.epoch, 5);
});

const untrue = {
  'another primary': { primary: 'B' },
  'another set in sync': { inSync: ['A', 'B'] },
  'the other site forced': { forced: { sequence: 9, digest: '1' } },
};
for (const [what, change] of Object.entries(untrue)) {
  t.test(`${what}: the operator has to look again`, async (t) => {
    const register = new BusyRegister(later(change));
    t.equal(await promote(register), undefined);
    t.equal(register.asked, 1);
    t.notMatch(register.current, { epochId: /^forced/ });
  });
}

t.test('a peer that came back meanwhile: the operator has to look again', async (t) => {
  const register = new BusyRegister(later({}));
  t.equal(await promote(register, { isOver: () => true }), undefined);
});

t.test('a configuration that can not be acted by gives way to a newer one', async (t) => {
  const register = new BusyRegister();
  const won = await promote(register, { isNewest: ({ epoch }) => epoch > 4 });
  t.equal(won?.epoch, 5);
  t.equal(register.current.epochId, won?.epochId);
});

t.test('a register that is never at rest is not asked for ever', async (t) => {
  const register = new BusyRegister(...Array.from({ length: 100 }, () => later({})));
  t.equal(await promote(register), undefined);
  t.equal(register.asked, 9);
});
