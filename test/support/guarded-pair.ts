/** Two sites and a witness, with a volume that all three decide on, for tests that lose one. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { verifyJournal } from './journaled-writes.ts';
import { TestPair, type TestSite } from './pair.ts';
import { differenceAtRest } from './same-data.ts';
import { scratchDirectory } from './scratch-directory.ts';

/** A running pair whose volume `blocks` the witness votes on, and a place for a journal. */
export async function guardedPair(t: Test): Promise<{ pair: TestPair; journal: string }> {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, witness: true });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  await pair.guarded('blocks');
  return { pair, journal: join(directory, 'journal') };
}

/** Waits until the site is primary without the other one. */
export async function servesAlone(site: TestSite): Promise<void> {
  await site.until('blocks', 'goes on alone', (group) => {
    return group.serves && group.role === 'primary' && group.inSyncSites.length === 1;
  });
}

/** Both sites serve everything that was acknowledged; at rest their data files are the same. */
export async function sameEverywhere(t: Test, pair: TestPair, journal: string): Promise<void> {
  await pair.guarded('blocks');
  for (const site of [pair.a, pair.b]) {
    t.equal(await verifyJournal(site.unixUri('blocks'), journal), '', `all of it at ${site.name}`);
  }
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}
