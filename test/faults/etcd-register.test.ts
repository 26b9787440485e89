/**
 * The register in a real etcd cluster: members killed while clients swap, TLS with certificates on
 * both sides, users with passwords, and a cluster that lost its data.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type HttpIdentity, SystemHttp } from '../../daemon/system-http.ts';
import { EtcdClient } from '../../replication/register/etcd-client.ts';
import { etcdAcceptor, recordKey } from '../../replication/register/etcd-record.ts';
import { EtcdRegister } from '../../replication/register/etcd-register.ts';
import { EtcdCluster } from '../support/etcd.ts';
import { certificate, enableUsers } from '../support/etcd-security.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { firstConfig, nextConfig } from '../unit/register-cluster.ts';
import { RegisterHistory } from '../unit/register-history.ts';

const key = recordKey('/casemate', 'test', 'group');
const first = firstConfig([etcdAcceptor]);

type ClientOptions = Partial<ConstructorParameters<typeof EtcdClient>[0]> & {
  readonly identity?: HttpIdentity;
};

function open(
  t: { teardown(callback: () => void): void },
  endpoints: readonly string[],
  more: ClientOptions = {},
) {
  const { identity, ...options } = more;
  const http = new SystemHttp(identity);
  const keys = new EtcdClient({ endpoints, http, timeoutMs: 1000, ...options });
  t.teardown(() => keys.close());
  const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const register = new EtcdRegister({ key, keys, delay, random: () => Math.random() });
  return { register, keys };
}

t.test('each of three members is killed while clients swap: one order for all', async (t) => {
  const etcd = await EtcdCluster.start(t, { directory: scratchDirectory(t), count: 3 });
  const history = new RegisterHistory();
  const begun = history.propose(first);
  const { register } = open(t, etcd.endpoints);
  t.same(await register.swap(undefined, first), { outcome: 'won' });
  history.saw('founder', 'won', begun, first);
  let stop = false;
  const rival = async (name: string, endpoints: readonly string[]): Promise<void> => {
    const client = open(t, endpoints).register;
    let known = first;
    while (!stop) {
      const reading = history.begin();
      const current = await client.read().catch(() => undefined);
      if (current !== undefined) history.saw(name, 'read', reading, current);
      known = current ?? known;
      const next = nextConfig(known, { primary: name, inSync: [name] });
      const swapping = history.propose(next);
      const result = await client.swap(known, next);
      known = result.outcome === 'won' ? next : result.current;
      history.saw(name, result.outcome, swapping, known);
    }
  };
  // Each prefers another member, so that each of them is lost to somebody.
  const rivals = etcd.endpoints.map((_, index) => {
    const endpoints = [...etcd.endpoints.slice(index), ...etcd.endpoints.slice(0, index)];
    return rival(`client${index + 1}`, endpoints);
  });
  for (const member of etcd.names) {
    const before = history.wins;
    await pollUntil('they swap', () => history.wins > before + 20);
    await etcd.kill(member);
    const without = history.wins;
    await pollUntil('they swap without it', () => history.wins > without + 20);
    etcd.startMember(member);
    await etcd.answers();
  }
  stop = true;
  await Promise.all(rivals);
  t.equal(history.problem(), undefined);
  const last = await register.read();
  history.saw('founder', 'read', history.begin(), last);
  t.equal(history.problem(), undefined, 'and the last of it stands');
  t.comment(`${history.wins} swaps were won`);
});

t.test('members that want certificates are reached by https, and by nobody else', async (t) => {
  const directory = scratchDirectory(t);
  const path = (file: string): string => join(directory, file);
  const text = (file: string): string => readFileSync(path(file), 'utf8');
  for (const name of ['ca', 'member', 'site']) await certificate(directory, name);
  await certificate(directory, 'elsewhere', 'elsewhere');
  await certificate(directory, 'stranger', 'elsewhere');
  const tls = { ca: path('ca.pem'), cert: path('member.pem'), key: path('member.key') };
  const etcd = await EtcdCluster.start(t, { directory, tls });
  const own = { cert: text('site.pem'), key: text('site.key') };
  const { register } = open(t, etcd.endpoints, { identity: { ca: text('ca.pem'), ...own } });
  t.same(await register.swap(undefined, first), { outcome: 'won' });
  t.same(await register.read(), first);
  const unknown = open(t, etcd.endpoints, { identity: own }).register;
  await t.rejects(unknown.read(), { message: /certificate/ }, 'its authority is not known');
  const bare = open(t, etcd.endpoints, { identity: { ca: text('ca.pem') } }).register;
  await t.rejects(bare.read(), { code: 'ERR_REGISTER_UNAVAILABLE' }, 'no certificate to show');
  const stranger = { cert: text('stranger.pem'), key: text('stranger.key') };
  const other = open(t, etcd.endpoints, { identity: { ca: text('ca.pem'), ...stranger } }).register;
  await t.rejects(other.read(), { code: 'ERR_REGISTER_UNAVAILABLE' }, 'one of somebody else');
});

t.test('a user logs in, has its own keys only, and outlives a restart of etcd', async (t) => {
  const etcd = await EtcdCluster.start(t, { directory: scratchDirectory(t) });
  const login = { name: 'casemate', password: 'secret' };
  await enableUsers(etcd, login);
  const { register } = open(t, etcd.endpoints, { login });
  t.same(await register.swap(undefined, first), { outcome: 'won' });
  const bare = open(t, etcd.endpoints).register;
  await t.rejects(bare.read(), { message: /user name is empty/ });
  const wrong = open(t, etcd.endpoints, { login: { ...login, password: 'guess' } }).register;
  await t.rejects(wrong.read(), { message: /user "casemate" can't log in/ });
  await t.rejects(open(t, etcd.endpoints, { login }).keys.range('/other'), { message: /denied/ });
  const [member = ''] = etcd.names;
  await etcd.kill(member);
  await t.rejects(register.read(), { code: 'ERR_REGISTER_UNAVAILABLE' });
  etcd.startMember(member);
  await pollUntil('etcd has started again', async () => {
    // Tokens are in its memory: the one that this client has is not known any more.
    return (await register.read().catch(() => undefined))?.epochId === first.epochId;
  });
  const second = nextConfig(first);
  t.same(await register.swap(first, second), { outcome: 'won' });
});

t.test('a cluster that lost its data is not asked on', async (t) => {
  const directory = scratchDirectory(t);
  const etcd = await EtcdCluster.start(t, { directory });
  const { register } = open(t, etcd.endpoints);
  const second = nextConfig(first);
  await register.swap(undefined, first);
  await register.swap(first, second);
  const [member = ''] = etcd.names;
  await etcd.kill(member);
  rmSync(join(directory, member), { recursive: true });
  etcd.startMember(member);
  await etcd.answers();
  await t.rejects(register.read(), { message: /restored from a backup/ });
  // Another life has seen nothing, but takes nothing for decided that is not there.
  t.equal(await open(t, etcd.endpoints).register.read(), undefined);
});
