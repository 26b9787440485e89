/**
 * A witness is killed while it is asked by two sites at once: whatever it has answered it still
 * knows afterwards (R4). A vote that was forgotten would let two configurations win one epoch.
 */
import t from 'tap';
import { randomId } from '../../daemon/system-clock.ts';
import type { AcceptorClient } from '../../replication/register/acceptor.ts';
import { freePorts } from '../support/pair.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { TestWitness } from '../support/witness.ts';
import { type AskingSite, askingSite, ballot, firstValue } from '../unit/witness-rig.ts';

const groupsOfSite = 20;
const rounds = 5;

/** What one site asks about, and the highest round that it was told was accepted, by group. */
interface Asker {
  readonly site: string;
  readonly groups: readonly string[];
  readonly answered: Map<string, number>;
  /** How often it was told so. */
  accepted: number;
}

/** Gives the groups new values, over and over, until the witness is gone. */
async function ask(asker: Asker, site: AskingSite): Promise<void> {
  const { groups, answered } = asker;
  const acceptor = await site.acceptor();
  const value = firstValue([site.storeId, acceptor.storeId]);
  const one = async (group: string): Promise<void> => {
    let round = answered.get(group) ?? 0;
    for (;;) {
      round += 1;
      const next = ballot(round, site.storeId);
      const answer = await acceptor.accept(group, next, { ...value, epoch: round });
      if (answer.kind === 'accepted') {
        answered.set(group, round);
        asker.accepted += 1;
      } else if (answer.kind === 'refused') round = answer.promised.round;
    }
  };
  await Promise.allSettled(groups.map(one));
}

async function checkAll(t: Test, acceptor: AcceptorClient, { answered }: Asker): Promise<void> {
  let forgotten = 0;
  for (const [group, round] of answered) {
    const below = await acceptor.prepare(group, ballot(round, ' '));
    const above = await acceptor.prepare(group, ballot(round + 1000, ' '));
    if (below.kind !== 'refused') forgotten += 1;
    else if (above.kind !== 'promise' || above.value.epoch < round) forgotten += 1;
  }
  t.equal(forgotten, 0, `${answered.size} answers are remembered`);
}

function unreachable(): never {
  throw new Error('each asker has its site');
}

type Test = { equal(found: unknown, wanted: unknown, message: string): unknown };

t.test('what a witness has answered survives SIGKILL', async (t) => {
  const [port = 0, apiPort = 0] = await freePorts(2);
  const witness = new TestWitness({ directory: scratchDirectory(t), name: 'lux-w', port, apiPort });
  t.teardown(() => witness.stop());
  const address = `127.0.0.1:${port}`;
  const stores = new Set<string>();
  const askers = ['lux-1', 'lux-2'].map((site): Asker => {
    const groups = Array.from({ length: groupsOfSite }, () => randomId());
    return { site, groups, answered: new Map(), accepted: 0 };
  });
  for (let round = 0; round < rounds; round++) {
    await witness.start();
    const sites = askers.map(({ site }) => askingSite(t, { address, cluster: 'test', site }));
    const asking = askers.map((asker, index) => ask(asker, sites[index] ?? unreachable()));
    const wanted = askers.map(({ accepted }) => accepted + 100);
    while (askers.some(({ accepted }, index) => accepted < (wanted[index] ?? 0))) {
      await new Promise((done) => setImmediate(done));
    }
    await witness.signal('SIGKILL');
    await Promise.all(asking);
    await Promise.all(sites.map(({ link }) => link.close()));
    await witness.start();
    const checker = askingSite(t, { address, cluster: 'test', site: 'lux-1' });
    const acceptor = await checker.acceptor();
    stores.add(acceptor.storeId);
    for (const asker of askers) await checkAll(t, acceptor, asker);
    await checker.link.close();
    t.equal(await witness.signal('SIGTERM'), 0, 'and it stops in order when it is told to');
  }
  t.equal(stores.size, 1, 'it is the same witness all the time');
});
