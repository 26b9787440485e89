/**
 * What must hold between keys of the configuration. Each rule says why, because whoever meets it
 * has just set a value that looked reasonable.
 */
import { isAccessEntry } from '../nbd/client-access.ts';
import {
  type Address,
  formatAddress,
  isLoopbackHost,
  parseAddress,
  socketPathBytesMax,
} from './address.ts';
import { registerProblems } from './register-table.ts';
import type { Config } from './schema.ts';
import { formatSizeExactly } from './sizes.ts';

function timeProblems({ replication }: Config): string[] {
  const { heartbeatMs, ackTimeoutMs, leaseMs, graceMs } = replication;
  const problems: string[] = [];
  if (heartbeatMs > leaseMs / 4) {
    problems.push(
      `replication.heartbeatMs (${heartbeatMs}) must be at most a quarter of replication.leaseMs (${leaseMs}), that is ${Math.floor(leaseMs / 4)}: the lease that lets the primary answer reads is renewed by acknowledged heartbeats, and must outlive a few that come late`,
    );
  }
  if (ackTimeoutMs > leaseMs) {
    problems.push(
      `replication.ackTimeoutMs (${ackTimeoutMs}) must be at most replication.leaseMs (${leaseMs}): otherwise a silent peer ends the lease, and with it all reads, long before it is dropped`,
    );
  }
  if (ackTimeoutMs >= graceMs) {
    problems.push(
      `replication.ackTimeoutMs (${ackTimeoutMs}) must be less than replication.graceMs (${graceMs}): when the sites lose each other the primary has to move first, or every short cut makes the secondary take over`,
    );
  }
  if (graceMs < 1.25 * leaseMs) {
    problems.push(
      `replication.graceMs (${graceMs}) must be at least 1.25 times replication.leaseMs (${leaseMs}), that is ${Math.ceil(1.25 * leaseMs)}: with clocks that drift by up to 10 % the old primary's lease must be over before the secondary takes over, or both would answer reads`,
    );
  }
  if (replication.rejoinBackoffMs > replication.rejoinBackoffMsMax) {
    problems.push(
      `replication.rejoinBackoffMs (${replication.rejoinBackoffMs}) must be at most replication.rejoinBackoffMsMax (${replication.rejoinBackoffMsMax}), the longest it grows to`,
    );
  }
  return problems;
}

interface Sized {
  readonly key: string;
  readonly bytes: number;
}

function notAbove(
  small: Sized,
  limit: Sized,
  part: { factor: number; words: string },
  why: string,
) {
  const limitBytes = Math.floor(limit.bytes * part.factor);
  if (small.bytes <= limitBytes) return [];
  return [
    `${small.key} (${formatSizeExactly(small.bytes)}) must be at most ${part.words}${limit.key} (${formatSizeExactly(limit.bytes)}), that is ${formatSizeExactly(limitBytes)}: ${why}`,
  ];
}

const whole = { factor: 1, words: '' };
const half = { factor: 1 / 2, words: 'half of ' };
const quarter = { factor: 1 / 4, words: 'a quarter of ' };

function sizeProblems({ log, replication, volumes }: Config): string[] {
  const logSize = { key: 'log.sizeBytes', bytes: log.sizeBytes };
  const segment = { key: 'log.segmentBytes', bytes: log.segmentBytes };
  const commit = { key: 'log.commitBytesMax', bytes: log.commitBytesMax };
  const inFlight = { key: 'replication.inFlightBytesMax', bytes: replication.inFlightBytesMax };
  const backlog = { key: 'volumes.applyBacklogBytesMax', bytes: volumes.applyBacklogBytesMax };
  const problems = [
    ...notAbove(commit, segment, half, 'a group commit is never split over segments'),
    ...notAbove(
      inFlight,
      logSize,
      quarter,
      'what the peer has not acknowledged cannot be freed, and must not fill the log by itself',
    ),
    ...notAbove(
      backlog,
      logSize,
      half,
      'what is not applied cannot be freed, and must not fill the log by itself',
    ),
    ...notAbove(
      { key: 'log.checkpointBytes', bytes: log.checkpointBytes },
      logSize,
      half,
      'log space is freed by checkpoints, so one has to come well before the log is full',
    ),
    ...notAbove(
      inFlight,
      { key: 'replication.linkQueueBytesMax', bytes: replication.linkQueueBytesMax },
      whole,
      'the queue to the peer has to hold what one group may have in flight',
    ),
    ...notAbove(
      backlog,
      { key: 'volumes.memoryBytesMax', bytes: volumes.memoryBytesMax },
      whole,
      'records that wait to be applied are held in that memory',
    ),
  ];
  if (log.sizeBytes < 4 * log.segmentBytes) {
    problems.push(
      `log.sizeBytes (${formatSizeExactly(log.sizeBytes)}) must be at least 4 times log.segmentBytes (${formatSizeExactly(log.segmentBytes)}), that is ${formatSizeExactly(4 * log.segmentBytes)}: space is freed in whole segments, so fewer of them leave no room while one is freed`,
    );
  }
  if (log.segmentBytes % 4096 !== 0) {
    problems.push(
      `log.segmentBytes (${log.segmentBytes}) must be a multiple of 4 KiB, such as ${formatSizeExactly(Math.ceil(log.segmentBytes / 4096) * 4096)}: frames begin at block boundaries`,
    );
  }
  return problems;
}

