/** Reads that trust no clock (R20, H13), beside those that trust the lease (R19). */
import t from 'tap';
import { CorePair } from './core-pair.ts';

t.test('a site whose clock had stopped answers no stale read', async (t) => {
  const pair = CorePair.settled();
  const { a, b } = pair;
  const stoppedMs = pair.nowMs;
  a.paused = true;
  t.ok(pair.until(() => b.core.mayRead(pair.nowMs) && pair.value.primary === 'B0'));
  const written = pair.write(b);
  t.ok(pair.until(() => pair.answered.includes(written)));
  // It goes on as if no time had passed: by its clock the lease still holds.
  t.ok(a.core.mayRead(stoppedMs), 'the lease is fooled');
  a.core.step({ kind: 'confirmReads' }, stoppedMs);
  t.notOk(a.core.mayAnswer(stoppedMs, stoppedMs - 1), 'the word of the peer is not there');
});

t.test('an answer confirms what came before it was asked for, and nothing else', async (t) => {
  const pair = CorePair.settled();
  const { a } = pair;
  const mayAnswer = (receivedAtMs: number) => a.core.mayAnswer(pair.nowMs, receivedAtMs);
  const heartbeats = () =>
    pair.sent.filter(({ from, packet }) => {
      return from === 'A' && 'message' in packet && packet.message.kind === 'heartbeat';
    }).length;
  const receivedAtMs = pair.nowMs - 1;
  t.notOk(mayAnswer(receivedAtMs));
  const before = heartbeats();
  a.step({ kind: 'confirmReads' });
  a.step({ kind: 'confirmReads' });
  t.equal(heartbeats(), before + 1, 'one question at a time');
  t.notOk(mayAnswer(receivedAtMs), 'it has to be answered');
  const askedAtMs = pair.nowMs;
  t.ok(pair.until(() => mayAnswer(receivedAtMs)));
  t.notOk(mayAnswer(askedAtMs), 'a read that came with the question or later waits');
  pair.cutSession(a);
  t.notOk(mayAnswer(receivedAtMs), 'it is worth nothing after the session');
});
