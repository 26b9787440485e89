import assert, { type AssertionError } from 'node:assert';
import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { InjectOptions } from 'fastify';
import t from 'tap';
import { ApiAccess } from '../../daemon/api/access.ts';
import { createApi } from '../../daemon/api/create-api.ts';
import {
  errorSchema,
  eventsSchema,
  evidenceSchema,
  readinessSchema,
  siteStatusSchema,
  volumeDetailSchema,
  volumeListSchema,
  volumeStatusSchema,
  whySchema,
} from '../../daemon/api/schemas.ts';
import { CasemateError } from '../../daemon/errors.ts';
import { createLogger } from '../../daemon/logger.ts';
import { evidence, groupStatus, noFigures, SampleSite, suspendedGroup } from './api-sample-site.ts';

const host = '127.0.0.1:9617';

/** A server over a site with one volume, and what came to its log. */
function setUp(site = new SampleSite([groupStatus('vm')])) {
  const lines: string[] = [];
  const bugs: AssertionError[] = [];
  const logger = createLogger({
    level: 'info',
    site: 'lux-1',
    destination: { write: (line) => void lines.push(line) },
  });
  const api = createApi({
    control: site,
    metricsText: async () => '# HELP casemate_up x\n',
    figures: noFigures,
    bodyBytesMax: 1024,
    guard: {
      access: new ApiAccess({ tokens: undefined, nowMs: () => 0 }),
      originOf: () => ({ way: 'loopback', address: '127.0.0.1' }),
    },
    logger,
    bug: (error) => void bugs.push(error),
  });
  const request = async (options: InjectOptions) => {
    const headers = { host, ...options.headers };
    const { statusCode, body, headers: sent } = await api.inject({ ...options, headers });
    return { status: statusCode, text: body, type: sent['content-type'], json: parse(body) };
  };
  /** A change, sent as the command line sends it. */
  const change = async (method: 'POST' | 'PATCH' | 'DELETE', url: string, body?: object) =>
    await request({
      method,
      url,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
    });
  return { api, site, request, change, lines, bugs };
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function problemsWith(schema: TSchema, value: unknown): unknown[] {
  return [...Value.Errors(schema, value)].map(({ path, message }) => `${path}: ${message}`);
}

t.test('the process is alive whatever its volumes do', async (t) => {
  const { request } = setUp(new SampleSite([suspendedGroup('vm')]));
  t.match(await request({ url: '/healthz' }), { status: 200, json: { alive: true } });
});

t.test('the site is ready when every group serves', async (t) => {
  const { request, site } = setUp();
  const ready = await request({ url: '/readyz' });
  t.match(ready, { status: 200, json: { ready: true, problems: [] } });
  site.groups = [groupStatus('db'), suspendedGroup('vm')];
  const waiting = await request({ url: '/readyz' });
  t.equal(waiting.status, 503);
  t.same(problemsWith(readinessSchema, waiting.json), []);
  t.match(waiting.json, {
    ready: false,
    problems: [{ code: 'not-serving', group: 'vm', text: /peer lux-2 unreachable/ }],
  });
});

t.test('metrics are sent in the type that Prometheus asks for', async (t) => {
  const { request } = setUp();
  const { status, type, text } = await request({ url: '/metrics' });
  t.equal(status, 200);
  t.equal(type, 'text/plain; version=0.0.4; charset=utf-8');
  t.match(text, '# HELP');
});

const answers: readonly [url: string, schema: TSchema][] = [
  ['/v1/status', siteStatusSchema],
  ['/v1/events', eventsSchema],
  ['/v1/events?limit=1', eventsSchema],
  ['/v1/volumes', volumeListSchema],
  ['/v1/volumes/vm', volumeDetailSchema],
  ['/v1/volumes/vm/promotion', evidenceSchema],
  ['/v1/why', whySchema],
];

for (const [url, schema] of answers) {
  t.test(`the answer of GET ${url} is what the document says`, async (t) => {
    for (const group of [groupStatus('vm'), suspendedGroup('vm')]) {
      const { request } = setUp(new SampleSite([group]));
      const { status, json } = await request({ url });
      t.equal(status, 200);
      t.same(problemsWith(schema, json), []);
    }
  });
}

t.test('the status is passed on whole', async (t) => {
  const { request, site } = setUp();
  const { json } = await request({ url: '/v1/status' });
  t.same(json, JSON.parse(JSON.stringify(await site.status())));
});

t.test('as many events are sent as were asked for', async (t) => {
  const { request } = setUp();
  const { json } = await request({ url: '/v1/events?limit=1' });
  t.match(json, { events: { length: 1 } });
  for (const limit of ['0', '10001', 'x', '1.5']) {
    const wrong = await request({ url: `/v1/events?limit=${limit}` });
    t.match(wrong, { status: 400, json: { code: 'ERR_REQUEST', message: /"limit"/ } }, limit);
  }
  t.match(await request({ url: '/v1/events?limt=1' }), { status: 400 });
});

t.test('a volume is created with what was asked for', async (t) => {
  const { change, site } = setUp();
  const body = { name: 'db', sizeBytes: 4096, onPeerLoss: 'preferred', preferredSite: 'lux-2' };
  const { status, json } = await change('POST', '/v1/volumes', body);
  t.equal(status, 201);
  t.same(problemsWith(volumeStatusSchema, json), []);
  t.same(site.asked, [['create', body]]);
});

const wrongBodies: readonly [body: object, about: RegExp][] = [
  [{ name: 'db' }, /"sizeBytes"/],
  [{ name: 'db', sizeBytes: '4096' }, /"sizeBytes"/],
  [{ name: 'db', sizeBytes: 4097 }, /"sizeBytes"/],
  [{ name: 'db', sizeBytes: 4096, size: 1 }, /"size"/],
  [{ name: 'db', sizeBytes: 4096, onPeerLoss: 'ignore' }, /"onPeerLoss"/],
  [[1], /request body/],
];

for (const [body, about] of wrongBodies) {
  t.test(`a body that does not fit is refused: ${JSON.stringify(body)}`, async (t) => {
    const { change, site } = setUp();
    const { status, json } = await change('POST', '/v1/volumes', body);
    t.match({ status, json }, { status: 400, json: { code: 'ERR_REQUEST', message: about } });
    t.same(problemsWith(errorSchema, json), []);
    t.same(site.asked, []);
  });
}

t.test('volumes are resized, switched over and deleted', async (t) => {
  const { change, site } = setUp();
  const resized = await change('PATCH', '/v1/volumes/vm', { sizeBytes: 8192 });
  t.match(resized, { status: 200, json: { sizeBytes: 8192 } });
  const moved = await change('POST', '/v1/volumes/vm/switchover');
  t.match(moved, { status: 200, json: { volume: { name: 'vm' }, group: { name: 'vm' } } });
  t.match(await change('DELETE', '/v1/volumes/vm'), { status: 204, text: '' });
  t.same(site.asked, [
    ['resize', 'vm', 8192],
    ['switchover', 'vm'],
    ['delete', 'vm'],
  ]);
});

t.test('a promotion is forced only on the evidence that was confirmed', async (t) => {
  const { request, change, site } = setUp();
  const shown = await request({ url: '/v1/volumes/vm/promotion' });
  t.same(shown.json, evidence('vm'));
  t.match(await change('POST', '/v1/volumes/vm/promotion'), { status: 400 });
  const stale = await change('POST', '/v1/volumes/vm/promotion', { confirmation: 'old' });
  t.match(stale, { status: 409, json: { code: 'ERR_EVIDENCE_CHANGED' } });
  const done = await change('POST', '/v1/volumes/vm/promotion', { confirmation: 'c0ffee' });
  t.match(done, { status: 200, json: { volume: { name: 'vm' } } });
  t.same(site.asked.at(-1), ['promote', 'vm', 'c0ffee']);
});

t.test('a volume that is not there is 404 with its name', async (t) => {
  const { request } = setUp();
  const { status, json } = await request({ url: '/v1/volumes/nope' });
  t.match(
    { status, json },
    { status: 404, json: { code: 'ERR_NO_SUCH_VOLUME', message: /"nope"/ } },
  );
});

t.test('a typed error keeps its status, code, message and hint', async (t) => {
  const { change, site } = setUp();
  site.failure = new CasemateError('ERR_PEER_NEEDED', 'both', { hint: 'wait', status: 503 });
  const { status, json } = await change('DELETE', '/v1/volumes/vm');
  t.equal(status, 503);
  t.same(json, { code: 'ERR_PEER_NEEDED', message: 'both', hint: 'wait' });
});

t.test('an unexpected error is logged and tells the client nothing of the inside', async (t) => {
  const { request, site, lines, bugs } = setUp();
  site.failure = new Error('secret detail');
  const { status, json, text } = await request({ url: '/v1/status' });
  t.equal(status, 500);
  t.same(problemsWith(errorSchema, json), []);
  t.notMatch(text, 'secret');
  t.match(lines.join(''), 'secret detail');
  t.same(bugs, []);
});

t.test('a failed assertion is not survived', async (t) => {
  const { request, site, bugs } = setUp();
  site.failure = new assert.AssertionError({ message: 'commit never falls' });
  t.match(await request({ url: '/v1/status' }), { status: 500 });
  t.match(bugs, [{ message: 'commit never falls' }]);
});

t.test('a request that was not addressed to this machine is refused', async (t) => {
  const { request } = setUp();
  for (const name of ['evil.example.org', 'evil.example.org:9617', '10.0.0.1:9617', 'localhost.']) {
    const { status, json } = await request({ url: '/v1/status', headers: { host: name } });
    t.match({ status, json }, { status: 403, json: { code: 'ERR_HOST' } }, name);
  }
  for (const name of ['localhost', 'localhost:9617', '127.0.0.1', '[::1]:9617', '[::1]']) {
    t.match(await request({ url: '/v1/status', headers: { host: name } }), { status: 200 }, name);
  }
});

t.test('a change that a web page could send as a form is refused', async (t) => {
  const { request, site } = setUp();
  const types = ['', 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'];
  for (const type of types) {
    const { status, json } = await request({
      method: 'POST',
      url: '/v1/volumes/vm/switchover',
      headers: type === '' ? {} : { 'content-type': type },
      ...(type === '' ? {} : { payload: 'a=1' }),
    });
    t.match({ status, json }, { status: 415, json: { code: 'ERR_CONTENT_TYPE' } }, type);
  }
  t.same(site.asked, []);
});

t.test('a body beyond the limit, or no JSON, is refused', async (t) => {
  const { request } = setUp();
  const headers = { 'content-type': 'application/json' };
  const send = async (payload: string) =>
    await request({ method: 'POST', url: '/v1/volumes', headers, payload });
  const large = JSON.stringify({ name: 'x'.repeat(2000), sizeBytes: 512 });
  t.match(await send(large), { status: 413, json: { code: 'ERR_BODY_TOO_LARGE' } });
  t.match(await send('{'), { status: 400, json: { code: 'ERR_REQUEST' } });
  t.match(await send('{"__proto__":{}}'), { status: 400 });
});

t.test('an unknown path or method is 404 in the same form', async (t) => {
  const { request, change } = setUp();
  const unknown = await request({ url: '/v2/status' });
  t.match(unknown, { status: 404, json: { code: 'ERR_NO_SUCH_PATH' } });
  t.match(await change('DELETE', '/v1/status'), { status: 404 });
});

t.test('every route is in the OpenAPI document, with summary and answers', async (t) => {
  const { request } = setUp();
  const { status, json } = await request({ url: '/v1/openapi.json' });
  t.equal(status, 200);
  t.match(json, { openapi: /^3\./, info: { title: 'Casemate' } });
  const document = json as {
    paths: Record<string, Record<string, { summary?: string; responses?: object }>>;
  };
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  t.same(routes.sort(), [
    'delete /v1/volumes/{name}',
    'get /healthz',
    'get /metrics',
    'get /readyz',
    'get /v1/events',
    'get /v1/overview',
    'get /v1/status',
    'get /v1/volumes',
    'get /v1/volumes/{name}',
    'get /v1/volumes/{name}/promotion',
    'get /v1/why',
    'patch /v1/volumes/{name}',
    'post /v1/volumes',
    'post /v1/volumes/{name}/promotion',
    'post /v1/volumes/{name}/resolve',
    'post /v1/volumes/{name}/switchover',
  ]);
  for (const operation of Object.values(document.paths).flatMap(Object.values)) {
    t.ok(operation.summary);
    t.ok(operation.responses);
  }
});

t.test('what operators ask for is kept with who it was and what came of it', async (t) => {
  const { request, change, site } = setUp();
  await request({ url: '/v1/status' });
  t.same(site.actions, []);
  const by = { who: 'local', role: 'operate', from: '127.0.0.1' };
  await change('POST', '/v1/volumes', { name: 'db', sizeBytes: 512 });
  await change('PATCH', '/v1/volumes/vm', { sizeBytes: 8192 });
  await change('POST', '/v1/volumes/vm/switchover');
  await change('POST', '/v1/volumes/vm/promotion', { confirmation: 'old' });
  await change('POST', '/v1/volumes/vm/resolve', { drop: 'lux-2' });
  site.failure = new Error('the inside');
  await change('DELETE', '/v1/volumes/%1b%5b2J%0a%c2%9b');
  t.match(
    site.actions.map(({ code, text }) => `${code}: ${text}`),
    [
      'operator-action: create volume db of 512 bytes: done',
      'operator-action: grow volume vm to 8192 bytes: done',
      'operator-action: switch volume vm over: done',
      'operator-failed: promote volume vm by force: not done, ERR_EVIDENCE_CHANGED',
      'operator-action: resolve volume vm, dropping what lux-2 has changed: done',
      'operator-failed: delete volume ?[2J??: not done, ERR_INTERNAL',
    ],
    'in words that no terminal takes for commands',
  );
  for (const action of site.actions) t.same(action.by, by);
});
