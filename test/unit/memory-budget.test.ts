/** The memory of a site's requests is shared so that held groups do not stop the others (I9). */
import t from 'tap';
import { MemoryAccount, MemoryBudget } from '../../daemon/volume/memory-budget.ts';

const limitBytes = 64_000;

function accounts(count: number) {
  const budget = new MemoryBudget(limitBytes);
  const made = Array.from({ length: count }, () => new MemoryAccount(budget));
  return { budget, accounts: made };
}

/** Takes until the account is full; gives how much that was. */
function fill(account: MemoryAccount): number {
  const before = account.usedBytes;
  while (!account.full) account.take(1000);
  return account.usedBytes - before;
}

t.test('a group that is held takes a quarter, all of them half, the others the rest', (t) => {
  const { budget, accounts: made } = accounts(5);
  const [serving, ...held] = made;
  for (const account of held) account.setHeld(true);
  t.same(held.map(fill), [16_000, 16_000, 0, 0]);
  t.equal(budget.heldBytes, limitBytes / 2);
  t.equal(serving === undefined ? 0 : fill(serving), limitBytes / 2);
  t.equal(budget.usedBytes, limitBytes);
  t.end();
});

t.test('what was taken before the group was held does not stop a group that serves', (t) => {
  const { budget, accounts: made } = accounts(2);
  const [held, serving] = made;
  if (held === undefined || serving === undefined) throw new Error('two were made');
  fill(held);
  held.setHeld(true);
  t.equal(budget.full, true);
  for (let round = 0; round < 3; round += 1) {
    t.equal(serving.full, false, 'it may take a request');
    serving.take(1000);
    t.equal(serving.full, true, 'one at a time');
    let woken = 0;
    serving.whenRoom(() => {
      woken += 1;
    });
    budget.wake();
    t.equal(woken, 0);
    serving.give(1000);
    t.equal(woken, 1, 'and is told when that is done');
  }
  t.end();
});

t.test('who waits is told when the group is not held any more, or there is room', (t) => {
  const { budget, accounts: made } = accounts(2);
  const [held, other] = made;
  if (held === undefined || other === undefined) throw new Error('two were made');
  const woken: string[] = [];
  held.setHeld(true);
  fill(held);
  held.whenRoom(() => woken.push('held'));
  budget.wake();
  t.same(woken, []);
  held.setHeld(false);
  t.same(woken, ['held']);
  t.equal(budget.heldBytes, 0);
  fill(other);
  held.whenRoom(() => woken.push('serving'));
  budget.wake();
  other.give(1000);
  t.same(woken, ['held', 'serving']);
  t.end();
});
