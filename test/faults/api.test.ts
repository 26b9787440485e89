/**
 * The API of real daemons, a site and a witness, on a network: by curl and by the command, with
 * tokens and certificates that change while they run.
 */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makePki, pki, tlsFiles, tlsLines } from '../support/certificates.ts';
import { freePorts, TestPair } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { run, runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { TestWitness } from '../support/witness.ts';
import { sampleToken, sampleTokens } from '../unit/api-sample-server.ts';

type Roles = Readonly<Record<string, 'read' | 'operate'>>;

/** The table `api` and its tokens, in the form that the pair's configuration is written from. */
function apiTables(port: number, roles: Roles): Record<string, readonly string[]> {
  const tokens = Object.entries(sampleTokens(roles)).map(([name, { role, sha256 }]) => {
    return [`api.tokens.${name}`, [`role = "${role}"`, `sha256 = "${sha256}"`]] as const;
  });
  return { api: [`listen = "0.0.0.0:${port}"`], ...Object.fromEntries(tokens) };
}

/** A site that has a certificate and tokens, alone; and what asks it. */
async function setUp(t: Test) {
  const directory = scratchDirectory(t);
  const authority = join(directory, 'pki');
  await makePki(authority, 'test', { 'lux-1': 'site', 'lux-w': 'witness' });
  const own = tlsFiles(join(directory, 'own'), 'own');
  const install = (): void => {
    mkdirSync(join(directory, 'own'), { recursive: true });
    copyFileSync(tlsFiles(authority, 'lux-1').certificate, own.certificate);
    copyFileSync(tlsFiles(authority, 'lux-1').key, own.key);
    copyFileSync(join(authority, 'authority.pem'), own.authority);
  };
  install();
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  const port = Number(new URL(pair.a.apiUrl).port);
  const configure = (roles: Roles): void =>
    pair.a.configure({ tls: tlsLines(own), ...apiTables(port, roles) });
  const url = `https://127.0.0.1:${port}`;
  /** By curl: the status and the body. */
  const curl = async (path: string, token: string, ...more: string[]): Promise<string> => {
    const parameters = ['-sS', '-w', ' %{http_code}', '--cacert', own.authority, ...more];
    const header = token === '' ? [] : ['-H', `Authorization: Bearer ${sampleToken(token)}`];
    return await runOk('curl', [...parameters, ...header, `${url}${path}`]);
  };
  return { directory, authority, own, install, site: pair.a, configure, url, curl };
}

t.test(
  'a site on a network serves who has a token, and takes other ones by a reload',
  async (t) => {
    const { directory, authority, own, install, site, configure, url, curl } = await setUp(t);
    configure({ grafana: 'read', ops: 'operate' });
    await site.start();

    t.match(await curl('/healthz', ''), /^\{"alive":true\} 200$/);
    t.match(await curl('/v1/status', ''), /"ERR_TOKEN".* 401$/);
    t.match(await curl('/v1/status', 'stranger'), /"ERR_TOKEN".* 401$/);
    t.match(await curl('/v1/status', 'grafana'), /"site":"lux-1".* 200$/);
    const doDelete = ['-X', 'DELETE', '-H', 'Content-Type: application/json'];
    t.match(await curl('/v1/volumes/vm', 'grafana', ...doDelete), /"ERR_ROLE".* 403$/);
    t.match(await curl('/v1/volumes/vm', 'ops', ...doDelete), /"ERR_NO_SUCH_VOLUME".* 404$/);
    const old = await run('curl', ['-sS', '--tls-max', '1.2', '--cacert', own.authority, url]);
    t.not(old.code, 0, 'TLS 1.2 gets nothing');
    const socket = join(site.dataDirectory, 'api.sock');
    t.equal(statSync(socket).mode & 0o777, 0o660);
    t.match(
      await runOk('curl', ['-sS', '--unix-socket', socket, 'http://casemate/v1/volumes']),
      '[]',
    );
    const metrics = await curl('/metrics', 'grafana');
    t.match(metrics, /casemate_api_refused_total\{reason="wrong-token"\} 1\n/);

    const tokenFile = join(directory, 'grafana.token');
    writeFileSync(tokenFile, `${sampleToken('grafana')}\n`, { mode: 0o600 });
    const remote = ['--api', url, '--ca', own.authority, '--token-file', tokenFile];
    t.match(await site.tryCli('status', ...remote), { code: 0, stdout: /^site +lux-1/ });
    const events = await site.cli('events');
    t.match(
      events,
      /delete volume vm: not done, ERR_NO_SUCH_VOLUME, by token ops \(operate\) from/,
    );
    t.match(events, /DELETE \/v1\/volumes\/vm: refused, .* by token grafana \(read\) from 127/);
    t.match(events, /GET \/v1\/status: refused, that token is not known here, by nobody from 127/);

    configure({ ops: 'operate', alice: 'read' });
    await pki('renew', 'lux-1', '--dir', authority, '--days', '20');
    install();
    await site.signal('SIGHUP');
    await pollUntil('the new token counts', async () =>
      / 200$/.test(await curl('/v1/why', 'alice')),
    );
    t.match(await curl('/v1/why', 'grafana'), / 401$/, 'and the old one no more');
    t.match(await curl('/v1/status', 'alice'), /"code":"certificate-ends"/, 'with the certificate');
    t.notMatch(site.log(), 'needs a restart');

    configure({});
    await site.signal('SIGHUP');
    await pollUntil('a file that opens the API is refused', () =>
      /needs a table \[api\.tokens.*was not reloaded/.test(site.log()),
    );
    configure({ mallory: 'operate' });
    chmodSync(own.key, 0o644);
    await site.signal('SIGHUP');
    await pollUntil('a key that everybody can read is refused', () =>
      site.log().includes('every user of this machine can use the key'),
    );
    t.match(await curl('/v1/why', 'mallory'), / 401$/, 'then no token counts either');
    t.match(await curl('/v1/why', 'alice'), / 200$/, 'and all stays as it was');
    chmodSync(own.key, 0o600);

    await site.stop();
    const kept = readdirSync(site.dataDirectory).filter((name) => name.startsWith('events'));
    const written = kept.map((name) => readFileSync(join(site.dataDirectory, name), 'latin1'));
    const all = [site.log(), ...written].join('');
    for (const name of ['ops', 'grafana', 'stranger', 'alice']) {
      t.notOk(all.includes(sampleToken(name)), `the token of ${name} was written nowhere`);
    }
  },
);

t.test('a witness on a network shows itself to who may read', async (t) => {
  const { directory, authority, own } = await setUp(t);
  const [port = 0, apiPort = 0] = await freePorts(2);
  const witness = new TestWitness({
    ...{ directory, name: 'lux-w', port, apiPort },
    tls: tlsLines(tlsFiles(authority, 'lux-w')),
  });
  const config = readFileSync(witness.configPath, 'utf8');
  const { api = [], ...tokens } = apiTables(apiPort, { grafana: 'read' });
  const lines = Object.entries(tokens).map(([name, each]) => `[${name}]\n${each.join('\n')}\n`);
  writeFileSync(
    witness.configPath,
    `${config.replace(/\[api\]\nlisten = .*\n/, `[api]\n${api.join('\n')}\n`)}\n${lines.join('')}`,
  );
  t.teardown(() => witness.stop());
  await witness.start();
  const url = `https://127.0.0.1:${apiPort}`;
  const curl = async (path: string, ...more: string[]): Promise<string> =>
    await runOk('curl', ['-sS', '--cacert', own.authority, ...more, `${url}${path}`]);
  t.match(await curl('/readyz'), /^\{"ready":true\}$/);
  t.match(await curl('/metrics'), 'ERR_TOKEN');
  const header = ['-H', `Authorization: Bearer ${sampleToken('grafana')}`];
  t.match(await curl('/metrics', ...header), /casemate_witness_api_refused_total\{.*"\} 1\n/);
  t.match(await curl('/v1/status', ...header), '"name":"lux-w"');
  t.match(await curl('/v1/status', ...header, '-X', 'POST'), 'ERR_ROLE');
});
