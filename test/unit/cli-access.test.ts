/** The command at an API that asks for a token, over each way in; and where tokens come from. */
import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { isToken, tokenHash } from '../../daemon/api/tokens.ts';
import { type ApiWay, exchange } from '../../daemon/cli/api-exchange.ts';
import { runCommandLine } from '../../daemon/cli/command-line.ts';
import { parseConfig } from '../../daemon/config/parse.ts';
import { TlsCredentials } from '../../daemon/system-tls.ts';
import { makePki, tlsFiles, tlsLines } from '../support/certificates.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { sampleServer, sampleToken, sampleTokens } from './api-sample-server.ts';
import { groupStatus, SampleSite } from './api-sample-site.ts';

const home = join(t.testdir({}), 'pki');
t.before(() => makePki(home, 'lux', { 'lux-1': 'site', 'lux-2': 'site' }));

type Environment = Readonly<Record<string, string>>;

async function casemate(args: readonly string[], environment: Environment = {}) {
  let [out, err] = ['', ''];
  const code = await runCommandLine(args, {
    write: (text) => {
      out += text;
    },
    writeError: (text) => {
      err += text;
    },
    interactive: false,
    environment,
    ask: () => Promise.reject(new Error('nobody is here')),
  });
  return { code, out, err };
}

/** The API of lux-1 on all three ways, with tokens. */
async function setUp(t: Test) {
  const directory = scratchDirectory(t);
  const credentials = new TlsCredentials(tlsFiles(home, 'lux-1'), []);
  const tokens = sampleTokens({ grafana: 'read', ops: 'operate' });
  const site = new SampleSite([groupStatus('vm')]);
  const server = await sampleServer(t, { site, directory, tokens, credentials });
  /** A file with a token, as `token create --out` leaves it. */
  const tokenFile = (name: string, mode = 0o600): string => {
    const path = join(directory, `${name}.token`);
    writeFileSync(path, `${sampleToken(name)}\n`);
    chmodSync(path, mode);
    return path;
  };
  /** The configuration of a site that listens at this address. */
  const config = (listen: string, name = 'lux-1'): string => {
    const path = join(directory, 'site.toml');
    const text = [
      `cluster = "lux"\nsite = "${name}"\ndataDirectory = "${directory}"`,
      '[peer]\nsite = "lux-9"\naddress = "lux-9:9618"\n[replication]\nlisten = "127.0.0.1:9618"',
      `[tls]\n${tlsLines(tlsFiles(home, 'lux-1')).join('\n')}\n[api]\nlisten = "${listen}"`,
      `[api.tokens.x]\nrole = "read"\nsha256 = "${'0'.repeat(64)}"`,
    ];
    writeFileSync(path, text.join('\n'));
    return path;
  };
  return { ...server, directory, tokenFile, config };
}

const authority = join(home, 'authority.pem');

t.test(
  'over https the authority is named, and a token is given by file or environment',
  async (t) => {
    const { secureUrl, tokenFile, site } = await setUp(t);
    const at = ['--api', secureUrl];
    t.match(await casemate(['status', ...at]), {
      code: 1,
      err: /can't be trusted: .*ERR_API_CERTIFICATE\)\nhint: Name the authority .* --ca FILE/,
    });
    const trusted = [...at, '--ca', authority];
    t.match(await casemate(['status', ...trusted]), {
      code: 1,
      err: /this needs a token \(ERR_TOKEN\)\nhint: .*--token-file FILE or CASEMATE_TOKEN/,
    });
    const file = tokenFile('grafana');
    t.match(await casemate(['status', ...trusted, '--token-file', file]), { code: 0, err: '' });
    for (const more of [
      { CASEMATE_TOKEN: sampleToken('grafana') },
      { CASEMATE_TOKEN_FILE: file },
    ]) {
      const environment = { CASEMATE_API: secureUrl, CASEMATE_CA_FILE: authority, ...more };
      t.match(await casemate(['status'], environment), { code: 0, err: '' });
      const refused = await casemate(['switchover', 'vm'], environment);
      t.match(refused, { code: 1, err: /"grafana" may look, and change nothing \(ERR_ROLE\)/ });
    }
    t.same(site.asked, []);
    const ops = ['--token-file', tokenFile('ops')];
    t.match(await casemate(['switchover', 'vm', ...trusted, ...ops]), { code: 0 });
    t.same(site.asked, [['switchover', 'vm']]);
  },
);

t.test('a configuration finds the socket first, then the address, and who is there', async (t) => {
  const { secureUrl, url, config, socketPath, tokenFile } = await setUp(t);
  const secure = config(secureUrl.replace('https://127.0.0.1', '0.0.0.0'));
  t.match(await casemate(['status', '--config', secure]), { code: 0, err: '' }, 'without a token');
  renameSync(socketPath, `${socketPath}.away`);
  t.match(await casemate(['status', '--config', secure]), { code: 1, err: /ERR_TOKEN/ });
  const token = ['--token-file', tokenFile('grafana')];
  t.match(await casemate(['status', '--config', secure, ...token]), { code: 0, err: '' });
  const other = config(secureUrl.replace('https://127.0.0.1', '0.0.0.0'), 'lux-2');
  t.match(await casemate(['status', '--config', other, ...token]), {
    code: 1,
    err: /its certificate is not that of casemate:\/\/lux\/site\/lux-2 \(ERR_API_CERTIFICATE\)/,
  });
  const plain = config(url.slice('http://'.length));
  t.match(await casemate(['status', '--config', plain, ...token]), { code: 0, err: '' });
  const nobody = await casemate(['status', '--config', config('127.0.0.1:1')]);
  t.equal(nobody.code, 3);
  t.match(nobody.err, /no daemon answers at .*api\.sock: .*ENOENT.*; nor at http:.*ECONNREFUSED/);
});

