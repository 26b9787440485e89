/**
 * A client that asks for more zeroes than the data file takes (NBD_CMD_FLAG_NO_HOLE): it is slowed
 * down as one that writes data would be, its group's log goes on being let go of, and what was
 * answered is within the limits (I9).
 */
import t from 'tap';
import { spoiledPair } from '../support/site-pair.ts';

const mebibyte = 1024 * 1024;
/** The limits of a `spoiledPair`, for what is in flight and for what waits to be applied. */
const limitBytes = 4 * mebibyte;

t.test('zeroes that take up space wait for the data file', async (t) => {
  const { a, b } = await spoiledPair(t);
  await a.write('1');
  await a.until('has applied it', ({ applyBacklogBytes }) => applyBacklogBytes === 0);
  a.disk.stall('apply-data');
  let answered = 0;
  const requests = Array.from({ length: 32 }, async () => {
    const lengthBytes = 8 * mebibyte;
    const error = await a.request({ command: 'writeZeroes', noHole: true, lengthBytes });
    answered += 1;
    return error;
  });
  const full = await a.until(
    'has as much as may wait',
    ({ applyBacklogBytes, unacknowledgedBytes }) =>
      applyBacklogBytes >= limitBytes && unacknowledgedBytes === 0,
  );
  // What was in flight when the limit was reached is committed beyond it: one frame more each.
  t.ok(full.applyBacklogBytes <= 4 * limitBytes, `${full.applyBacklogBytes} bytes wait`);
  t.ok(answered < requests.length / 4, `${answered} are answered`);
  t.ok(full.serves && full.inSync);
  a.disk.release();
  t.same(new Set(await Promise.all(requests)), new Set([0]), 'all are answered when it goes on');
  for (const site of [a, b]) {
    const now = await site.until('has applied all', (group) => group.applyBacklogBytes === 0);
    t.ok(now.inSync, 'nobody was dropped for it');
  }
  t.equal(await b.read(), '\0');
});
