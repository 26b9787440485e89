/** `casemate doctor` against things that are broken for real, one at a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { Finding } from '../../daemon/doctor/finding.ts';
import { issueExpired, makePki, pki, tlsFiles, tlsLines } from '../support/certificates.ts';
import { freePorts } from '../support/pair.ts';
import { run } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const commandPath = fileURLToPath(new URL('../../daemon/cli/casemate.cjs', import.meta.url));

interface Setting {
  readonly directory: string;
  readonly configPath: string;
  readonly dataDirectory: string;
  readonly ports: { readonly api: number; readonly peer: number; readonly own: number };
}

/** The configuration of a site `lux-1`, which connects to its peer, or of `lux-2`. */
async function setting(
  t: Test,
  options: {
    readonly site?: 'lux-1' | 'lux-2';
    readonly tables?: readonly string[];
    readonly dataDirectory?: string;
  } = {},
): Promise<Setting> {
  const { site = 'lux-1', tables = [] } = options;
  const directory = scratchDirectory(t);
  const { dataDirectory = join(directory, 'data') } = options;
  const [api = 0, peer = 0, own = 0] = await freePorts(3);
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  const configPath = join(directory, 'site.toml');
  const lines = [
    'cluster = "test"',
    `site = "${site}"`,
    `dataDirectory = "${dataDirectory}"`,
    `[peer]\nsite = "${site === 'lux-1' ? 'lux-2' : 'lux-1'}"\naddress = "127.0.0.1:${peer}"`,
    `[replication]\nlisten = "127.0.0.1:${own}"`,
    `[api]\nlisten = "127.0.0.1:${api}"`,
    `[log]\nsizeBytes = "256MiB"\nsegmentBytes = "16MiB"\ncheckpointBytes = "64MiB"`,
    `[nbd]\nunix = "${join(directory, 'nbd.sock')}"`,
    ...tables,
  ];
  writeFileSync(configPath, lines.join('\n'), { mode: 0o600 });
  return { directory, configPath, dataDirectory, ports: { api, peer, own } };
}

interface Said {
  readonly code: number;
  readonly running: string | undefined;
  readonly findings: readonly Finding[];
}

async function doctor(configPath: string, before = ''): Promise<Said> {
  const command = `${before} exec "$0" "$@"`;
  const parameters = [commandPath, 'doctor', '--config', configPath, '--json'];
  const result = await run('sh', ['-c', command, process.execPath, ...parameters]);
  if (result.stdout === '') throw new Error(`the doctor said nothing: ${result.stderr}`);
  return { code: result.code, ...(JSON.parse(result.stdout) as Omit<Said, 'code'>) };
}

/** Of one check, what is wrong: "error: what. Advice". */
function wrong(said: Said, check: Finding['check']): string[] {
  return said.findings
    .filter((each) => each.check === check && each.severity !== 'ok')
    .map(({ severity, text, advice = '' }) => `${severity}: ${text}. ${advice}`);
}

t.test('a site that can be started has only its peer missing', async (t) => {
  const { configPath, dataDirectory, ports } = await setting(t);
  const said = await doctor(configPath);
  t.equal(said.code, 6);
  t.equal(said.running, 'stopped');
  const errors = said.findings.filter(({ severity }) => severity === 'error');
  t.match(errors, [{ check: 'reach', text: `127.0.0.1:${ports.peer}` }]);
  t.match(errors[0]?.text, /ECONNREFUSED/);
  t.same(readdirSync(dataDirectory), [], 'its probe file is gone');
  const [sync] = said.findings.filter(({ check }) => check === 'disk');
  t.match(sync?.text, /fdatasync takes .* in \d+ writes of 4 KiB/);
});

