/**
 * What any register has to do, run for each there is: one value that changes by compare-and-swap
 * only, in one order that all clients see, whatever the network does to their messages (R7, R10,
 * R11, H1, H5).
 */
import t, { type Test } from 'tap';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { Register } from '../../replication/register/register.ts';
import { RandomNumbers } from '../simulation/core-random-numbers.ts';
import { EtcdCluster } from '../support/etcd.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { firstConfig, nextConfig } from './register-cluster.ts';
import { RegisterHistory } from './register-history.ts';
import {
  casSubject,
  etcdSubjects,
  type MakeSubject,
  type RegisterLife,
  type Subject,
} from './register-subjects.ts';

t.test('CASPaxos over three acceptors', async (t) => {
  await conformance(t, casSubject, 25);
});

t.test('a key in etcd', async (t) => {
  const etcd = await EtcdCluster.start(t, { directory: scratchDirectory(t) });
  await conformance(t, etcdSubjects(etcd.endpoints), 15);
});

/** A register with its first value, and lives of two clients. */
interface Begun {
  readonly subject: Subject;
  readonly a: RegisterLife;
  readonly b: RegisterLife;
  readonly first: GroupConfig;
}

async function begin(t: Test, make: MakeSubject, seed = 1): Promise<Begun> {
  const subject = make(seed);
  t.teardown(() => subject.close());
  const a = subject.life('A0');
  const b = subject.life('B0');
  const first = firstConfig(subject.acceptors);
  t.same(await a.register.swap(undefined, first), { outcome: 'won' });
  return { subject, a, b, first };
}

const byB = { primary: 'B0', inSync: ['B0'] };

