import t from 'tap';
import { Waiters } from '../../daemon/volume/waiters.ts';

t.test('what holds already is not waited for', async () => {
  await new Waiters().until(() => true);
});

t.test('it is looked at until it holds', async (t) => {
  const waiters = new Waiters();
  let looks = 0;
  const held = waiters.until(() => {
    looks += 1;
    return looks === 3;
  });
  for (let count = 0; count < 5; count += 1) waiters.look();
  await held;
  t.equal(looks, 3);
});

t.test('what nobody waits for any more is not looked at', async (t) => {
  const waiters = new Waiters();
  const givenUp = new AbortController();
  let looks = 0;
  const isHeld = (): boolean => {
    looks += 1;
    return false;
  };
  void waiters.until(isHeld, givenUp.signal);
  waiters.look();
  givenUp.abort();
  waiters.look();
  void waiters.until(isHeld, givenUp.signal);
  waiters.look();
  t.equal(looks, 3, 'once at first, once at the look before, once by who came too late');
});