t.test('the table names every check and what to do', async (t) => {
  const { configPath } = await setting(t);
  const { code, stdout } = await run(process.execPath, [
    commandPath,
    'doctor',
    '--config',
    configPath,
  ]);
  t.equal(code, 6);
  t.match(stdout, /^site lux-1: the daemon is not running\n\n/);
  t.match(stdout, /^ERROR {4}reach {9}peer lux-2 .*\n +-> Is it running\?/m);
  for (const check of ['config', 'files', 'ports', 'clock', 'disk', 'versions', 'limits']) {
    t.match(stdout, new RegExp(`^(?:ok|WARNING|ERROR) +${check} `, 'm'));
  }
  t.match(stdout, /\n\n1 error, \d warnings?\n$/);
});

t.test('a configuration that can not be used is all that is told', async (t) => {
  const { configPath } = await setting(t, { tables: ['[extra]\nkey = 1'] });
  const said = await doctor(configPath);
  t.equal(said.code, 6);
  t.match(wrong(said, 'config'), [/^error: extra is not a key/]);
  t.equal(said.findings.length, 1);
  t.match((await doctor('/nowhere/site.toml')).findings, [{ text: /can't be read/ }]);
  const bare = await run(process.execPath, [commandPath, 'doctor']);
  t.match(bare, { code: 2, stderr: /--config FILE is missing/ });
});

t.test('a port that another program has', async (t) => {
  const { configPath, ports } = await setting(t, { site: 'lux-2' });
  const server = createServer().listen(ports.own, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const found = wrong(await doctor(configPath), 'ports');
  t.equal(found.length, 1);
  t.match(found[0], `replication.listen (127.0.0.1:${ports.own}) is taken by `);
  t.match(found[0], `(process ${process.pid})`);
});

t.test('an address that this machine does not have', async (t) => {
  const tables = ['listen = "192.0.2.1:10809"'];
  const { configPath } = await setting(t, { tables });
  t.match(wrong(await doctor(configPath), 'ports'), [/nbd\.listen .*does not have that address/]);
});

t.test('a data directory that its owner can not write to', async (t) => {
  const { configPath, dataDirectory } = await setting(t);
  chmodSync(dataDirectory, 0o500);
  t.match(wrong(await doctor(configPath), 'directories'), [
    /^error: nothing can be written .*0500/,
  ]);
});

t.test('a file in the place of the NBD socket', async (t) => {
  const { configPath, directory } = await setting(t);
  writeFileSync(join(directory, 'nbd.sock'), '');
  t.match(wrong(await doctor(configPath), 'directories'), [/^error: .*nbd\.sock is in the way/]);
});

t.test('a configuration that others can change', async (t) => {
  const { configPath } = await setting(t);
  chmodSync(configPath, 0o666);
  t.match(wrong(await doctor(configPath), 'files'), [/^error: every user can change .*chmod go-w/]);
});

t.test('a data directory in memory', async (t) => {
  const dataDirectory = mkdtempSync('/dev/shm/casemate-');
  t.teardown(() => rmSync(dataDirectory, { recursive: true }));
  const { configPath } = await setting(t, { dataDirectory });
  const found = wrong(await doctor(configPath), 'disk');
  t.match(found, [/^error: the data directory is in memory \(tmpfs\)/]);
  t.same(readdirSync(dataDirectory), []);
});

t.test('a clock that is far from that of etcd', async (t) => {
  const aheadMs = 300_000;
  const server = createHttpServer((_, response) => {
    response.setHeader('date', new Date(Date.now() + aheadMs).toUTCString()).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const tables = [`[register]\ntype = "etcd"\nendpoints = ["http://127.0.0.1:${port}"]`];
  const { configPath } = await setting(t, { tables });
  const found = wrong(await doctor(configPath), 'clock').filter((text) => text.startsWith('error'));
  t.match(found, [/^error: this clock is (?:299|300|301)\.\d s behind that of http:/]);
});

t.test('the probe file is removed when the doctor is told to end', async (t) => {
  const { configPath, dataDirectory } = await setting(t);
  const parameters = [commandPath, 'doctor', '--config', configPath];
  const child = spawn(process.execPath, parameters, { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const watcher = watch(dataDirectory, () => child.kill('SIGTERM'));
  t.teardown(() => watcher.close());
  const [, signal] = await ended;
  t.equal(signal, 'SIGTERM', 'it was told while the file was there');
  t.same(readdirSync(dataDirectory), []);
});

t.test('too few open files', async (t) => {
  const { configPath } = await setting(t);
  const found = wrong(await doctor(configPath, 'ulimit -n 500;'), 'limits');
  t.match(found, [/^error: .* may open 500 files.*LimitNOFILE/]);
});

t.test('something else listens where the peer should', async (t) => {
  const { configPath, ports } = await setting(t);
  const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n'));
  server.listen(ports.peer, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  t.match(wrong(await doctor(configPath), 'reach'), [/^error: .*not those of a Casemate site/]);
});

t.test('certificates', async (t) => {
  const home = t.testdir({});
  const foreign = t.testdir({});
  const [homePki, foreignPki] = [join(home, 'pki'), join(foreign, 'other')];
  await makePki(homePki, 'test', { 'lux-1': 'site', 'lux-2': 'site' });
  await makePki(foreignPki, 'test', { 'lux-1': 'site' });
  await issueExpired(homePki, 'late', { cluster: 'test', role: 'site', name: 'lux-1' });
  const short = ['--cluster', 'test', '--site', 'lux-1', '--days', '10'];
  const soonPki = join(home, 'soon');
  await pki('init', '--dir', soonPki);
  await pki('issue', '--dir', soonPki, ...short);
  const own = tlsFiles(homePki, 'lux-1');
  const loose = join(home, 'loose.key');
  copyFileSync(own.key, loose);
  chmodSync(loose, 0o644);

  const cases = [
    ['all is well', own, []],
    ['expired', tlsFiles(homePki, 'late'), [/^error: .*late\.pem ended on .*pki renew/]],
    ['soon', tlsFiles(soonPki, 'lux-1'), [/^warning: .*ends in 9 days/]],
    ['another site', tlsFiles(homePki, 'lux-2'), [/^error: .*is for casemate:.*lux-2, not for/]],
    [
      'another key',
      { ...own, key: tlsFiles(homePki, 'lux-2').key },
      [/^error: .*is not the key of the certificate/],
    ],
    [
      'another authority',
      { ...own, authority: tlsFiles(foreignPki, 'lux-1').authority },
      [/^error: .*was not issued by the authority/],
    ],
    ['no file', { ...own, certificate: join(home, 'none.pem') }, [/^error: .*can't be read/]],
  ] as const;
  for (const [what, files, expected] of cases) {
    await t.test(what, async (t) => {
      const { configPath } = await setting(t, { tables: [`[tls]\n${tlsLines(files).join('\n')}`] });
      const found = wrong(await doctor(configPath), 'certificates');
      t.equal(found.length, expected.length, found.join('\n'));
      t.match(found, expected);
    });
  }
  await t.test('none of its names is that of a host, and the API is on a network', async (t) => {
    const token = `[api.tokens.grafana]\nrole = "read"\nsha256 = "${'ab'.repeat(32)}"`;
    const files = tlsLines(tlsFiles(soonPki, 'lux-1')).join('\n');
    const { configPath } = await setting(t, { tables: [`[tls]\n${files}`, token] });
    const listen = readFileSync(configPath, 'utf8').replace(
      /\[api\]\nlisten = "127\.0\.0\.1/,
      '[api]\nlisten = "0.0.0.0',
    );
    writeFileSync(configPath, listen);
    t.match(wrong(await doctor(configPath), 'certificates'), [/names no host/, /ends in 9 days/]);
  });
  await t.test('a key that every user can read', async (t) => {
    const tables = [`[tls]\n${tlsLines({ ...own, key: loose }).join('\n')}`];
    const { configPath } = await setting(t, { tables });
    t.match(wrong(await doctor(configPath), 'files'), [/^error: every user can use .*chmod 0600/]);
  });
});
