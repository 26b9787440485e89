/** The witness over real sockets with a real database: whom it serves, and what it keeps. */
import { pino } from 'pino';
import t from 'tap';
import { ApiAccess } from '../../daemon/api/access.ts';
import { randomId } from '../../daemon/system-clock.ts';
import { createWitnessApi } from '../../daemon/witness/witness-api.ts';
import { WitnessStore } from '../../daemon/witness/witness-store.ts';
import { type AskingSite, askingSite, ballot, firstValue, startWitness } from './witness-rig.ts';

const address = (server: { readonly address: string | undefined }): string => server.address ?? '';

t.test('a stranger is refused with a sentence that names both values', async (t) => {
  const { server } = await startWitness(t);
  const strangers = [
    { asked: { cluster: 'mars' }, code: 'cluster-id', text: /"mars".*"lux", "nova"/ },
    { asked: { site: 'lux-3' }, code: 'site-name', text: /"lux-1" and "lux-2".*not "lux-3"/ },
    { asked: { cluster: 'nova' }, code: 'site-name', text: /"nova-1" and "nova-2".*"lux-1"/ },
    { asked: { witness: 'lux-x' }, code: 'site-name', text: /peer "lux-x".*is "lux-w"/ },
  ];
  for (const { asked, code, text } of strangers) {
    const { reason } = await askingSite(t, { address: address(server), ...asked }).met;
    t.equal(reason?.code, code);
    t.match(reason?.text, text);
  }
  t.notOk(server.clients().some(({ connected }) => connected));
});

t.test('it promises and accepts for each cluster apart', async (t) => {
  const { server, store } = await startWitness(t);
  const lux = askingSite(t, { address: address(server) });
  const nova = askingSite(t, { address: address(server), cluster: 'nova', site: 'nova-2' });
  const group = randomId();
  const acceptor = await lux.acceptor();
  t.equal(acceptor.storeId, store.storeId);
  t.equal((await acceptor.prepare(group, ballot(1, lux.storeId))).kind, 'blank');
  t.equal(store.groupsOf('lux'), 0, 'a question about an unknown group leaves nothing behind');
  const value = firstValue([lux.storeId, store.storeId]);
  const accepted = await acceptor.accept(group, ballot(1, lux.storeId), value);
  t.same(accepted, { kind: 'accepted', storeId: store.storeId });
  t.match(await acceptor.prepare(group, ballot(2, lux.storeId)), { kind: 'promise', value });
  t.match(await acceptor.prepare(group, ballot(2, lux.storeId)), { kind: 'refused' });
  const other = await (await nova.acceptor()).prepare(group, ballot(1, nova.storeId));
  t.equal(other.kind, 'blank', 'another cluster sees nothing of it');
  t.same([store.groupsOf('lux'), store.groupsOf('nova')], [1, 0]);
});

t.test('what is asked at once is made durable at once', async (t) => {
  const { server, store } = await startWitness(t);
  const site = askingSite(t, { address: address(server) });
  const acceptor = await site.acceptor();
  const before = store.commits;
  const value = firstValue([store.storeId]);
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => acceptor.accept(randomId(), ballot(1, 'a'), value)),
  );
  t.ok(answers.every(({ kind }) => kind === 'accepted'));
  t.equal(store.groupsOf('lux'), 200);
  t.ok(store.commits - before < 100, `${store.commits - before} syncs for 200 groups`);
});

t.test('a group too many is refused, those that are there go on', async (t) => {
  const { server, store } = await startWitness(t, '[limits]\ngroupsMax = 2');
  const acceptor = await askingSite(t, { address: address(server) }).acceptor();
  const value = firstValue([store.storeId]);
  const [first, second, third] = [randomId(), randomId(), randomId()];
  const outcomes = await Promise.allSettled(
    [first, second, third].map((group) => acceptor.accept(group, ballot(1, 'a'), value)),
  );
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  await t.rejects(acceptor.accept(third, ballot(2, 'a'), value), {
    code: 'ERR_WITNESS_FULL',
    message: /has 2 groups at the witness, its limit \(limits\.groupsMax\)/,
  });
  t.match(await acceptor.accept(first, ballot(2, 'a'), value), { kind: 'accepted' });
});

