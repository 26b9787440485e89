/** `casemate doctor` at a real pair with a witness: healthy, stopped, misnamed, and parted. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Finding } from '../../daemon/doctor/finding.ts';
import { makePki, tlsFiles, tlsLines } from '../support/certificates.ts';
import { TestPair, type TestSite } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

interface Said {
  readonly code: number;
  readonly running: string | undefined;
  readonly findings: readonly Finding[];
}

async function doctor(site: Pick<TestSite, 'tryCli'>): Promise<Said> {
  const { code, stdout, stderr } = await site.tryCli('doctor', '--json');
  if (stdout === '') throw new Error(`the doctor said nothing: ${stderr}`);
  return { code, ...(JSON.parse(stdout) as Omit<Said, 'code'>) };
}

/** What is wrong, but for the clock: that of a machine that tests run on need not be kept. */
function wrong(said: Said): string[] {
  return said.findings
    .filter(({ check, severity }) => severity !== 'ok' && check !== 'clock')
    .map(({ check, severity, text }) => `${severity} ${check}: ${text}`);
}

for (const secure of [false, true]) {
  t.test(`a pair ${secure ? 'with' : 'without'} certificates`, async (t) => {
    const directory = scratchDirectory(t);
    const pkiDirectory = join(directory, 'pki');
    const members = { 'lux-1': 'site', 'lux-2': 'site', 'lux-w': 'witness' } as const;
    if (secure) await makePki(pkiDirectory, 'test', members);
    const tls = (name: string): string[] => tlsLines(tlsFiles(pkiDirectory, name));
    const pair = await TestPair.make({ directory, witness: true, ...(secure ? { tls } : {}) });
    t.teardown(() => pair.stop());
    await pair.start();
    await pair.a.cli('volume', 'create', 'blocks', '--size', '8MiB');
    await pair.guarded('blocks');
    const both = [pair.a, pair.b];

    for (const site of both) {
      const before = readdirSync(site.dataDirectory);
      const events = await site.cli('events', '--json');
      const said = await doctor(site);
      t.equal(said.running, 'running');
      const limits = said.findings.find(({ check }) => check === 'limits');
      t.match(limits?.text, /^the running daemon may open/);
      t.same(wrong(said), [], `${site.name} is well`);
      t.ok(said.code === 0 || said.code === 5);
      t.same(readdirSync(site.dataDirectory), before, 'nothing is left behind');
      t.equal(await site.cli('events', '--json'), events, 'the daemon has noticed nothing');
    }

    await pair.a.stop();
    const stopped = await doctor(pair.a);
    t.equal(stopped.running, 'stopped');
    t.same(wrong(stopped), [], 'the peer and the witness greet a site that is stopped');
    const greeted = stopped.findings.filter(({ check }) => check === 'reach');
    t.match(greeted, [{ text: /lux-2 at .* answers in/ }, { text: /lux-w at .* answers in/ }]);

    await pollUntil('lux-2 has lost lux-1', async () => {
      return (await pair.b.tryStatus())?.peer.connected === false;
    });
    t.match(wrong(await doctor(pair.b)), [/^error reach: peer lux-1 .* is not connected for/]);

    await pair.witness.stop();
    await pair.b.stop();
    const alone = wrong(await doctor(pair.a));
    t.match(alone, [/peer lux-2 .*ECONNREFUSED/, /witness lux-w .*ECONNREFUSED/]);
  });
}

t.test('names that differ are told with both values', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, witness: true });
  t.teardown(() => pair.stop());
  await Promise.all([pair.witness.start(), pair.b.start()]);
  pair.a.configure({
    peer: ['site = "lux-3"'],
    witness: ['name = "lux-x"', `address = "127.0.0.1:${pair.witness.port}"`],
  });
  const found = wrong(await doctor(pair.a));
  t.equal(found.length, 2);
  t.match(found[0], /^error reach: peer lux-3 .*"lux-3".*"lux-2"/);
  t.match(found[1], /^error reach: witness lux-x .*"lux-x".*"lux-w"/);
});

t.test('certificates that the other end does not take, or on one end only', async (t) => {
  const directory = scratchDirectory(t);
  const [home, foreign] = [join(directory, 'home'), join(directory, 'foreign')];
  const members = { 'lux-1': 'site', 'lux-2': 'site', 'lux-w': 'witness' } as const;
  await makePki(home, 'test', members);
  await makePki(foreign, 'test', members);
  const tls = (name: string): string[] => tlsLines(tlsFiles(home, name));
  const pair = await TestPair.make({ directory, witness: true, tls });
  t.teardown(() => pair.stop());
  await Promise.all([pair.witness.start(), pair.b.start()]);
  const tables = pair.witness.siteTables();

  const own = tlsFiles(home, 'lux-1');
  const strange = tlsFiles(foreign, 'lux-1');
  const reach = async (tls: readonly string[] | undefined): Promise<string[]> => {
    pair.a.configure({ ...tables, ...(tls === undefined ? {} : { tls }) });
    const { findings } = await doctor(pair.a);
    return findings
      .filter(({ check, severity }) => check === 'reach' && severity !== 'ok')
      .map(({ text, advice }) => `${text}. ${advice}`);
  };
  t.same(await reach(tlsLines(own)), []);
  const unknown = await reach(tlsLines(strange));
  t.equal(unknown.length, 2);
  for (const text of unknown) t.match(text, /certificate that is not accepted: .*pki show/);
  const refused = await reach(tlsLines({ ...strange, authority: own.authority }));
  t.equal(refused.length, 2);
  for (const text of refused) t.match(text, /certificates? of both ends/);
  const plain = await reach(undefined);
  t.equal(plain.length, 2);
  for (const text of plain) t.match(text, /with \[tls\] on both ends or on none/);

  await pair.b.stop();
  pair.b.configure(tables);
  await pair.b.start();
  t.match(await reach(tlsLines(own)), [/peer lux-2 .* does not answer with TLS/]);
});
