/** Sessions: opened when both sides are willing, dead for ever once closed, in order meanwhile. */
import t from 'tap';
import { randomId, systemClock } from '../../daemon/system-clock.ts';
import type { ForwardRequest } from '../../replication/link/peer-link.ts';
import { ackOf, makeFrame, makeSite, openSession, startedPair } from './link-pair.ts';

t.test('a session opens when the second side becomes willing, whichever that is', async (t) => {
  const pair = await startedPair();
  for (const [first, second] of [
    [pair.a, pair.b],
    [pair.b, pair.a],
  ] as const) {
    const groupId = randomId();
    first.link.setWilling(groupId, true);
    // A call goes the whole way round: what was sent before it has been dealt with.
    await first.link.call('round', null, 10_000);
    t.equal(first.handler.of('opened').filter((told) => told.groupId === groupId).length, 0);
    second.link.setWilling(groupId, true);
    const one = await first.handler.first('opened', (told) => told.groupId === groupId);
    const two = await second.handler.first('opened', (told) => told.groupId === groupId);
    t.equal(one.session, two.session);
  }
  await pair.close();
});

t.test('messages, frames and forwards keep their order and their content', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  const frames = [1, 511, 4096, 1_048_576].map((bytes, index) => makeFrame(groupId, bytes, index));
  const digest = '3'.repeat(32);
  frames.forEach((frame, index) => {
    pair.a.link.sendFrame(session, 2 * index, frame);
    pair.a.link.send(session, {
      kind: 'heartbeat',
      epoch: 1,
      number: 2 * index + 1,
      commit: 2 ** 40 + index,
      sent: { sequence: 5, digest },
      checkpoint: 4,
    });
  });
  pair.a.link.send(session, { ...ackOf(9), digest });
  await pair.b.handler.until(() => pair.b.handler.of('message').length === 5);
  const order = pair.b.handler.told.flatMap((told) => {
    if (told.kind === 'frame') return [told.number];
    if (told.kind !== 'message' || told.message.kind !== 'heartbeat') return [];
    return [told.message.number];
  });
  t.same(order, [0, 1, 2, 3, 4, 5, 6, 7]);
  pair.b.handler.of('frame').forEach((told, index) => {
    const sent = frames[index];
    t.equal(told.frame.digestAfter, sent?.digestAfter);
    t.ok(Buffer.concat(told.frame.bytes).equals(Buffer.concat(sent?.bytes ?? [])));
  });
  const last = pair.b.handler.of('message').at(-1)?.message;
  t.same(last, { ...ackOf(9), digest });
  t.match(pair.b.handler.of('message')[0]?.message, { commit: 2 ** 40, sent: { digest } });
  await pair.close();
});

t.test('documents of the pair protocol arrive as they were sent', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  const point = { sequence: 7, digest: '4'.repeat(32) };
  const config = {
    epoch: 3,
    epochId: '5'.repeat(32),
    primary: '6'.repeat(32),
    inSync: ['6'.repeat(32)],
    acceptors: ['6'.repeat(32), '7'.repeat(32)],
    leaseMs: 1000,
    graceMs: 2000,
    forced: point,
  };
  const messages = [
    {
      kind: 'hello',
      storeId: '8'.repeat(32),
      groupId,
      config: undefined,
      epochHistory: [{ epoch: 1, epochId: '5'.repeat(32), firstSequence: 1 }],
      end: point,
      checkpoint: point,
      committedFloor: 5,
      base: undefined,
      flags: { inconsistent: false, split: true, damaged: false, resolving: false },
      logStart: 2 ** 45,
      volumes: [{ volume: 1, sizeBytes: 2 ** 40 }],
      staged: { from: 4 },
      needsResync: true,
    },
    { kind: 'welcome', config, mode: 'log', fork: point, end: point, resync: undefined },
    {
      kind: 'welcome',
      config,
      mode: 'resync',
      fork: point,
      end: point,
      resync: {
        common: 5,
        base: point,
        epochHistory: [{ epoch: 1, epochId: '5'.repeat(32), firstSequence: 1 }],
      },
    },
    { kind: 'ack', epoch: 3, durable: 7, number: 9, checkpoint: 6, staged: true },
    { kind: 'release', epoch: 3, sequence: 7, digest: '9'.repeat(32), alone: true },
    { kind: 'refuse', code: 'split', text: 'both have served' },
  ] as const;
  for (const message of messages) pair.a.link.send(session, message);
  await pair.b.handler.until(() => pair.b.handler.of('message').length === messages.length);
  t.same(
    pair.b.handler.of('message').map((told) => told.message),
    messages,
  );
  await pair.close();
});

