/**
 * Bits that rot in the log of a site that was killed (R24, R30): what was lost is put back in place
 * from the other site's log, or comes back by catching up from the last good record, and what
 * nobody has is neither served nor made up.
 */
import { rmSync } from 'node:fs';
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

/**
 * Turns bits over in one frame, at this part of what a killed site has logged: where a page begins
 * there is a header or data, never padding.
 */
function rotLog(site: TestSite, part: number): void {
  const { path, usedBytes } = firstLogSegment(site);
  const page = Math.floor((usedBytes * part) / 4096);
  rotFile(path, page * 4096 + 8);
}

async function sameOnBothSites(t: Test, { pair, journal }: Written): Promise<void> {
  await pair.inSync('blocks');
  await write(pair, journal, 3);
  for (const site of [pair.a, pair.b]) {
    t.equal(await verifyJournal(site.unixUri('blocks'), journal), '');
  }
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

async function filledAgain(t: Test, site: TestSite): Promise<void> {
  const { recovery } = (await site.status()).log;
  t.notMatch(recovery, /damage/, 'nothing of the log is missing');
  t.match(await site.cli('events'), /1 of 1 damaged places of the log were filled again/);
}

t.test('a frame in the log of the primary is put back in place', async (t) => {
  const written = await writtenPair(t);
  const { a } = written.pair;
  await a.signal('SIGKILL');
  rotLog(a, 0.5);
  await a.start();
  await filledAgain(t, a);
  await sameOnBothSites(t, written);
});

t.test(
  'the last frame of the primary, which looks torn, is taken from the other site',
  async (t) => {
    const written = await writtenPair(t);
    const { a } = written.pair;
    await a.signal('SIGKILL');
    const { path, usedBytes } = firstLogSegment(a);
    rotFile(path, usedBytes - 4096 + 8);
    await a.start();
    await written.pair.inSync('blocks');
    t.match(await a.cli('events'), /were not in this log: the peer had them/);
    await sameOnBothSites(t, written);
  },
);

t.test('logs that are damaged at both sites mend each other', async (t) => {
  const written = await writtenPair(t);
  const { pair } = written;
  await Promise.all([pair.a.signal('SIGKILL'), pair.b.signal('SIGKILL')]);
  rotLog(pair.a, 0.4);
  rotLog(pair.b, 0.6);
  await pair.start();
  for (const site of [pair.a, pair.b]) await filledAgain(t, site);
  await sameOnBothSites(t, written);
});

t.test('what can not be put back in place comes back by catching up', async (t) => {
  const written = await writtenPair(t);
  const { pair } = written;
  await Promise.all([pair.a.signal('SIGKILL'), pair.b.signal('SIGKILL')]);
  // The start of a life follows the last frame now, so that no digest tells what was lost.
  await pair.b.start();
  await pair.b.signal('SIGKILL');
  const { path, usedBytes } = firstLogSegment(pair.b);
  rotFile(path, usedBytes - 2 * 4096 + 8);
  await pair.start();
  t.match((await pair.b.status()).log.recovery, /damage in 1 place.*damaged groups/, 'it says so');
  await sameOnBothSites(t, written);
});

/** The site that is preferred has gone on alone, and is damaged, before or after the other left. */
async function damagedAlone(t: Test, part: number): Promise<Written> {
  const written = await writtenPair(t, '--on-peer-loss', 'preferred');
  const { pair, journal } = written;
  await pair.b.signal('SIGKILL');
  await pair.a.until('blocks', 'goes on alone', ({ serves, inSync }) => serves && !inSync);
  await write(pair, journal, 2);
  await pair.a.signal('SIGKILL');
  rotLog(pair.a, part);
  await pair.start();
  return written;
}

t.test('a rotten part of the log of the only site in sync: the other gets a resync', async (t) => {
  const written = await writtenPair(t, '--on-peer-loss', 'preferred');
  const { pair, journal } = written;
  await pair.b.signal('SIGKILL');
  await pair.a.until('blocks', 'goes on alone', ({ serves, inSync }) => serves && !inSync);
  await write(pair, journal, 2);
  rotLog(pair.a, 0.75);
  await pair.b.start();
  await pair.inSync('blocks');
  t.match(await pair.b.cli('events'), /resync/);
  await sameOnBothSites(t, written);
});

t.test('the only site that is in sync gets back what the other one has', async (t) => {
  const written = await damagedAlone(t, 0.25);
  await filledAgain(t, written.pair.a);
  await sameOnBothSites(t, written);
});

t.test('the only site that is in sync serves nothing of what nobody has', async (t) => {
  const { pair } = await damagedAlone(t, 0.75);
  const damaged = await pair.a.until('blocks', 'is damaged', ({ wait }) => {
    return wait?.code === 'damaged';
  });
  t.equal(damaged.serves, false);
  t.match(damaged.wait?.text, /found: .*(damaged|missing)/, 'with the evidence');
  t.match((await pair.a.tryCli('why')).stdout, /found: /);
  t.equal((await pair.b.group('blocks')).serves, false, 'nor does the other one make it up');
});

t.test('a site whose log is gone serves nothing unless it is forced', async (t) => {
  const written = await writtenPair(t, '--on-peer-loss', 'preferred');
  const { pair } = written;
  await pair.settled('blocks');
  await pair.b.signal('SIGTERM');
  await pair.a.until('blocks', 'goes on alone', ({ serves, inSync }) => serves && !inSync);
  await pair.a.signal('SIGTERM');
  rmSync(join(pair.a.dataDirectory, 'log'), { recursive: true });
  await pair.a.start();
  const lost = await pair.a.until('blocks', 'says so, or serves', ({ serves, wait }) => {
    return serves || wait?.code === 'damaged';
  });
  t.notOk(lost.serves);
  t.match(lost.wait?.text, /found: the log was gone/);
  t.match(await pair.a.cli('events'), /there is no log, and a blank one is made/);
  await pair.a.signal('SIGTERM');
  await pair.a.start();
  const again = await pair.a.until('blocks', 'still says so, or serves', ({ serves, wait }) => {
    return serves || wait?.code === 'damaged';
  });
  t.notOk(again.serves, 'not with the new log either');
  await pair.a.cli('promote', 'blocks', '--force', '--yes');
  await pair.a.until('blocks', 'serves', ({ serves }) => serves);
  await pair.b.start();
  await sameOnBothSites(t, written);
});

t.test('the log of one site in sync is gone: it gets all of it from the other', async (t) => {
  const written = await writtenPair(t);
  const { pair } = written;
  await pair.settled('blocks');
  await pair.a.signal('SIGKILL');
  rmSync(join(pair.a.dataDirectory, 'log'), { recursive: true });
  await pair.a.start();
  await pair.inSync('blocks');
  t.match(await pair.a.cli('events'), /resync-done/);
  await sameOnBothSites(t, written);
});
