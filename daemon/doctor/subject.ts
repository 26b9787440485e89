/**
 * A configuration as the checks see it: a site's and a witness's have the same things to look at
 * under different keys.
 */
import type { Config } from '../config/schema.ts';
import type { CertificateName } from '../pki/certificate-name.ts';
import { type HostUser, namedUser, ownUserId } from '../system-host.ts';
import type { TlsFiles } from '../system-tls.ts';
import type { WitnessConfig } from '../witness/witness-config.ts';

/** Somebody whom the daemon connects to. */
export interface Dialed {
  readonly role: 'site' | 'witness';
  readonly name: string;
  /** The key of the configuration that has the address. */
  readonly key: string;
  readonly address: string;
}

export interface Subject {
  readonly kind: 'site' | 'witness';
  readonly name: string;
  readonly clusters: readonly string[];
  readonly configPath: string;
  /** The user of the daemon, where that is not who runs the doctor. */
  readonly user: HostUser | undefined;
  readonly dataDirectory: string;
  readonly tls: TlsFiles | undefined;
  /** All names that its certificate has to have. */
  readonly ownNames: readonly CertificateName[];
  /** Where it listens on TCP, by the key that says so. */
  readonly listens: readonly { readonly key: string; readonly address: string }[];
  /** Unix sockets that it makes, by the key that says where. */
  readonly sockets: readonly {
    readonly key: string;
    readonly what: string;
    readonly path: string;
  }[];
  readonly dials: readonly Dialed[];
  /** The peer that connects to this site: of two sites the one whose name comes first dials. */
  readonly dialedBy: Dialed | undefined;
  /** Files that only the daemon's user should read. */
  readonly secrets: readonly { readonly key: string; readonly path: string }[];
  /** Bytes that the log takes in the data directory when it is whole. */
  readonly logBytes: number;
  /** File descriptors that the limits of the configuration can take together. */
  readonly descriptors: number;
  /** Memory that they can take together, besides the program's own. */
  readonly memoryBytes: number;
}

/** Files of a volume that are open at once: data, checksums, and those of a resync. */
const filesPerVolume = 4;
/** What a daemon has open besides: store, listening sockets, links, the runtime's own. */
const descriptorsOwn = 64;

/** Root may do everything: what counts for a service of the package is what its user may. */
function serviceUser(configPath: string): HostUser | undefined {
  if (ownUserId() !== 0 || !configPath.startsWith('/etc/casemate/')) return undefined;
  return namedUser('casemate');
}

export function siteSubject(config: Config, configPath: string): Subject {
  const { cluster, site, peer, witness, tls, nbd, register, volumes, replication, log } = config;
  const peerDialed: Dialed = { role: 'site', name: peer.site, key: 'peer.address', ...peer };
  const witnessDialed: Dialed[] =
    witness === undefined ? [] : [{ role: 'witness', key: 'witness.address', ...witness }];
  const dialsPeer = site < peer.site;
  return {
    kind: 'site',
    name: site,
    clusters: [cluster],
    configPath,
    user: serviceUser(configPath),
    dataDirectory: config.dataDirectory,
    tls,
    ownNames: [{ cluster, role: 'site', name: site }],
    listens: [
      ...(dialsPeer ? [] : [{ key: 'replication.listen', address: replication.listen }]),
      { key: 'api.listen', address: config.api.listen },
      ...(nbd.listen === undefined ? [] : [{ key: 'nbd.listen', address: nbd.listen }]),
    ],
    sockets: [
      { key: 'nbd.unix', what: 'NBD', path: nbd.unix },
      { key: 'api.unix', what: "API's", path: config.api.unix },
    ],
    dials: dialsPeer ? [peerDialed, ...witnessDialed] : witnessDialed,
    dialedBy: dialsPeer ? undefined : peerDialed,
    secrets: [
      ...(tls === undefined ? [] : [{ key: 'tls.key', path: tls.key }]),
      ...named('register.keyFile', register.keyFile),
      ...named('register.passwordFile', register.passwordFile),
    ],
    logBytes: log.sizeBytes,
    descriptors:
      nbd.connectionsMax +
      volumes.countMax * filesPerVolume +
      Math.ceil(log.sizeBytes / log.segmentBytes) * 2 +
      descriptorsOwn,
    memoryBytes: volumes.memoryBytesMax + replication.linkQueueBytesMax,
  };
}

function named(key: string, path: string | undefined): { key: string; path: string }[] {
  return path === undefined ? [] : [{ key, path }];
}

export function witnessSubject(config: WitnessConfig, configPath: string): Subject {
  const { name, clusters, tls } = config;
  return {
    kind: 'witness',
    name,
    clusters: Object.keys(clusters),
    configPath,
    user: serviceUser(configPath),
    dataDirectory: config.dataDirectory,
    tls,
    ownNames: Object.keys(clusters).map((cluster) => ({ cluster, role: 'witness', name })),
    listens: [
      { key: 'listen', address: config.listen },
      { key: 'api.listen', address: config.api.listen },
    ],
    sockets: [{ key: 'api.unix', what: "API's", path: config.api.unix }],
    dials: [],
    dialedBy: undefined,
    secrets: tls === undefined ? [] : [{ key: 'tls.key', path: tls.key }],
    logBytes: 0,
    descriptors: config.limits.connectionsMax + descriptorsOwn,
    memoryBytes: 0,
  };
}