t.test('forwarded requests and replies arrive as they were sent', async (t) => {
  const pair = await startedPair();
  const session = await openSession(pair, randomId());
  const payload = [Buffer.alloc(70_000, 1), Buffer.alloc(30_000, 2)];
  const request: ForwardRequest = {
    id: 2 ** 33,
    command: 'write',
    volume: 3,
    offsetBytes: 2 ** 41,
    lengthBytes: 100_000,
    noHole: true,
    originBoot: 0xffff_ffff_ffff_ffffn,
    originNumber: 12,
    payload,
  };
  pair.b.link.sendForward(session, request);
  const { request: got } = await pair.a.handler.first('forward');
  t.ok(Buffer.concat(got.payload).equals(Buffer.concat(payload)));
  t.same({ ...got, payload: [] }, { ...request, payload: [] });
  const extents = [
    { lengthBytes: 2 ** 32, hole: true },
    { lengthBytes: 512, hole: false },
  ];
  pair.a.link.sendForwardReply(session, {
    id: 5,
    error: 28,
    refused: true,
    data: payload,
    extents,
  });
  const { reply } = await pair.b.handler.first('forwardReply');
  t.ok(Buffer.concat(reply.data).equals(Buffer.concat(payload)));
  t.same({ ...reply, data: [] }, { id: 5, error: 28, refused: true, data: [], extents });
  await pair.close();
});

for (const closer of ['a', 'b'] as const) {
  t.test(
    `a session that ${closer} closes is dead on both sides, and a new one opens`,
    async (t) => {
      const pair = await startedPair();
      const groupId = randomId();
      const session = await openSession(pair, groupId);
      const here = pair[closer];
      const there = pair[closer === 'a' ? 'b' : 'a'];
      // What the other side has on its way when it is closed must not be delivered (R13).
      there.link.send(session, ackOf(1));
      here.link.closeSession(session, 'a drop is pending');
      here.link.send(session, ackOf(2));
      t.equal(here.handler.of('closed').length, 0, 'not told from within the call');
      await there.handler.first('closed', (told) => told.session === session);
      await here.handler.first('closed', (told) => told.session === session);
      const next = await there.handler.first('opened', (told) => told.session !== session);
      await here.handler.first('opened', (told) => told.session === next.session);
      t.ok(next.session > session, 'with a higher number');
      t.equal(here.handler.of('message').length, 0);
      t.equal(there.handler.of('message').length, 0);
      await pair.close();
    },
  );
}

t.test('both sides close at once: each is told once, one new session opens', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  pair.a.link.closeSession(session, 'one');
  pair.b.link.closeSession(session, 'two');
  for (const { handler } of [pair.a, pair.b]) {
    await handler.first('opened', (told) => told.session > session);
    t.equal(handler.of('closed').filter((told) => told.session === session).length, 1);
  }
  await pair.close();
});

t.test('a side that stays unwilling gets no session, and is not asked without end', async (t) => {
  const pair = await startedPair({ timeouts: { sessionRetryMs: 500, sessionRetryMsMax: 60_000 } });
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  pair.b.link.setWilling(groupId, false);
  t.equal(pair.b.handler.of('closed').length, 0, 'unwilling does not close what is open');
  pair.b.link.send(session, ackOf(1));
  await pair.a.handler.first('message');
  pair.b.link.closeSession(session, 'enough');
  await pair.a.handler.first('closed');
  const before = pair.a.link.stats().messagesOut;
  for (let round = 0; round < 20; round += 1) await pair.a.link.call('round', null, 10_000);
  // Twenty calls, and answers to the pings of a few seconds at most; no storm of opens.
  t.ok(pair.a.link.stats().messagesOut - before < 40);
  t.equal(pair.a.handler.of('opened').length, 1);
  await pair.close();
});

