/** The queue of the write path: order, and that it lets go of what was taken. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Queue } from '../../daemon/volume/queue.ts';

t.test('first in, first out, through compactions', async (t) => {
  const queue = new Queue<number>();
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 5000; round++) {
    queue.push(next);
    queue.push(next + 1);
    next += 2;
    if (queue.shift() !== expected) t.fail('out of order');
    expected += 1;
  }
  t.equal(queue.length, next - expected);
  t.equal(queue.peek(), expected);
  t.equal(queue.at(2), expected + 2);
  t.equal(queue.last(), next - 1);
  t.equal(queue.pop(), next - 1);
  t.same(queue.drain().slice(0, 3), [expected, expected + 1, expected + 2]);
  t.equal(queue.length, 0);
  t.equal(queue.shift(), undefined);
});

t.test('what was taken can be collected, though the queue never runs empty', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('no garbage collector to call');
  const queue = new Queue<object>();
  const taken: WeakRef<object>[] = [];
  queue.push({});
  for (let index = 0; index < 100; index++) {
    queue.push({ index });
    const item = queue.shift();
    if (item !== undefined) taken.push(new WeakRef(item));
  }
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  t.ok(taken.filter((reference) => reference.deref() !== undefined).length <= 2);
});