async function conformance(t: Test, make: MakeSubject, seeds: number): Promise<void> {
  await t.test('it begins absent, and is created once (R39)', async (t) => {
    const subject = make(1);
    t.teardown(() => subject.close());
    const { register: a } = subject.life('A0');
    const { register: b } = subject.life('B0');
    t.equal(await a.read(), undefined);
    const first = firstConfig(subject.acceptors);
    const other = { ...first, epochId: 'other', primary: 'B0', inSync: ['B0'] };
    const results = await Promise.all([a.swap(undefined, first), b.swap(undefined, other)]);
    t.same(results.map(({ outcome }) => outcome).sort(), ['lost', 'won']);
    const winner = results[0]?.outcome === 'won' ? first : other;
    t.same(await a.read(), winner);
    t.same(await b.read(), winner);
  });

  await t.test('all of a value comes back as it went in', async (t) => {
    const { a, b, first } = await begin(t, make);
    const forced = { sequence: 2 ** 52, digest: 'f'.repeat(32) };
    const second = nextConfig(first, { inSync: ['A0', 'B0'], forced });
    t.same(await a.register.swap(first, second), { outcome: 'won' });
    t.same(await b.register.read(), second);
    const third = nextConfig(second, { removed: true });
    t.same(await b.register.swap(second, third), { outcome: 'won' });
    t.same(await a.register.read(), third);
  });

  await t.test('of two swaps of one value one wins, the other hears which (R10)', async (t) => {
    const { a, b, first } = await begin(t, make);
    const next = [nextConfig(first), nextConfig(first, byB)] as const;
    const results = await Promise.all([
      a.register.swap(first, next[0]),
      b.register.swap(first, next[1]),
    ]);
    const winner = results[0].outcome === 'won' ? next[0] : next[1];
    t.same(results.map(({ outcome }) => outcome).sort(), ['lost', 'won']);
    for (const result of results) {
      if (result.outcome === 'lost') t.same(result.current, winner);
    }
    t.same(await a.register.read(), winner);
  });

  await t.test('a swap from a value that stands no more is lost', async (t) => {
    const { a, b, first } = await begin(t, make);
    const second = nextConfig(first);
    const third = nextConfig(second);
    await a.register.swap(first, second);
    await a.register.swap(second, third);
    const result = await b.register.swap(first, nextConfig(first, byB));
    t.same(result, { outcome: 'lost', current: third });
  });

  await t.test('a swap that was done unheard is won when it is repeated (R11)', async (t) => {
    const { a, b, first } = await begin(t, make);
    a.faults.mode = 'lose-answers';
    const second = nextConfig(first);
    const outcome = settled(a.register.swap(first, second));
    if (await doneUnheard(b.register, second, a)) t.equal(outcome.result, undefined);
    a.faults.mode = 'none';
    t.same(await outcome.promise, { outcome: 'won' });
    t.same(await b.register.read(), second);
    t.same(await a.register.swap(first, second), { outcome: 'won' }, 'and again');
  });

  await t.test('a swap whose copies arrive late, after a read, is done once (H5)', async (t) => {
    const { subject, a, b, first } = await begin(t, make);
    a.faults.mode = 'hold-writes';
    const second = nextConfig(first);
    const outcome = settled(a.register.swap(first, second));
    await pollUntil('several copies are on their way', () => a.faults.held.length >= 3);
    const seen = await b.register.read();
    if (subject.atomic) t.same(seen, first, 'a read does not show it');
    t.equal(outcome.result, undefined, 'and settles nothing');
    a.faults.mode = 'none';
    t.same(await outcome.promise, { outcome: 'won' });
    const third = nextConfig(second, byB);
    t.same(await b.register.swap(second, third), { outcome: 'won' });
    await a.faults.release();
    t.same(await a.register.read(), third, 'late copies do nothing');
  });

  await t.test('a swap whose copies arrive after another has won is lost', async (t) => {
    const { subject, a, b, first } = await begin(t, make);
    a.faults.mode = 'hold-writes';
    const second = nextConfig(first);
    const outcome = settled(a.register.swap(first, second));
    await pollUntil('a copy is on its way', () => a.faults.held.length > 0);
    const other = nextConfig(first, byB);
    const result = await b.register.swap(first, other);
    if (subject.atomic) t.same(result, { outcome: 'won' });
    const stands = result.outcome === 'won' ? other : second;
    await a.faults.release();
    t.same(await b.register.read(), stands);
    a.faults.mode = 'none';
    const lost = { outcome: 'lost', current: other };
    t.same(await outcome.promise, result.outcome === 'won' ? lost : { outcome: 'won' });
  });

  await t.test('a swap of an earlier life may win late, and all see the same (H1)', async (t) => {
    const { subject, a, b, first } = await begin(t, make);
    a.faults.mode = 'hold-writes';
    const second = nextConfig(first);
    const earlier = a.register.swap(first, second).catch(() => 'cancelled');
    await pollUntil('a copy is on its way', () => a.faults.held.length > 0);
    a.register.cancel();
    t.equal(await earlier, 'cancelled');
    await a.faults.release();
    const later = subject.life('A0');
    const third = nextConfig(first);
    const result = await later.register.swap(first, third);
    const stands = await b.register.read();
    if (result.outcome === 'won') t.same(stands, third);
    else t.same([result.current, stands], [second, second], 'a win is told by its id alone');
  });

  await t.test('without an answer reads fail and swaps wait', async (t) => {
    const { a, b, first } = await begin(t, make);
    a.faults.mode = 'cut';
    await t.rejects(a.register.read(), { code: 'ERR_REGISTER_UNAVAILABLE' });
    const second = nextConfig(first);
    const outcome = settled(a.register.swap(first, second));
    t.same(await b.register.read(), first);
    t.equal(outcome.result, undefined);
    a.faults.mode = 'none';
    t.same(await outcome.promise, { outcome: 'won' });
  });

  await t.test('a newer swap takes the place of an older one, cancel ends all', async (t) => {
    const { subject, a, first } = await begin(t, make);
    a.faults.mode = 'cut';
    const second = nextConfig(first);
    const older = settled(a.register.swap(first, second));
    const third = nextConfig(first);
    const newer = a.register.swap(first, third);
    a.faults.mode = 'none';
    const result = await newer;
    if (subject.atomic) t.same(result, { outcome: 'won' });
    t.equal(older.result, undefined, 'nothing is told of the older one');
    const stands = result.outcome === 'won' ? third : second;
    t.same(await a.register.read(), stands);
    a.faults.mode = 'cut';
    const open = a.register.swap(stands, nextConfig(stands));
    const reading = a.register.read();
    a.register.cancel();
    await t.rejects(open, { code: 'ERR_REGISTER_CANCELLED' });
    await t.rejects(reading, { code: 'ERR_REGISTER_CANCELLED' });
    a.faults.mode = 'none';
    await t.rejects(a.register.read(), { code: 'ERR_REGISTER_CANCELLED' });
    t.equal(older.result, 'rejected');
  });

  await t.test('several clients, everything late and lost: one order for all', async (t) => {
    let wins = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { problem, wins: found } = await rivalry(make, seed);
      wins += found;
      if (problem !== undefined) t.fail(`seed ${seed}: ${problem}`);
    }
    t.ok(wins >= seeds * 10, `${wins} wins in ${seeds} seeds`);
  });
}