t.test('willingness that toggles quickly ends in one session that works', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  for (let round = 0; round < 50; round += 1) {
    pair.a.link.setWilling(groupId, round % 2 === 0);
    pair.b.link.setWilling(groupId, round % 3 === 0);
    if (round % 7 === 0) await pair.a.link.call('round', null, 10_000);
  }
  pair.a.link.setWilling(groupId, true);
  pair.b.link.setWilling(groupId, true);
  const newest = (): number | undefined => {
    const one = pair.a.handler.of('opened').at(-1)?.session;
    const two = pair.b.handler.of('opened').at(-1)?.session;
    return one === two && pair.a.link.stats().sessions === 1 ? one : undefined;
  };
  await pair.a.handler.until(() => pair.a.link.stats().sessions === 1);
  await pair.b.handler.until(() => newest() !== undefined);
  pair.a.link.send(newest() ?? 0, ackOf(5));
  await pair.b.handler.first('message');
  for (const { handler } of [pair.a, pair.b]) {
    const closed = handler.of('closed').map((told) => told.session);
    t.same(closed, [...new Set(closed)], 'each session is closed once');
    t.equal(handler.of('opened').length - closed.length, 1);
  }
  await pair.close();
});

t.test('a handler that closes every session at once is not flooded with new ones', async (t) => {
  const waitsMs: number[] = [];
  const clock = {
    nowMs: () => systemClock.nowMs(),
    setTimer(delayMs: number, fire: () => void) {
      waitsMs.push(Math.round(delayMs));
      return systemClock.setTimer(delayMs, fire);
    },
  };
  const timeouts = { pingMs: 7919, pingTimeoutMs: 20_000, handshakeMs: 7919 };
  const pair = await startedPair({
    clock,
    timeouts: { ...timeouts, sessionRetryMs: 11, sessionRetryMsMax: 60_000 },
  });
  const groupId = randomId();
  pair.b.handler.react = (told) => {
    if (told.kind === 'opened') pair.b.link.closeSession(told.session, 'never');
  };
  pair.a.link.setWilling(groupId, true);
  pair.b.link.setWilling(groupId, true);
  await pair.a.handler.until(() => pair.a.handler.of('closed').length >= 5);
  const sessions = pair.a.handler.of('opened').map((told) => told.session);
  t.same(
    sessions,
    [...sessions].sort((one, two) => one - two),
  );
  const retriesMs = waitsMs.filter((waitMs) => waitMs % 11 === 0);
  t.same(retriesMs.slice(0, 4), [11, 22, 44, 88], 'the wait doubles with each');
  await pair.close();
});

t.test("four hundred groups have a session each and don't get in each other's way", async (t) => {
  const pair = await startedPair();
  const groups = Array.from({ length: 400 }, () => randomId());
  for (const groupId of groups) {
    pair.b.link.setWilling(groupId, true);
    pair.a.link.setWilling(groupId, true);
  }
  await pair.a.handler.until(() => pair.a.handler.of('opened').length === groups.length);
  for (const { session } of pair.a.handler.of('opened')) pair.a.link.send(session, ackOf(session));
  await pair.b.handler.until(() => pair.b.handler.of('message').length === groups.length);
  for (const { session, message } of pair.b.handler.of('message')) {
    if (message.kind !== 'ack' || message.number !== session) t.fail('a message went astray');
  }
  t.equal(new Set(pair.b.handler.of('message').map((told) => told.groupId)).size, groups.length);
  await pair.close();
});

t.test('a dialer that was restarted goes on above the numbers of its last life', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  await pair.a.link.close();
  await pair.b.handler.first('closed');
  const again = makeSite('lux-1', 'lux-2', { peer: pair.a.options.peer });
  again.link.setWilling(groupId, true);
  await again.link.start();
  const opened = await again.handler.first('opened');
  t.equal(pair.b.handler.of('up').length, 2, 'at the first attempt');
  t.ok(opened.session > session, 'an old acknowledgement cannot count for a new session (H15)');
  await Promise.all([again.link.close(), pair.b.link.close()]);
});