t.test('a site that connects anew takes the place of its older connection', async (t) => {
  const { server, store } = await startWitness(t, '[limits]\nconnectionsMax = 4');
  const value = firstValue([store.storeId]);
  let older: AskingSite | undefined;
  for (let round = 0; round < 10; round++) {
    const site = askingSite(t, { address: address(server) });
    const acceptor = await site.acceptor();
    await older?.link.close();
    older = site;
    t.match(await acceptor.accept(randomId(), ballot(1, 'a'), value), { kind: 'accepted' });
  }
  t.equal(server.clients().filter(({ connected }) => connected).length, 1);
});

t.test('calls that are none, or do not fit, are answered with an error', async (t) => {
  const { server } = await startWitness(t);
  const site = askingSite(t, { address: address(server) });
  await site.acceptor();
  for (const [method, parameters] of [
    ['catalog', {}],
    ['registerPrepare', { groupId: 'x', ballot: ballot(1, 'a') }],
    ['registerPrepare', { groupId: randomId(), ballot: 3 }],
    ['registerAccept', { groupId: randomId(), ballot: ballot(1, 'a'), value: { epoch: 1 } }],
  ] as const) {
    await t.rejects(site.link.call(method, parameters), { code: 'ERR_PEER_CALL' });
  }
  t.ok(site.link.connected, 'and the connection stays');
});

t.test('after a failure of its disk it answers nobody, and says so', async (t) => {
  const { config, server, store } = await startWitness(t);
  const acceptor = await askingSite(t, { address: address(server) }).acceptor();
  const access = new ApiAccess({ tokens: undefined, nowMs: () => 0 });
  const api = createWitnessApi({
    guard: { access, originOf: () => ({ way: 'loopback', address: '127.0.0.1' }) },
    snapshot: () => ({
      name: config.name,
      version: 'test',
      startedAtMs: 0,
      failed: server.failure !== undefined,
      syncs: store.commits,
      clusters: [],
      sites: server.clients(),
    }),
    logger: pino({ level: 'silent' }),
    bug: (error) => {
      throw error;
    },
  });
  // The server takes the connection as open when the first question has come.
  await acceptor.prepare(randomId(), ballot(1, 'a'));
  const get = (url: string) => api.inject({ url, headers: { host: 'localhost' } });
  t.equal((await get('/healthz')).statusCode, 200);
  t.equal((await get('/readyz')).statusCode, 200);
  const metrics = await get('/metrics');
  t.match(metrics.body, /casemate_witness_site_connected\{cluster="lux",site="lux-1"\} 1/);
  t.match(metrics.body, /casemate_witness_failed 0/);
  // As near to a broken disk as a test comes: the file is closed under it.
  store.close();
  const group = randomId();
  for (let attempt = 0; attempt < 2; attempt++) {
    await t.rejects(acceptor.prepare(group, ballot(1, 'a')), { code: 'ERR_DISK_FAILED' });
  }
  const ready = await get('/readyz');
  t.equal(ready.statusCode, 503);
  t.match(ready.json(), { ready: false, problems: [{ code: 'disk-failed' }] });
  t.equal((await get('/healthz')).statusCode, 200);
  const refused = await api.inject({ url: '/metrics', headers: { host: 'evil.example' } });
  t.equal(refused.statusCode, 403);
});

t.test('a store belongs to one witness, and to one process at a time', async (t) => {
  const { config, store } = await startWitness(t);
  const options = {
    directory: config.dataDirectory,
    name: config.name,
    groupsMax: 10,
    newId: randomId,
  };
  t.throws(() => WitnessStore.open(options), { code: 'ERR_STORE_IN_USE' });
  const { storeId } = store;
  store.close();
  t.throws(() => WitnessStore.open({ ...options, name: 'lux-x' }), {
    code: 'ERR_STORE_IDENTITY',
    message: /belongs to name "lux-w", but the configuration says "lux-x"/,
  });
  const again = WitnessStore.open(options);
  t.equal(again.storeId, storeId);
  again.close();
});
