/**
 * Bits that rot in the log of a site that was killed (R24, R30): what is before the damage is kept,
 * what was lost comes back from the other site, and without one nothing is served or made up.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair, type TestSite } from '../support/pair.ts';
import { firstLogSegment, rotFile } from '../support/rot.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

/** No checkpoint falls into the test: everything that was written is in the log only. */
const tables = { log: ['checkpointMs = 3600000', 'checkpointBytes = "128MiB"'] };

interface Written {
  readonly pair: TestPair;
  readonly journal: string;
}

async function write(pair: TestPair, journal: string, seed: number): Promise<void> {
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed,
    count: 500,
    depth: 16,
  });
  const { code, output } = await writer.ended;
  if (code !== 0) throw new Error(output);
}

async function writtenPair(t: Test, ...options: string[]): Promise<Written> {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, tables });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB', ...options);
  await pair.inSync('blocks');
  const journal = join(directory, 'journal');
  await write(pair, journal, 1);
  return { pair, journal };
}

/** Turns bits over in one frame, about in the middle of what a killed site has logged. */
function rotLog(site: TestSite): void {
  const { path, usedBytes } = firstLogSegment(site);
  const page = Math.floor(usedBytes / 2 / 4096);
  rotFile(path, page * 4096 + 2500);
}

async function sameOnBothSites(t: Test, { pair, journal }: Written): Promise<void> {
  await pair.inSync('blocks');
  await write(pair, journal, 2);
  for (const site of [pair.a, pair.b]) {
    t.equal(await verifyJournal(site.unixUri('blocks'), journal), '');
  }
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

for (const which of ['secondary', 'primary'] as const) {
  t.test(`the log of the ${which} is damaged`, async (t) => {
    const written = await writtenPair(t);
    const { pair } = written;
    const site = which === 'primary' ? pair.a : pair.b;
    await site.signal('SIGKILL');
    rotLog(site);
    await site.start();
    t.match((await site.status()).log.recovery, /damage in 1 place/, 'it says so');
    await sameOnBothSites(t, written);
  });
}

t.test('the log of the only site that is in sync is damaged', async (t) => {
  const { pair } = await writtenPair(t, '--on-peer-loss', 'preferred');
  await pair.b.signal('SIGKILL');
  await pair.a.until('blocks', 'goes on alone', ({ serves, inSync }) => serves && !inSync);
  await pair.a.signal('SIGKILL');
  rotLog(pair.a);
  await pair.a.start();
  const damaged = await pair.a.until('blocks', 'is damaged', ({ wait }) => {
    return wait?.code === 'damaged';
  });
  t.equal(damaged.serves, false);
  t.match(damaged.wait?.text, /found: .*(damaged|missing)/, 'with the evidence');
  t.match((await pair.a.tryCli('why')).stdout, /found: /);
});
