/**
 * With etcd as the register either site is lost without anybody's help, while a member of etcd may
 * be lost as well. Real daemons and a real etcd cluster of three, killed under load; every write
 * that was acknowledged is read back afterwards, and at rest both data files are the same.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EtcdCluster } from '../support/etcd.ts';
import { certificate, enableUsers } from '../support/etcd-security.ts';
import { startJournaledWrites, verifyJournal } from '../support/journaled-writes.ts';
import { TestPair, type TestSite } from '../support/pair.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

interface EtcdPair {
  readonly pair: TestPair;
  readonly etcd: EtcdCluster;
  readonly journal: string;
}

/** Two sites that ask three members, with a volume. */
async function etcdPair(t: Test): Promise<EtcdPair> {
  const directory = scratchDirectory(t);
  const etcd = await EtcdCluster.start(t, { directory, count: 3 });
  const register = ['type = "etcd"', `endpoints = ${JSON.stringify(etcd.endpoints)}`];
  const pair = await TestPair.make({ directory, tables: { register } });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  await pair.inSync('blocks');
  return { pair, etcd, journal: join(directory, 'journal') };
}

async function servesAlone(site: TestSite): Promise<void> {
  await site.until('blocks', 'goes on alone', (group) => {
    return group.serves && group.role === 'primary' && group.inSyncSites.length === 1;
  });
}

async function sameEverywhere(t: Test, pair: TestPair, journal: string): Promise<void> {
  await pair.inSync('blocks');
  for (const site of [pair.a, pair.b]) {
    t.equal(await verifyJournal(site.unixUri('blocks'), journal), '', `all of it at ${site.name}`);
  }
  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined, 'both data files are the same');
}

t.test('the primary is killed, and a member with it: the other site takes over', async (t) => {
  const { pair, etcd, journal } = await etcdPair(t);
  t.same((await pair.a.group('blocks')).voters, ['etcd']);
  const writer = startJournaledWrites({
    uri: pair.b.unixUri('blocks'),
    journal,
    seed: 41,
    count: 6000,
    depth: 16,
  });
  for (const [round, member] of etcd.names.slice(0, 2).entries()) {
    await writer.acknowledged(round * 3000 + 1000);
    await Promise.all([etcd.kill(member), pair.a.signal('SIGKILL')]);
    await servesAlone(pair.b);
    await writer.acknowledged(round * 3000 + 3000);
    etcd.startMember(member);
    await pair.a.start();
    await etcd.answers();
    await pair.inSync('blocks');
    if (round > 0) break;
    // The client's site becomes the standby again.
    await pair.b.cli('switchover', 'blocks');
    await pair.inSync('blocks');
  }
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await sameEverywhere(t, pair, journal);
});

t.test('without a quorum of etcd clients are served, but nobody takes over', async (t) => {
  const { pair, etcd, journal } = await etcdPair(t);
  const [first = '', second = ''] = etcd.names;
  const writer = startJournaledWrites({
    uri: pair.a.unixUri('blocks'),
    journal,
    seed: 42,
    count: 6000,
    depth: 16,
  });
  await writer.acknowledged(1000);
  await Promise.all([etcd.kill(first), etcd.kill(second)]);
  await pair.b.until('blocks', 'knows that etcd is lost', () =>
    pair.b.log().includes('register-lost'),
  );
  await writer.acknowledged(3000);
  const { register, problems } = await pair.b.status();
  t.equal(register.reachable, false);
  t.ok(problems.some(({ code }) => code === 'register-unreachable'));
  t.match(await pair.b.cli('status'), /register +etcd DOES NOT ANSWER: http/);
  await pair.b.signal('SIGKILL');
  const says = /etcd does not answer/;
  await pair.a.until('blocks', 'waits for etcd', ({ wait }) => says.test(wait?.text ?? ''));
  etcd.startMember(first);
  await servesAlone(pair.a);
  t.equal((await writer.ended).code, 0, 'the client saw no error');
  await pair.b.start();
  await sameEverywhere(t, pair, journal);
});

t.test('a site is forced through etcd, never around it', async (t) => {
  const { pair, etcd } = await etcdPair(t);
  const before = await pair.b.group('blocks');
  await Promise.all(etcd.names.map((name) => etcd.kill(name)));
  await pair.a.signal('SIGKILL');
  const says = /etcd does not answer/;
  await pair.b.until('blocks', 'waits for etcd', ({ wait }) => says.test(wait?.text ?? ''));
  const refused = await pair.b.tryCli('promote', 'blocks', '--force', '--yes');
  t.match(refused.stderr, says);
  t.not(refused.code, 0);
  for (const name of etcd.names) etcd.startMember(name);
  await servesAlone(pair.b);
  t.equal((await pair.b.group('blocks')).epoch, before.epoch + 1, 'a takeover like any other');
});

t.test('a site that is to ask elsewhere than its volumes are decided does not start', async (t) => {
  const { pair } = await etcdPair(t);
  await pair.b.stop();
  const { configPath } = pair.b;
  const text = readFileSync(configPath, 'utf8');
  writeFileSync(configPath, text.replace(/\[register\]\n(?:.+\n)*/, ''));
  await t.rejects(pair.b.start(), /ERR_REGISTER_TYPE|register\.type = "etcd"/);
});

t.test('sites reach etcd by https, with certificates and a user', async (t) => {
  const directory = scratchDirectory(t);
  const path = (file: string): string => join(directory, file);
  for (const name of ['ca', 'member', 'site']) await certificate(directory, name);
  const tls = { ca: path('ca.pem'), cert: path('member.pem'), key: path('member.key') };
  const etcd = await EtcdCluster.start(t, { directory, tls });
  await enableUsers(etcd, { name: 'casemate', password: 'secret' });
  const register = [
    'type = "etcd"',
    `endpoints = ${JSON.stringify(etcd.endpoints)}`,
    `caFile = "${path('ca.pem')}"`,
    `certFile = "${path('site.pem')}"`,
    `keyFile = "${path('site.key')}"`,
    'username = "casemate"',
    `passwordFile = "${path('password')}"`,
  ];
  const pair = await TestPair.make({ directory, tables: { register } });
  t.teardown(() => pair.stop());
  await t.rejects(pair.a.start(), /file that register\.passwordFile names can't be read/);
  writeFileSync(path('password'), 'guess\n');
  await pair.start();
  const refused = await pair.a.tryCli('volume', 'create', 'blocks', '--size', '64MiB');
  t.match(refused.stderr, /user "casemate" can't log in.*ERR_REGISTER_UNAVAILABLE/s);
  await pair.stop();
  writeFileSync(path('password'), 'secret\n');
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '64MiB');
  await pair.inSync('blocks');
  await pair.a.signal('SIGKILL');
  await servesAlone(pair.b);
  t.equal((await pair.b.status()).register.reachable, true);
});