/** A promise that can be asked whether it has settled. */
function settled<T>(promise: Promise<T>): {
  promise: Promise<T>;
  result: T | 'rejected' | undefined;
} {
  const state: { promise: Promise<T>; result: T | 'rejected' | undefined } = {
    promise,
    result: undefined,
  };
  promise.then(
    (result) => {
      state.result = result;
    },
    () => {
      state.result = 'rejected';
    },
  );
  return state;
}

/** Waits until the other client sees the value, or so many answers were lost that it never may. */
async function doneUnheard(other: Register, next: GroupConfig, { faults }: RegisterLife) {
  let seen = false;
  await pollUntil('the swap is done, or was tried often', async () => {
    seen = (await other.read())?.epochId === next.epochId;
    return seen || faults.lostAnswers >= 50;
  });
  return seen;
}

const rounds = 12;

/** Three clients read and swap for a while; some of their lives end in the middle of a swap. */
async function rivalry(make: MakeSubject, seed: number) {
  const subject = make(seed);
  const random = new RandomNumbers(seed);
  const history = new RegisterHistory();
  const first = firstConfig(subject.acceptors);
  const founder = subject.life('A0');
  const begun = history.propose(first);
  await founder.register.swap(undefined, first);
  history.saw('A0', 'won', begun, first);
  const names = ['A0', 'B0', 'W'] as const;
  await Promise.all(names.map((name) => rival(subject, name, first, history, random)));
  subject.close();
  return { problem: history.problem(), wins: history.wins };
}

async function rival(
  subject: Subject,
  name: 'A0' | 'B0' | 'W',
  first: GroupConfig,
  history: RegisterHistory,
  random: RandomNumbers,
): Promise<void> {
  let life = subject.life(name);
  let known = first;
  life.faults.mode = 'random';
  for (let round = 0; round < rounds; round += 1) {
    if (random.chance(0.5)) {
      const begun = history.begin();
      const current = await life.register.read().catch(() => undefined);
      if (current !== undefined) {
        history.saw(name, 'read', begun, current);
        known = current;
      }
    }
    const next = nextConfig(known, { primary: name, inSync: [name] });
    const begun = history.propose(next);
    const swapping = life.register.swap(known, next);
    if (random.chance(0.15)) {
      swapping.catch(() => undefined);
      await pollUntil('the swap is under way', () => random.chance(0.5));
      life.register.cancel();
      await life.faults.release();
      life = subject.life(name);
      life.faults.mode = 'random';
      continue;
    }
    const result = await swapping;
    known = result.outcome === 'won' ? next : result.current;
    history.saw(name, result.outcome, begun, known);
    if (random.chance(0.3)) await life.faults.release();
  }
  life.register.cancel();
  await life.faults.release();
}
