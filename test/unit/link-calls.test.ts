/** Calls over the control connection: answers, errors, time-outs, and what stays unknown. */
import t from 'tap';
import { randomId } from '../../daemon/system-clock.ts';
import { openSession, startedPair } from './link-pair.ts';

t.test('parameters and results go both ways as plain data', async (t) => {
  const pair = await startedPair();
  const value = { list: [1, -5, 2 ** 40, 0.5, null, true], text: 'ü', bytes: Buffer.from('abc') };
  for (const [caller, callee] of [
    [pair.a, pair.b],
    [pair.b, pair.a],
  ] as const) {
    callee.handler.answer = async (method, parameters) => ({ method, parameters });
    t.same(await caller.link.call('echo', value, 10_000), { method: 'echo', parameters: value });
  }
  await pair.close();
});

t.test('many calls at once get each its own answer, in any order', async (t) => {
  const pair = await startedPair();
  const releases: (() => void)[] = [];
  pair.b.handler.answer = (_method, parameters) =>
    new Promise((resolve) => {
      releases.unshift(() => resolve(parameters));
      if (releases.length === 100) for (const release of releases) release();
    });
  const numbers = Array.from({ length: 100 }, (_, index) => index);
  const answers = numbers.map((number) => pair.a.link.call('late', number, 10_000));
  t.same(await Promise.all(answers), numbers);
  await pair.close();
});

t.test("the peer's error comes back with its code and its words", async (t) => {
  const pair = await startedPair();
  pair.b.handler.answer = async () => {
    throw Object.assign(new Error('no room for 3 TiB'), { code: 'ERR_NO_ROOM' });
  };
  await t.rejects(pair.a.link.call('grow', {}, 10_000), {
    code: 'ERR_NO_ROOM',
    message: 'no room for 3 TiB',
    fromPeer: true,
  });
  pair.b.handler.answer = () => {
    throw new TypeError('at once');
  };
  await t.rejects(pair.a.link.call('grow', {}, 10_000), { code: 'ERR_INTERNAL' });
  await pair.close();
});

t.test('a call without an answer times out, and a late answer harms nobody', async (t) => {
  const pair = await startedPair();
  let release: () => void = () => undefined;
  pair.b.handler.answer = (method) =>
    method === 'quick'
      ? Promise.resolve(1)
      : new Promise((resolve) => {
          release = () => resolve(2);
        });
  await t.rejects(pair.a.link.call('slow', {}, 20), { code: 'ERR_LINK_TIMEOUT' });
  release();
  t.equal(await pair.a.link.call('quick', {}, 10_000), 1);
  await pair.close();
});

t.test('a call under way when the connection goes has an unknown outcome', async (t) => {
  const pair = await startedPair();
  let asked: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => {
    asked = resolve;
  });
  pair.b.handler.answer = () => {
    asked();
    return new Promise(() => undefined);
  };
  const call = pair.a.link.call('slow', {}, 60_000);
  await arrived;
  const rejected = t.rejects(call, { code: 'ERR_LINK_LOST' });
  await pair.b.link.close();
  await rejected;
  await pair.a.handler.until(() => !pair.a.handler.up);
  await t.rejects(pair.a.link.call('more', {}, 60_000), { code: 'ERR_LINK_DOWN' });
  await pair.close();
});

t.test('too many calls and too large ones are refused before they are sent', async (t) => {
  const limits = { pendingCallsMax: 2, callBytesMax: 10_000 };
  const pair = await startedPair({ limits }, { limits });
  let release: (value: string) => void = () => undefined;
  const held = new Promise<string>((resolve) => {
    release = resolve;
  });
  pair.b.handler.answer = () => held;
  const calls = [pair.a.link.call('one', {}, 60_000), pair.a.link.call('two', {}, 60_000)];
  await t.rejects(pair.a.link.call('three', {}, 60_000), { code: 'ERR_LINK_BUSY' });
  release('x'.repeat(20_000));
  for (const call of calls) {
    await t.rejects(call, { code: 'ERR_LINK_TOO_LARGE', fromPeer: true });
  }
  await t.rejects(pair.a.link.call('big', Buffer.alloc(20_000), 60_000), {
    code: 'ERR_LINK_TOO_LARGE',
    fromPeer: false,
  });
  await pair.close();
});

t.test('closing tells every session, sends what was queued, and then is silent', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  const digest = '1'.repeat(32);
  pair.a.link.send(session, { kind: 'release', epoch: 1, sequence: 2, digest, alone: true });
  await pair.a.link.close();
  t.equal(pair.a.handler.of('closed').length, 1);
  const told = pair.a.handler.told.length;
  await pair.b.handler.first('closed');
  t.match(pair.b.handler.of('message')[0]?.message, { kind: 'release', alone: true });
  await pair.b.link.close();
  t.equal(pair.a.handler.told.length, told);
});
