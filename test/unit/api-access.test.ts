/** Who may do what by HTTP, on real sockets: loopback, a network with TLS, a Unix socket. */
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ApiAccess } from '../../daemon/api/access.ts';
import { Tokens } from '../../daemon/api/tokens.ts';
import { TlsCredentials } from '../../daemon/system-tls.ts';
import { makePki, pki, tlsFiles } from '../support/certificates.ts';
import { ask } from '../support/http-ask.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { sampleServer, sampleToken, sampleTokens } from './api-sample-server.ts';
import { groupStatus, SampleSite, suspendedGroup } from './api-sample-site.ts';

const home = join(t.testdir({}), 'pki');
const lux1 = { cluster: 'test', role: 'site', name: 'lux-1' } as const;
const tokens = sampleTokens({ grafana: 'read', ops: 'operate' });
const bearer = (name: string) => ({ authorization: `Bearer ${sampleToken(name)}` });
const asJson = { 'content-type': 'application/json' };

t.before(() => makePki(home, 'test', { 'lux-1': 'site' }));

/** The certificate of the site in a place of its own, where a test may change it. */
function ownFiles(directory: string) {
  const files = tlsFiles(directory, 'own');
  mkdirSync(directory, { recursive: true });
  copyFileSync(join(home, 'authority.pem'), files.authority);
  const install = (): void => {
    copyFileSync(tlsFiles(home, 'lux-1').certificate, files.certificate);
    copyFileSync(tlsFiles(home, 'lux-1').key, files.key);
  };
  install();
  return { files, install };
}

async function setUp(t: Test, options: { tokens?: typeof tokens; site?: SampleSite } = {}) {
  const directory = scratchDirectory(t);
  const own = ownFiles(join(directory, 'tls'));
  const credentials = new TlsCredentials(own.files, [lux1]);
  const site = options.site ?? new SampleSite([groupStatus('vm')]);
  const given = options.tokens === undefined ? {} : { tokens: options.tokens };
  const server = await sampleServer(t, { site, directory, credentials, ...given });
  const ca = readFileSync(join(home, 'authority.pem'), 'utf8');
  return { ...server, ...own, credentials, ca };
}

const change = { method: 'POST', headers: asJson } as const;
/** What is asked, then what comes of it without a token, with a wrong one, to read, to operate. */
const table: readonly [string, 'GET' | 'POST', ...(number | string)[]][] = [
  ['/healthz', 'GET', 200, 'ERR_TOKEN', 200, 200],
  ['/readyz', 'GET', 200, 'ERR_TOKEN', 200, 200],
  ['/', 'GET', 200, 'ERR_TOKEN', 200, 200],
  ['/page/page.js', 'GET', 200, 'ERR_TOKEN', 200, 200],
  ['/metrics', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 200, 200],
  ['/v1/status', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 200, 200],
  ['/v1/overview', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 200, 200],
  ['/v1/events', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 200, 200],
  ['/v1/openapi.json', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 200, 200],
  ['/v1/nothing', 'GET', 'ERR_TOKEN', 'ERR_TOKEN', 'ERR_NO_SUCH_PATH', 'ERR_NO_SUCH_PATH'],
  ['/healthz', 'POST', 'ERR_TOKEN', 'ERR_TOKEN', 'ERR_ROLE', 'ERR_NO_SUCH_PATH'],
  ['/v1/volumes/vm/switchover', 'POST', 'ERR_TOKEN', 'ERR_TOKEN', 'ERR_ROLE', 200],
];
const statusOf: Readonly<Record<string, number>> = {
  ERR_TOKEN: 401,
  ERR_ROLE: 403,
  ERR_NO_SUCH_PATH: 404,
};

t.test('with tokens each request needs one that may, on loopback as on a network', async (t) => {
  const { url, secureUrl, ca, site } = await setUp(t, { tokens });
  const shown = [{}, bearer('stranger'), bearer('grafana'), bearer('ops')];
  for (const base of [url, secureUrl]) {
    for (const [path, method, ...expected] of table) {
      for (const [index, headers] of shown.entries()) {
        const wanted = expected[index] ?? 0;
        const sent = { ...headers, ...(method === 'POST' ? asJson : {}) };
        const answer = await ask({ url: `${base}${path}`, method, headers: sent, ca });
        const what = `${method} ${path} with ${JSON.stringify(Object.keys(headers))} ${index}`;
        if (typeof wanted === 'number') t.equal(answer.status, wanted, what);
        else t.match(answer, { code: wanted, status: statusOf[wanted] ?? 0 }, what);
        const challenge = answer.headers['www-authenticate'];
        t.equal(challenge, answer.status === 401 ? 'Bearer realm="casemate"' : undefined);
      }
    }
  }
  t.same(site.asked, [
    ['switchover', 'vm'],
    ['switchover', 'vm'],
  ]);
});

