/** TLS as the configuration asks for it: who this process is, and whom it talks to. */
import type { Network } from '../replication/link/network.ts';
import type { Config } from './config/schema.ts';
import type { Logger } from './logger.ts';
import type { ClientTls } from './nbd/connection-host.ts';
import type { CertificateName } from './pki/certificate-name.ts';
import { systemNetwork } from './system-network.ts';
import { type PeerRules, secureAccepted, TlsCredentials, tlsNetwork } from './system-tls.ts';
import type { WitnessConfig } from './witness/witness-config.ts';

export interface Wiring {
  readonly network: Network;
  /** Undefined where the configuration has no table `tls`: then nothing is encrypted. */
  readonly credentials: TlsCredentials | undefined;
}

export interface ClientWiring {
  readonly config: { readonly cluster: string; readonly nbd: Pick<Config['nbd'], 'tls'> };
  readonly credentials: TlsCredentials | undefined;
}

/**
 * What a site talks to its peer and its witness through.
 * @throws CasemateError ERR_CONFIG_FILE, ERR_CERTIFICATE
 */
export function siteWiring(config: Config, logger: Logger): Wiring {
  const { cluster, site, peer, witness, tls } = config;
  if (tls === undefined) return { network: systemNetwork, credentials: undefined };
  const peerName: CertificateName = { cluster, role: 'site', name: peer.site };
  const credentials = new TlsCredentials(tls, [{ cluster, role: 'site', name: site }]);
  const network = tlsNetwork(credentials, {
    dialed: (address) =>
      address === witness?.address ? { cluster, role: 'witness', name: witness.name } : peerName,
    accepts: (names) => names.some((name) => name.cluster === cluster && isSite(name, [peer.site])),
    refused: refusals(logger),
  });
  return { network, credentials };
}

/** STARTTLS for NBD clients over TCP, where the configuration has it. */
export function clientTls({ config, credentials }: ClientWiring): ClientTls | undefined {
  const { cluster, nbd } = config;
  if (credentials === undefined || nbd.tls === 'off') return undefined;
  const isClient = (name: CertificateName): boolean =>
    name.cluster === cluster && name.role === 'client';
  const nameOf = ({ name }: CertificateName): string => name;
  const accepts = (names: readonly CertificateName[]): boolean => names.some(isClient);
  return {
    required: nbd.tls === 'required',
    start: (socket, done) => {
      secureAccepted(credentials, socket, accepts, (result) => {
        if (result instanceof Error) done(result);
        else done({ socket: result.socket, names: result.names.filter(isClient).map(nameOf) });
      });
    },
  };
}

/**
 * What a witness listens with: for the two sites of each of its clusters.
 * @throws CasemateError ERR_CONFIG_FILE, ERR_CERTIFICATE
 */
export function witnessWiring(config: WitnessConfig, logger: Logger): Wiring {
  const { name, clusters, tls } = config;
  if (tls === undefined) return { network: systemNetwork, credentials: undefined };
  const own = Object.keys(clusters).map(
    (cluster): CertificateName => ({ cluster, role: 'witness', name }),
  );
  const credentials = new TlsCredentials(tls, own);
  const network = tlsNetwork(credentials, {
    dialed: () => {
      throw new Error('a witness dials nobody');
    },
    accepts: (names) =>
      names.some((each) => {
        const known = Object.hasOwn(clusters, each.cluster) ? clusters[each.cluster] : undefined;
        return known !== undefined && isSite(each, known.sites);
      }),
    refused: refusals(logger),
  });
  return { network, credentials };
}

function isSite({ role, name }: CertificateName, sites: readonly string[]): boolean {
  return role === 'site' && sites.includes(name);
}

function refusals(logger: Logger): PeerRules['refused'] {
  return (remoteAddress, why, known) => {
    const text = 'a connection was refused by TLS';
    // Strangers can knock as often as they like; who has a certificate of ours is worth a warning.
    if (known) logger.warn({ remoteAddress, why }, text);
    else logger.debug({ remoteAddress, why }, text);
  };
}
