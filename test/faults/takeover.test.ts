/**
 * With a witness the primary is lost without anybody's help: the other site takes over, and a
 * client at its socket sees a pause, no error. Every write that was acknowledged is read back.
 */
import t from 'tap';
import { guardedPair, sameEverywhere, servesAlone } from '../support/guarded-pair.ts';
import { startJournaledWrites } from '../support/journaled-writes.ts';
import type { TestSite } from '../support/pair.ts';
import { runOk } from '../support/run-command.ts';

t.test(
  'the primary is killed, again and again; clients of the other site see a pause',
  async (t) => {
    const { pair, journal } = await guardedPair(t);
    const writer = startJournaledWrites({
      uri: pair.b.unixUri('blocks'),
      journal,
      seed: 21,
      count: 12_000,
      depth: 16,
    });
    for (let round = 1; round <= 3; round++) {
      await writer.acknowledged(round * 3000 - 1500);
      await pair.a.signal('SIGKILL');
      await servesAlone(pair.b);
      await writer.acknowledged(round * 3000);
      await pair.a.start();
      await pair.guarded('blocks');
      // The client's site becomes the standby again.
      await pair.b.cli('switchover', 'blocks');
      await pair.inSync('blocks');
    }
    t.same(await writer.ended.then(({ code }) => code), 0, 'the client saw no error');
    await sameEverywhere(t, pair, journal);
  },
);

t.test(
  'a primary that was stopped past its lease serves nothing old when it goes on',
  async (t) => {
    const { pair } = await guardedPair(t);
    const write = (site: TestSite, byte: number): Promise<unknown> =>
      runOk('qemu-io', ['-f', 'raw', '-c', `write -P ${byte} 0 64k`, site.unixUri('blocks')]);
    await write(pair.a, 1);
    await pair.a.signal('SIGSTOP');
    await servesAlone(pair.b);
    await write(pair.b, 2);
    // It is asked before it can have learnt anything: the read waits in its socket.
    const reading = runOk('qemu-io', [
      '-f',
      'raw',
      '-c',
      'read -P 2 0 64k',
      pair.a.unixUri('blocks'),
    ]);
    await pair.a.signal('SIGCONT');
    t.notMatch(await reading, /verification failed/i, 'what the new primary has');
    await pair.guarded('blocks');
    t.equal((await pair.a.group('blocks')).role, 'secondary');
  },
);
