/** A client at the standby's socket is served like one at the primary's: no timer is waited for. */
import { join } from 'node:path';
import t from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair } from '../support/pair.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test('writes passed on are answered by the primary, not by the next heartbeat', async (t) => {
  const directory = scratchDirectory(t);
  // With a heartbeat a minute, a hundred writes that wait for one each would never end in time.
  const replication = [
    'heartbeatMs = 60000',
    'ackTimeoutMs = 240000',
    'leaseMs = 240000',
    'graceMs = 300000',
  ];
  const pair = await TestPair.make({ directory, tables: { replication } });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '16MiB');
  const journal = join(directory, 'journal');
  const writer = startJournaledWrites({
    uri: pair.b.unixUri('blocks'),
    journal,
    seed: 5,
    count: 100,
    depth: 1,
  });
  t.equal((await writer.ended).code, 0);
  t.equal(await verifyJournal(pair.b.unixUri('blocks'), journal), '');
});