t.test('a token is taken from its header only, and only whole', async (t) => {
  const { url } = await setUp(t, { tokens });
  const ops = sampleToken('ops');
  const basic = `Basic ${Buffer.from(`ops:${ops}`).toString('base64')}`;
  for (const authorization of [ops, basic, `Bearer ${ops}x`, `Bearer ${ops.slice(0, -1)}`, '']) {
    const { code } = await ask({ url: `${url}/v1/status`, headers: { authorization } });
    t.equal(code, 'ERR_TOKEN', authorization.slice(0, 8));
  }
  t.equal((await ask({ url: `${url}/v1/status?token=${ops}&access_token=${ops}` })).status, 401);
  const cookie = { cookie: `token=${ops}` };
  t.equal((await ask({ url: `${url}/v1/status`, headers: cookie })).status, 401);
  const lower = { authorization: `bearer ${ops}` };
  t.equal((await ask({ url: `${url}/v1/status`, headers: lower })).status, 200);
});

t.test('a hash in the configuration that is of no token lets nobody in', async (t) => {
  const { createHash } = await import('node:crypto');
  const weak = createHash('sha256').update('hunter2').digest('hex');
  const known = new Tokens({ weak: { role: 'operate', sha256: weak }, ...tokens });
  t.equal(known.find('hunter2'), undefined);
  t.equal(known.find(''), undefined);
  t.same(known.find(sampleToken('grafana')), { name: 'grafana', role: 'read' });
});

t.test('without tokens loopback is as open as it was, and a network is shut', async (t) => {
  const { url, secureUrl, ca, site, access } = await setUp(t);
  t.equal((await ask({ ...change, url: `${url}/v1/volumes/vm/switchover` })).status, 200);
  t.match(site.actions, [{ by: { who: 'local', role: 'operate', from: '127.0.0.1' } }]);
  const stray = await ask({ url: `${url}/v1/status`, headers: bearer('of-another-site') });
  t.equal(stray.status, 200, 'a token that is not asked for does no harm');
  // As after a reload whose new address waits for a restart.
  access.take(undefined);
  for (const headers of [{}, bearer('ops')]) {
    t.equal((await ask({ url: `${secureUrl}/v1/status`, headers, ca })).code, 'ERR_TOKEN');
  }
});

t.test('other tokens count at once, also on a connection that is open', async (t) => {
  const { url, access } = await setUp(t, { tokens });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const asked = { url: `${url}/v1/status`, headers: bearer('grafana'), agent };
  t.equal((await ask(asked)).status, 200);
  access.take(sampleTokens({ ops: 'operate' }));
  t.equal((await ask(asked)).code, 'ERR_TOKEN');
  access.take(sampleTokens({ grafana: 'read' }));
  t.equal((await ask(asked)).status, 200);
});

t.test('at the Unix socket file modes decide; events have the user', async (t) => {
  const { socketPath, url, site } = await setUp(t, { tokens });
  t.equal(statSync(socketPath).mode & 0o777, 0o660);
  for (const headers of [asJson, { ...asJson, host: 'anything.example', ...bearer('stranger') }]) {
    const path = `${url}/v1/volumes/vm/switchover`;
    t.equal((await ask({ url: path, method: 'POST', headers, socketPath })).status, 200);
  }
  const { username, uid } = userInfo();
  const by = { who: `${username} (uid ${uid})`, role: 'operate', from: 'unix socket' };
  t.match(site.actions, [{ by }, { by }]);
});

t.test('whether a site is ready everybody may know, why it is not only who may read', async (t) => {
  const { url } = await setUp(t, { tokens, site: new SampleSite([suspendedGroup('vm')]) });
  const anonymous = await ask({ url: `${url}/readyz` });
  t.match(anonymous, { status: 503, text: '{"ready":false}' });
  const known = await ask({ url: `${url}/readyz`, headers: bearer('grafana') });
  t.match(known, { status: 503, text: /peer lux-2 unreachable/ });
});

t.test('a network gets TLS 1.3 with the certificate there is, and any name in Host', async (t) => {
  const { secureUrl, ca, install, files, credentials } = await setUp(t, { tokens });
  const headers = { ...bearer('grafana'), host: 'storage.example.org' };
  const asked = { url: `${secureUrl}/v1/status`, headers, ca, servername: 'localhost' };
  t.equal((await ask(asked)).status, 200);
  await t.rejects(ask({ url: `${secureUrl}/healthz`, ca, maxVersion: 'TLSv1.2' }));
  await t.rejects(ask({ url: secureUrl.replace('https', 'http') }), 'nothing in the clear');
  await t.rejects(ask({ url: secureUrl }), { code: /UNABLE_TO|SELF_SIGNED/ }, 'unknown authority');

  const serial = async (): Promise<string> => {
    const { connect: connectTls } = await import('node:tls');
    const socket = connectTls({ port: Number(new URL(secureUrl).port), host: '127.0.0.1', ca });
    await once(socket, 'secureConnect');
    const found = socket.getPeerX509Certificate()?.serialNumber ?? '';
    socket.destroy();
    return found;
  };
  const before = await serial();
  await pki('renew', 'lux-1', '--dir', home);
  install();
  credentials.reload();
  const renewed = await serial();
  t.not(renewed, before, 'a reload brings the new one');
  copyFileSync(tlsFiles(home, 'authority').certificate, files.certificate);
  t.throws(() => credentials.reload(), { code: 'ERR_CERTIFICATE' });
  t.equal(await serial(), renewed, 'a broken one changes nothing');
  t.equal((await ask(asked)).status, 200);
});

