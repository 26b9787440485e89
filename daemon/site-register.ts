/**
 * The register of this site's groups, as the configuration chooses it: the one place that knows
 * which there are. What is durable in it and who decides is in `replication/register/`.
 */
import { CasRegister } from '../replication/register/cas-register.ts';
import { EtcdClient } from '../replication/register/etcd-client.ts';
import { etcdAcceptor, recordKey } from '../replication/register/etcd-record.ts';
import { EtcdRegister } from '../replication/register/etcd-register.ts';
import type { AcceptorClient } from '../replication/register/messages.ts';
import type { Register } from '../replication/register/register.ts';
import type { GroupId, StoreId } from '../wal/frame.ts';
import type { Config } from './config/schema.ts';
import { CasemateError } from './errors.ts';
import type { RegisterStatus } from './site-status.ts';
import { readNamedFile } from './system-files.ts';
import { SystemHttp } from './system-http.ts';

export interface SiteRegister {
  /** The register of one group; whoever opens it cancels it. */
  open(groupId: GroupId): Register;
  /** Who decides on every group (R6); undefined where that is the mode of each. */
  readonly acceptors: readonly StoreId[] | undefined;
  status(): RegisterStatus;
  close(): void;
}

export interface SiteRegisterOptions {
  readonly config: Config;
  readonly storeId: StoreId;
  readonly bootId: string;
  /** The acceptors that can be asked now. */
  readonly clients: () => readonly AcceptorClient[];
  readonly random: () => number;
  readonly delay: (ms: number) => Promise<void>;
  readonly event: (level: 'info' | 'warn', code: string, text: string) => void;
}

/**
 * The register as the configuration chooses it.
 * @throws CasemateError ERR_CONFIG_FILE if a file that it names can't be read.
 */
export function siteRegister(options: SiteRegisterOptions): SiteRegister {
  return options.config.register.type === 'etcd' ? etcd(options) : sites(options);
}

/** CASPaxos over the acceptors of the sites. */
function sites(options: SiteRegisterOptions): SiteRegister {
  const { storeId: me, bootId, clients, random, delay } = options;
  return {
    open: (groupId) => new CasRegister({ groupId, me, bootId, clients, random, delay }),
    acceptors: undefined,
    status: () => ({ type: 'sites', reachable: undefined, text: 'the sites decide' }),
    close: () => undefined,
  };
}

/** A key for each group in an etcd cluster. */
function etcd(options: SiteRegisterOptions): SiteRegister {
  const { config, random, delay } = options;
  const { keyPrefix } = config.register;
  const keys = etcdClient(options);
  return {
    open: (groupId) =>
      new EtcdRegister({
        key: recordKey(keyPrefix, config.cluster, groupId),
        keys,
        random,
        delay,
      }),
    acceptors: [etcdAcceptor],
    status: () => ({ type: 'etcd', reachable: keys.answers, text: endpointsText(keys) }),
    close: () => keys.close(),
  };
}

function etcdClient({ config, event }: SiteRegisterOptions): EtcdClient {
  const { endpoints = [], timeoutMs, username, passwordFile, ...files } = config.register;
  const read = (key: 'caFile' | 'certFile' | 'keyFile'): string | undefined => {
    const path = files[key];
    return path === undefined ? undefined : readNamedFile(`register.${key}`, path);
  };
  const login =
    username === undefined || passwordFile === undefined
      ? undefined
      : {
          name: username,
          password: readNamedFile('register.passwordFile', passwordFile).replace(/\r?\n$/, ''),
        };
  return new EtcdClient({
    endpoints,
    timeoutMs,
    login,
    http: new SystemHttp({ ca: read('caFile'), cert: read('certFile'), key: read('keyFile') }),
    changed: (problem) => {
      if (problem === undefined) event('info', 'register-back', 'etcd answers again');
      else event('warn', 'register-lost', `etcd does not answer: ${problem}`);
    },
  });
}

/** Which endpoints answer, as far as they were asked. */
function endpointsText(keys: EtcdClient): string {
  return keys
    .endpoints()
    .map(({ url, answers, problem }) => {
      if (answers === undefined) return `${url} not asked yet`;
      return answers ? `${url} answers` : `${url}: ${problem}`;
    })
    .join('; ');
}

/**
 * The acceptors of a group (R6) as far as they do not depend on its mode, where `current` are those
 * it has: etcd's, or unchanged if it is decided elsewhere than this site is configured to ask.
 */
export function fixedAcceptors(
  { acceptors }: SiteRegister,
  current: readonly StoreId[],
): readonly StoreId[] | undefined {
  const byEtcd = current.includes(etcdAcceptor);
  return current.length > 0 && byEtcd !== (acceptors !== undefined) ? current : acceptors;
}

/**
 * A group is decided where it was created, for good: asked elsewhere, it would never be decided.
 * @throws CasemateError ERR_REGISTER_TYPE if this site is configured to ask elsewhere.
 */
export function checkRegister(
  register: SiteRegister,
  group: string,
  acceptors: readonly StoreId[] | undefined,
): void {
  if (acceptors === undefined) return;
  const type = acceptors.includes(etcdAcceptor) ? 'etcd' : 'sites';
  const configured = register.acceptors === undefined ? 'sites' : 'etcd';
  if (type === configured) return;
  throw new CasemateError(
    'ERR_REGISTER_TYPE',
    `group "${group}" was created with register.type = "${type}", and this site has "${configured}"`,
    { hint: `Set register.type to "${type}" on both sites.` },
  );
}
