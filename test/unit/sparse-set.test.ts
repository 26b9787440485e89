import t from 'tap';
import { chunkNumbers, SparseSet } from '../../wal/sparse-set.ts';
import { SeededRandom } from '../support/seeded-random.ts';

t.test('a set does what a plain set does, whatever is done to it', async (t) => {
  const random = new SeededRandom(7);
  const set = new SparseSet();
  const model = new Set<number>();
  for (let step = 0; step < 400; step += 1) {
    const first = random.below(3 * chunkNumbers);
    const end =
      first + 1 + (random.below(20) === 0 ? random.below(chunkNumbers) : random.below(40));
    const adds = random.below(3) > 0;
    if (adds) set.add(first, end);
    else set.delete(first, end);
    for (let number = first; number < end; number += 1) {
      if (adds) model.add(number);
      else model.delete(number);
    }
  }
  t.equal(set.size, model.size);
  const members = [...set.runs()].flatMap(({ first, end }) =>
    Array.from({ length: end - first }, (_, index) => first + index),
  );
  t.same(
    members,
    [...model].sort((left, right) => left - right),
  );
  const ends = [...set.runs()].every(({ first, end }) => !set.has(first - 1) && !set.has(end));
  t.ok(ends, 'runs are as long as can be');
});

t.test('ranges within, at the edges of, and over several chunks', async (t) => {
  const set = new SparseSet();
  set.add(3, 5);
  set.add(chunkNumbers - 1, 2 * chunkNumbers + 1);
  t.equal(set.size, 2 + 1 + chunkNumbers + 1);
  t.same(
    [...set.runs()],
    [
      { first: 3, end: 5 },
      { first: chunkNumbers - 1, end: 2 * chunkNumbers + 1 },
    ],
  );
  t.equal(set.next(5), chunkNumbers - 1);
  t.equal(set.next(5, chunkNumbers - 1), undefined);
  t.equal(set.next(2 * chunkNumbers + 1), undefined);
  t.equal(set.runEnd(0, 10), 3);
  t.equal(set.runEnd(3, 4), 4);
  t.equal(set.runEnd(5, 8), 8);
  set.delete(0, 3 * chunkNumbers);
  t.equal(set.size, 0);
  t.same([...set.runs()], []);
});

t.test('what has changed is told until it is kept, and again when it changes again', async (t) => {
  const set = new SparseSet();
  set.add(1);
  set.add(chunkNumbers);
  const first = set.changes();
  t.same(
    first.chunks.map(({ chunk }) => chunk),
    [0, 1],
  );
  set.add(2);
  set.kept(first);
  const second = set.changes();
  t.same(
    second.chunks.map(({ chunk }) => chunk),
    [0],
    'a change while the first were on their way is not taken for kept',
  );
  set.kept(second);
  t.same(set.changes().chunks, []);
  set.add(1, 3);
  t.same(set.changes().chunks, [], 'nothing new, nothing to keep');
  set.delete(0, 10);
  t.same(set.changes().chunks, [{ chunk: 0, bits: undefined }], 'an empty chunk is told as such');
});

t.test('a set that was kept is the same when it is loaded', async (t) => {
  const set = new SparseSet();
  set.add(17, 4711);
  set.add(100_000, 100_003);
  const copy = new SparseSet();
  for (const { chunk, bits } of set.chunks()) if (bits !== undefined) copy.load(chunk, bits);
  t.same([...copy.runs()], [...set.runs()]);
  t.equal(copy.size, set.size);
  t.same(copy.changes().chunks, []);
  set.clear();
  t.equal(set.size, 0);
});