t.test('no log, event or answer has a token, right or wrong, wherever it was put', async (t) => {
  const { url, log, site } = await setUp(t, { tokens });
  const answers: string[] = [];
  for (const name of ['ops', 'grafana', 'stranger']) {
    const token = sampleToken(name);
    for (const path of [
      `/v1/${token}`,
      `/v1/volumes/${token}/switchover`,
      `/v1/status?t=${token}`,
    ]) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        site.failure = new Error('the inside');
        const sent = { ...bearer(name), ...asJson };
        const { text } = await ask({ url: `${url}${path}`, method, headers: sent });
        // What was asked for is told to whoever asked, and to nobody else.
        if (!path.includes(token) || name === 'stranger') answers.push(text);
      }
    }
  }
  t.ok(log.length > 2, 'there are lines');
  t.ok(site.actions.length > 3, 'there are events');
  t.notMatch(log.join('') + JSON.stringify(site.actions) + answers.join(''), /casemate_\w{5}/);
});

t.test('whoever hangs up before the answer is written down all the same', async (t) => {
  const { url, site } = await setUp(t, { tokens });
  let finish = (): void => undefined;
  const under = new Promise<void>((resolve) => {
    site.deleteVolume = async () => {
      resolve();
      await new Promise<void>((done) => {
        finish = done;
      });
    };
  });
  const request = httpRequest(`${url}/v1/volumes/vm`, {
    method: 'DELETE',
    headers: { ...bearer('ops'), ...asJson },
  });
  request.on('error', () => undefined);
  request.end();
  await under;
  const closed = new Promise((resolve) => request.once('close', resolve));
  request.destroy();
  await closed;
  finish();
  await pollUntil('it is written down', () => site.actions.length === 1);
  t.match(site.actions, [{ text: 'delete volume vm: done', by: { who: 'token ops' } }]);
});

t.test('refused attempts are counted, and can not fill the list of events', async (t) => {
  let nowMs = 0;
  const told: string[] = [];
  const access = new ApiAccess({ tokens, nowMs: () => nowMs });
  const judge = (authorization: string | undefined, method = 'GET'): void => {
    const asked = { method, authorization, what: `${method} /v1/x`, open: false };
    const tell = (text: string): void => void told.push(text);
    t.throws(() => access.judge(asked, { way: 'network', address: '10.0.0.9' }, tell));
  };
  for (let attempt = 0; attempt < 1000; attempt++) judge(`Bearer ${sampleToken(`${attempt}`)}`);
  judge(`Bearer ${sampleToken('grafana')}`, 'POST');
  judge(undefined);
  t.equal(told.length, 11);
  t.match(told[10], /"grafana" may look/, 'strangers do not hide what is done with a token');
  t.same(access.refused, { 'no-token': 1, 'wrong-token': 1000, role: 1 });
  nowMs += 1_200_000;
  for (let attempt = 0; attempt < 100; attempt++) judge('Bearer x', 'DELETE');
  t.equal(told.length, 13);
  t.match(told[11], /DELETE .*: refused, .* not known here; 990 more since the last one told$/);
  t.same(access.refused, { 'no-token': 1, 'wrong-token': 1100, role: 1 });
});

t.test('a refused attempt is an event with who it was', async (t) => {
  const { url, site } = await setUp(t, { tokens });
  const path = `${url}/v1/volumes/vm/switchover`;
  await ask({ ...change, url: path, headers: { ...asJson, ...bearer('grafana') } });
  await ask({ ...change, url: path });
  await ask({ url: `${url}/v1/status` });
  t.match(site.actions, [
    {
      level: 'warn',
      code: 'api-refused',
      text: 'POST /v1/volumes/vm/switchover: refused, the token "grafana" may look, and change',
      by: { who: 'token grafana', role: 'read', from: '127.0.0.1' },
    },
    { code: 'api-refused', by: { who: 'nobody', role: 'none', from: '127.0.0.1' } },
  ]);
});

t.test('two requests that a proxy could take for one are not taken at all', async (t) => {
  const { url, site } = await setUp(t, { tokens });
  const inner = `POST /v1/volumes/vm/switchover HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  const both = `content-length: ${inner.length}\r\ntransfer-encoding: chunked`;
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  socket.write(`POST /v1/x HTTP/1.1\r\nhost: localhost\r\n${both}\r\n\r\n0\r\n\r\n${inner}`);
  await once(socket, 'close');
  t.match(answer, /^HTTP\/1\.1 400 /);
  t.same(site.asked, []);
});