function siteProblems({ site, peer, witness, replication }: Config): string[] {
  const problems: string[] = [];
  if (site === peer.site) {
    problems.push(
      `peer.site ("${peer.site}") must differ from site: it names the other site of the pair`,
    );
  }
  if (witness !== undefined && (witness.name === site || witness.name === peer.site)) {
    problems.push(
      `witness.name ("${witness.name}") must differ from site and peer.site: a witness on one of the two sites is lost with it, and then decides nothing`,
    );
  }
  const preferred = replication.preferredSite;
  if (preferred !== undefined && preferred !== site && preferred !== peer.site) {
    problems.push(
      `replication.preferredSite ("${preferred}") must be "${site}" or "${peer.site}", the two sites of this pair`,
    );
  }
  return problems;
}

/** Keys that name where somebody else listens. */
const dialed = [
  ['peer.address', 'peer'],
  ['witness.address', 'witness'],
] as const;

function addressProblems(config: Config): string[] {
  const problems: string[] = [];
  const addresses = new Map<string, Address>();
  const entries = [
    ['peer.address', config.peer.address],
    ['witness.address', config.witness?.address],
    ['replication.listen', config.replication.listen],
    ['nbd.listen', config.nbd.listen],
    ['api.listen', config.api.listen],
  ] as const;
  for (const [key, text] of entries) {
    if (text === undefined) continue;
    const address = parseAddress(text);
    if (address === undefined) problems.push(`${key} ("${text}") has a port above 65535`);
    else addresses.set(key, address);
  }
  for (const [key, other] of dialed) {
    const address = addresses.get(key);
    if (address?.port === 0) {
      const text = formatAddress(address);
      problems.push(`${key} ("${text}") must name the port the ${other} listens on`);
    }
  }
  for (const [key] of dialed) addresses.delete(key);
  return [...problems, ...sharedPortProblems(addresses)];
}

/** What the API of a site or a witness needs of the other keys. */
interface ApiKeys {
  readonly api: {
    readonly listen: string;
    readonly unix: string;
    readonly tokens?: Readonly<Record<string, { readonly sha256: string }>> | undefined;
  };
  readonly tls?: object | undefined;
}

/** An API that anybody could reach or read along with; the address itself is checked elsewhere. */
export function apiProblems({ api, tls }: ApiKeys): string[] {
  const { listen, unix, tokens = {} } = api;
  const problems = socketPathProblems('api.unix', unix);
  const byHash = new Map<string, string>();
  for (const [name, { sha256 }] of Object.entries(tokens)) {
    const other = byHash.get(sha256);
    byHash.set(sha256, name);
    if (other === undefined) continue;
    problems.push(
      `api.tokens.${name}.sha256 is that of api.tokens.${other} too: each needs a token of its own, or nobody can tell whose it was`,
    );
  }
  const address = parseAddress(listen);
  if (address === undefined || isLoopbackHost(address.host)) return problems;
  const place = `api.listen ("${listen}") is no loopback address`;
  if (tls === undefined) {
    problems.push(
      `${place}, so it needs a table [tls]: without TLS everybody on the way could read tokens and use them; "127.0.0.1:${address.port}" needs none`,
    );
  }
  if (Object.keys(tokens).length === 0) {
    problems.push(
      `${place}, so it needs a table [api.tokens.NAME] at least: without tokens everybody who reaches it could delete volumes; \`casemate token create NAME --role read\` makes one, "127.0.0.1:${address.port}" needs none`,
    );
  }
  return problems;
}

/** Two servers of one daemon on the same host and port: the second would fail to start. */
function sharedPortProblems(addresses: ReadonlyMap<string, Address>): string[] {
  const problems: string[] = [];
  const seen = new Map<string, string>();
  for (const [key, { host, port }] of addresses) {
    if (port === 0) continue;
    const place = `${host}:${port}`;
    const other = seen.get(place);
    if (other === undefined) seen.set(place, key);
    else problems.push(`${key} ("${place}") is the same address as ${other}: each needs its own`);
  }
  return problems;
}

function socketPathProblems(key: string, path: string): string[] {
  const lengthBytes = Buffer.byteLength(path);
  if (lengthBytes <= socketPathBytesMax) return [];
  return [
    `${key} ("${path}") must be at most ${socketPathBytesMax} bytes long, it has ${lengthBytes}: the system takes no longer path for a socket; set ${key} to a shorter one`,
  ];
}

function pathProblems({ nbd, api }: Config): string[] {
  const problems = socketPathProblems('nbd.unix', nbd.unix);
  if (nbd.unix === api.unix) {
    problems.push(`api.unix ("${api.unix}") is the same path as nbd.unix: each needs its own`);
  }
  return problems;
}

function accessProblems({ access = {} }: Config): string[] {
  return Object.entries(access).flatMap(([name, lists]) =>
    [...lists.write, ...lists.read]
      .filter((entry) => !isAccessEntry(entry))
      .map(
        (entry) =>
          `access.${name} has "${entry}", which is neither "unix" nor an address, a network ("10.0.0.0/8") or the name of a certificate`,
      ),
  );
}

/** One sentence for each relation between keys that does not hold; empty when all do. */
export function relationProblems(config: Config): string[] {
  return [
    ...siteProblems(config),
    ...addressProblems(config),
    ...timeProblems(config),
    ...sizeProblems(config),
    ...pathProblems(config),
    ...apiProblems(config),
    ...accessProblems(config),
    ...registerProblems(config),
  ];
}