t.test('a token that others could read is not used, and none is ever shown', async (t) => {
  const { directory, url, tokenFile } = await setUp(t);
  const loose = await casemate(['status', '--token-file', tokenFile('ops', 0o644)]);
  t.match(loose, { code: 1, err: /every user .* can read the token .*ERR_TOKEN_FILE.*\n.*chmod/ });
  const two = join(directory, 'two.token');
  writeFileSync(two, `${sampleToken('ops')}\n${sampleToken('grafana')}\n`, { mode: 0o600 });
  const many = await casemate(['status', '--token-file', two]);
  t.match(many, { code: 1, err: /there is no token in .*, or more than one/ });
  const far = ['status', '--api', 'http://192.0.2.1:9617', '--token-file', tokenFile('ops')];
  const clear = await casemate(far);
  t.match(clear, { code: 2, err: /not sent to http:\/\/192\.0\.2\.1:9617: everybody on the way/ });
  const short = { CASEMATE_TOKEN: sampleToken('ops').slice(0, -1) };
  const wrong = await casemate(['status', '--api', url], short);
  t.match(wrong, { code: 2, err: /what is in CASEMATE_TOKEN is no token/ });
  const missing = await casemate(['status', '--token-file', join(directory, 'none')]);
  t.match(missing, { code: 1, err: /--token-file names can't be read.*ERR_CONFIG_FILE/ });
  const said = [loose, many, clear, wrong, missing].map(({ out, err }) => out + err).join('');
  t.notMatch(said, /casemate_\w{4}/);
});

t.test('a token is made with lines that the configuration takes', async (t) => {
  const directory = scratchDirectory(t);
  const made = await casemate(['token', 'create', 'alice.b', '--role', 'operate']);
  t.match(made, { code: 0, err: '' });
  const [token = ''] = made.out.match(/casemate_\S+/) ?? [];
  t.ok(isToken(token));
  const base =
    'cluster = "lux"\nsite = "lux-1"\ndataDirectory = "/d"\n[peer]\nsite = "lux-2"\n' +
    'address = "b:1"\n[replication]\nlisten = "127.0.0.1:9618"\n';
  const { api } = parseConfig(base + made.out.slice(made.out.indexOf('[api')));
  t.same(api.tokens, { 'alice.b': { role: 'operate', sha256: tokenHash(token) } });
  t.notMatch(made.out.slice(made.out.indexOf('[api')), token);

  const path = join(directory, 'prometheus.token');
  const create = ['token', 'create', 'prometheus', '--role', 'read', '--out', path];
  const written = await casemate(create);
  t.match(written, { code: 0, out: /role = "read"\nsha256 = "[0-9a-f]{64}"\n$/ });
  const inFile = readFileSync(path, 'utf8').trim();
  t.ok(isToken(inFile));
  t.notMatch(written.out, inFile);
  t.match(written.out, tokenHash(inFile));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.match(await casemate(create), { code: 1, err: /EEXIST.*ERR_TOKEN_FILE/ });
  t.equal(readFileSync(path, 'utf8').trim(), inFile, 'it is not written over');
  t.match(await casemate(['token', 'create', 'x']), { code: 2, err: /--role is missing/ });
  t.match(await casemate(['token', 'create', 'a b', '--role', 'read']), {
    code: 2,
    err: /no name/,
  });
});

t.test('events are shown with who asked', async (t) => {
  const { url, site } = await setUp(t);
  const by = { who: 'token ops', role: 'operate', from: '10.0.0.9' } as const;
  const text = 'delete volume vm: done';
  const event = { number: 3, atMs: 0, level: 'info', code: 'operator-action', text } as const;
  site.events = () => [{ ...event, group: undefined, by }];
  const shown = await casemate(['events', '--api', url], { CASEMATE_TOKEN: sampleToken('ops') });
  t.match(shown.out, /delete volume vm: done, by token ops \(operate\) from 10\.0\.0\.9\n$/);
});

t.test('a daemon that hangs is not waited for without end', async (t) => {
  // The system takes the connection; nobody ever reads it.
  const hung = createServer({ pauseOnConnect: true });
  const path = join(scratchDirectory(t), 'api.sock');
  await new Promise<void>((resolve) => hung.listen(path, resolve));
  t.teardown(() => hung.close());
  const connections: Socket[] = [];
  hung.on('connection', (socket) => connections.push(socket));
  const way: ApiWay = { place: path, target: { kind: 'unix', path } };
  const look = { method: 'GET', path: '/v1/status', body: undefined } as const;
  const limits = { look: 20, change: 300_000 };
  await t.rejects(exchange(way, look, limits), { message: /gave no answer within .* it hangs/ });
  for (const socket of connections) socket.destroy();
});
