/**
 * A group's configuration (R2) as it stands in etcd. This is the format's document.
 *
 *     key    PREFIX/CLUSTER/groups/GROUP
 *
 * PREFIX and CLUSTER are `register.keyPrefix` and `cluster` of the configuration file, GROUP is the
 * group's id. A group has one key, for ever: that of a removed group says `removed`.
 *
 *     value  {"format": 1, "config": { … }}
 *
 * JSON in UTF-8, so that an operator can read it with `etcdctl get`. `config` has
 *
 *     epoch      number of the epoch
 *     epochId    128 random bits of whoever proposed it: tells its own write from any other (R11)
 *     primary    store of the primary
 *     inSync     stores that are in sync
 *     acceptors  [etcdAcceptor]: who decides (R6) is etcd and neither site
 *     leaseMs, graceMs
 *     forced     {sequence, digest}, if an operator forced it: where that site's history was
 *     removed    true, if the group is gone
 *
 * Nobody but Casemate may write below the prefix. A value of another format is left alone.
 */
import type { GroupId, StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import { ReplicationError } from '../errors.ts';
import { parseJson } from './etcd-messages.ts';
import { isRegisterValue } from './messages.ts';

const format = 1;

/** Stands for etcd in a configuration's list of acceptors: its name, in hex, four times. */
export const etcdAcceptor: StoreId = '65746364'.repeat(4);

/** The key of a group's configuration. */
export function recordKey(prefix: string, cluster: string, groupId: GroupId): string {
  return `${prefix}/${cluster}/groups/${groupId}`;
}

/** The value that says `config`. The same configuration always gives the same bytes. */
export function encodeRecord(config: GroupConfig): Buffer {
  const { epoch, epochId, primary, inSync, acceptors, leaseMs, graceMs, forced, removed } = config;
  const fields = { epoch, epochId, primary, inSync, acceptors, leaseMs, graceMs, forced, removed };
  return Buffer.from(JSON.stringify({ format, config: fields }), 'utf8');
}

/**
 * The configuration that a value says.
 * @throws ReplicationError ERR_REGISTER_RECORD if it is of another format, or of none.
 */
export function decodeRecord(value: Buffer): GroupConfig {
  const document = parseJson(value.toString('utf8'));
  if (typeof document !== 'object' || document === null || !('format' in document)) {
    throw recordError('is no configuration of Casemate');
  }
  if (document.format !== format) {
    throw recordError(`has format ${String(document.format)}; this version knows ${format}`);
  }
  const config: unknown = 'config' in document ? document.config : undefined;
  if (!isRegisterValue(config)) throw recordError(`is not as format ${format} has it`);
  return config;
}

function recordError(problem: string): ReplicationError {
  return new ReplicationError('ERR_REGISTER_RECORD', `what etcd has for this group ${problem}`);
}
