/**
 * The etcd cluster as the register sees it, with answers that the test makes up: which endpoint is
 * asked, what counts as an answer, logging in, and records that are not as they should be.
 */
import t from 'tap';
import { EtcdClient } from '../../replication/register/etcd-client.ts';
import { decodeRecord, encodeRecord, recordKey } from '../../replication/register/etcd-record.ts';
import { EtcdRegister } from '../../replication/register/etcd-register.ts';
import type { HttpAnswer, HttpPort, HttpRequest } from '../../replication/register/http-port.ts';
import { firstConfig, nextConfig, stays } from './register-cluster.ts';

const key = recordKey('/casemate', 'lux', 'a'.repeat(32));
const first = firstConfig(['A0', 'B0']);

/** What a cluster of one key answers, as the tests set it. */
class ScriptedHttp implements HttpPort {
  readonly asked: string[] = [];
  readonly headers: HttpRequest['headers'][] = [];
  /** Answers in place of the usual ones, for requests whose URL contains the text. */
  readonly instead = new Map<string, () => HttpAnswer | Error>();
  value: Buffer | undefined;
  revision = 5;
  clusterId = '77';

  async post({ url, headers, body }: HttpRequest): Promise<HttpAnswer> {
    this.asked.push(url);
    this.headers.push(headers);
    for (const [part, answer] of this.instead) {
      if (!url.includes(part)) continue;
      const given = answer();
      if (given instanceof Error) throw given;
      return given;
    }
    return { status: 200, body: JSON.stringify(this.#answer(url, body)) };
  }

  close(): void {
    this.asked.push('closed');
  }

  get header() {
    return { cluster_id: this.clusterId, revision: String(this.revision) };
  }

  #answer(url: string, body: string): object {
    if (url.endsWith('/authenticate')) return { header: this.header, token: 'token-1' };
    const range = this.value && {
      kvs: [{ mod_revision: '5', value: this.value.toString('base64') }],
    };
    if (url.endsWith('/range')) return { header: this.header, ...range };
    const put: unknown = JSON.parse(body).success[0].requestPut.value;
    this.value = Buffer.from(String(put), 'base64');
    return { header: this.header, succeeded: true };
  }
}

function client(http: HttpPort, more: Partial<ConstructorParameters<typeof EtcdClient>[0]> = {}) {
  const endpoints = ['http://one:1', 'http://two:2/', 'http://three:3'];
  return new EtcdClient({ endpoints, http, timeoutMs: 100, ...more });
}

function register(keys: EtcdClient): EtcdRegister {
  const delay = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return new EtcdRegister({ key, keys, random: () => 0, delay });
}

const refused = () => new Error('connection refused');

t.test('the endpoint that answered last is asked first, the next when it does not', async (t) => {
  const http = new ScriptedHttp();
  const news: (string | undefined)[] = [];
  const keys = client(http, { changed: (problem) => news.push(problem) });
  t.equal(keys.answers, undefined, 'not known before it was asked');
  await keys.range(key);
  http.instead.set('one', refused);
  await keys.range(key);
  await keys.range(key);
  t.same(http.asked, [
    'http://one:1/v3/kv/range',
    'http://one:1/v3/kv/range',
    'http://two:2/v3/kv/range',
    'http://two:2/v3/kv/range',
  ]);
  t.same(keys.endpoints(), [
    { url: 'http://one:1', answers: false, problem: 'connection refused' },
    { url: 'http://two:2', answers: true, problem: undefined },
    { url: 'http://three:3', answers: undefined, problem: undefined },
  ]);
  t.same(news, [], 'the cluster has answered all the time');
});

t.test('an outage and its end are told once each', async (t) => {
  const http = new ScriptedHttp();
  const news: (string | undefined)[] = [];
  const keys = client(http, { changed: (problem) => news.push(problem) });
  http.instead.set('http', refused);
  for (let count = 0; count < 3; count += 1) {
    await t.rejects(keys.range(key), {
      code: 'ERR_REGISTER_UNAVAILABLE',
      message: /http:\/\/one:1: connection refused; .*three/,
    });
  }
  t.equal(keys.answers, false);
  http.instead.clear();
  await keys.range(key);
  t.match(news, [/^http:\/\/one:1: connection refused;/, undefined]);
  t.equal(news.length, 2);
  keys.close();
  t.equal(http.asked.at(-1), 'closed');
});

const noAnswers: readonly [name: string, answer: HttpAnswer, problem: RegExp][] = [
  [
    'an error of etcd',
    { status: 503, body: '{"error":"x","message":"etcdserver: no leader","code":14}Grpc-Trailer' },
    /no leader/,
  ],
  ['an error of something else', { status: 502, body: '<html>' }, /HTTP status 502$/],
  ['an error in words', { status: 400, body: 'No such path\n' }, /HTTP status 400: No such path$/],
  ['no JSON', { status: 200, body: 'hello' }, /not as the API of etcd 3 has it/],
  ['no header', { status: 200, body: '{"kvs":[]}' }, /not as the API of etcd 3 has it/],
  [
    'another API',
    { status: 200, body: '{"header":{"cluster_id":"77","revision":"5"},"kvs":[{}]}' },
    /not as the API of etcd 3 has it/,
  ],
];
for (const [name, answer, problem] of noAnswers) {
  t.test(`no answer: ${name}; the next endpoint is asked`, async (t) => {
    const http = new ScriptedHttp();
    http.instead.set('one', () => answer);
    const keys = client(http);
    t.equal(await keys.range(key), undefined);
    t.match(keys.endpoints()[0]?.problem, problem);
  });
}

t.test('an endpoint of another cluster is not heard: two registers are none', async (t) => {
  const http = new ScriptedHttp();
  const keys = client(http);
  await keys.range(key);
  http.clusterId = '78';
  await t.rejects(keys.range(key), { message: /belongs to etcd cluster 78, and 77 answered/ });
  http.clusterId = '77';
  await keys.range(key);
});

t.test('a cluster that has forgotten what it had is not heard', async (t) => {
  const http = new ScriptedHttp();
  const keys = client(http);
  await keys.range(key);
  http.revision = 4;
  await t.rejects(keys.range(key), { message: /ends at revision 4, and 5 was there before/ });
  http.revision = 6;
  await keys.range(key);
});

t.test('a user logs in once, and again when the token has run out', async (t) => {
  const http = new ScriptedHttp();
  const keys = client(http, { login: { name: 'casemate', password: 'secret' } });
  await Promise.all([keys.range(key), keys.range(key)]);
  const path = (url: string): string => url.slice(url.lastIndexOf('/'));
  t.same(http.asked.map(path), ['/authenticate', '/range', '/range']);
  t.match(http.headers.slice(1), [{ authorization: 'token-1' }, { authorization: 'token-1' }]);
  let over = true;
  http.instead.set('/range', () => {
    if (!over) return { status: 200, body: JSON.stringify({ header: http.header }) };
    over = false;
    return { status: 401, body: '{"message":"etcdserver: invalid auth token","code":16}' };
  });
  http.asked.length = 0;
  await keys.range(key);
  t.same(http.asked.map(path), ['/range', '/authenticate', '/range']);
});

t.test('a wrong password is said, without it', async (t) => {
  const http = new ScriptedHttp();
  const body = '{"message":"etcdserver: authentication failed, invalid user ID or password"}';
  http.instead.set('/authenticate', () => ({ status: 400, body }));
  const keys = client(http, { login: { name: 'casemate', password: 'hunter2' } });
  const error: unknown = await keys.range(key).catch((caught: unknown) => caught);
  t.match(error, { message: /user "casemate" can't log in: .*invalid user ID or password/ });
  t.notMatch(String(error), /hunter2/);
});

t.test('a record says what it is, and comes back as it went in', async (t) => {
  t.equal(key, `/casemate/lux/groups/${'a'.repeat(32)}`);
  t.match(JSON.parse(encodeRecord(first).toString()), { format: 1, config: { epoch: 1 } });
  t.same(decodeRecord(encodeRecord(first)), first);
});

const strangeValues = [
  '',
  'x',
  '[]',
  '{"format":2,"config":{}}',
  '{"format":1,"config":{"epoch":1}}',
];
for (const text of strangeValues) {
  t.test(`a record that is none is left alone: ${text}`, async (t) => {
    const http = new ScriptedHttp();
    http.value = Buffer.from(text);
    const subject = register(client(http));
    await t.rejects(subject.read(), { code: 'ERR_REGISTER_RECORD' });
    const swap = subject.swap(first, nextConfig(first));
    t.equal(await stays(swap), 'open', 'no outcome is concluded from it');
    t.notOk(http.asked.some((url) => url.endsWith('/txn')));
    http.value = encodeRecord(first);
    t.same(await swap, { outcome: 'won' });
  });
}

t.test('a register that lost its value decides nothing (R11)', async (t) => {
  const second = nextConfig(first);
  for (const left of [undefined, first]) {
    const http = new ScriptedHttp();
    http.value = left && encodeRecord(left);
    const swap = register(client(http)).swap(second, nextConfig(second));
    t.equal(await stays(swap), 'open');
    t.notOk(http.asked.some((url) => url.endsWith('/txn')));
    http.value = encodeRecord(second);
    t.same(await swap, { outcome: 'won' });
  }
});

t.test('force takes the place of what this site had heard of, and of nothing newer', async (t) => {
  const forced = { sequence: 7, digest: 'd' };
  const next = nextConfig(nextConfig(first), { forced, acceptors: ['X'] });
  for (const left of [undefined, first]) {
    const http = new ScriptedHttp();
    http.value = left && encodeRecord(left);
    const subject = register(client(http));
    await subject.force(next);
    t.same(await subject.read(), next);
    await subject.force(next);
  }
  const http = new ScriptedHttp();
  const newer = nextConfig(nextConfig(first), { primary: 'B0', inSync: ['B0'] });
  http.value = encodeRecord(newer);
  const subject = register(client(http));
  await t.rejects(subject.force(next), { code: 'ERR_REGISTER_NEWER' });
  t.same(await subject.read(), newer);
  http.instead.set('http', refused);
  await t.rejects(subject.force(next), { code: 'ERR_REGISTER_UNAVAILABLE' }, 'nothing was sent');
});

t.test(
  'a swap that was sent is heard of, whatever becomes of a force meanwhile (R11)',
  async (t) => {
    const forced = nextConfig(first, { forced: { sequence: 7, digest: 'd' } });
    for (const swapFirst of [true, false]) {
      const http = new ScriptedHttp();
      http.value = encodeRecord(first);
      http.instead.set('/txn', () => new Error('no answer in time'));
      const subject = register(client(http));
      const next = nextConfig(first);
      const swap = subject.swap(first, next);
      t.equal(await stays(swap), 'open');
      const force = subject.force(forced);
      const outcomes = Promise.allSettled([swap, force]);
      t.equal(await stays(force), 'open');
      http.value = encodeRecord(swapFirst ? next : forced);
      t.match(
        await outcomes,
        swapFirst
          ? [{ value: { outcome: 'won' } }, { reason: { code: 'ERR_REGISTER_NEWER' } }]
          : [{ value: { outcome: 'lost', current: forced } }, { status: 'fulfilled' }],
      );
    }
  },
);
