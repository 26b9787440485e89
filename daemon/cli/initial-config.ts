/**
 * The configuration files of a new pair, as text: what differs between the machines and what an
 * operator has to decide. Everything else keeps its default.
 */
import { type Address, formatAddress, parseAddress } from '../config/address.ts';

/** A site or a witness, by its name and where the others reach it. */
export interface Machine {
  readonly name: string;
  readonly address: Address;
}

export interface NewPair {
  readonly cluster: string;
  readonly sites: readonly [Machine, Machine];
  readonly witness: Machine | undefined;
  /** Where sites serve NBD clients by TCP, under the names of the sites. */
  readonly nbd: readonly Machine[];
  /** Size of each log, as "4GiB". */
  readonly logSize: string;
  /** Certificates are used, from the places where `casemate init` says they go. */
  readonly tls: boolean;
}

/** A file, by its path below the directory that is written to. */
export interface ConfigFile {
  readonly path: string;
  readonly kind: 'site' | 'witness';
  readonly machine: Machine;
  readonly text: string;
}

export const replicationPort = 9618;
export const witnessPort = 9629;
export const nbdPort = 10809;

/** Reads "NAME=HOST" or "NAME=HOST:PORT" (an IPv6 host in brackets); undefined for others. */
export function parseMachine(text: string, standardPort: number): Machine | undefined {
  const at = text.indexOf('=');
  if (at < 1) return undefined;
  const [name, place] = [text.slice(0, at), text.slice(at + 1)];
  const address = parseAddress(place) ?? parseAddress(`${place}:${standardPort}`);
  return address === undefined ? undefined : { name, address };
}

/** The files of a pair and its witness. */
export function configFiles(pair: NewPair): ConfigFile[] {
  const [first, second] = pair.sites;
  const site = (own: Machine, peer: Machine): ConfigFile => ({
    path: `${own.name}/site.toml`,
    kind: 'site',
    machine: own,
    text: siteText(pair, own, peer),
  });
  const files = [site(first, second), site(second, first)];
  const { witness } = pair;
  if (witness === undefined) return files;
  const path = `${witness.name}/witness.toml`;
  return [...files, { path, kind: 'witness', machine: witness, text: witnessText(pair, witness) }];
}

const quoted = (text: string): string => JSON.stringify(text);
const where = ({ address }: Machine): string => quoted(formatAddress(address));

function siteText(pair: NewPair, own: Machine, peer: Machine): string {
  const { cluster, witness, logSize } = pair;
  const listen = pair.nbd.find(({ name }) => name === own.name);
  const voter =
    witness === undefined
      ? `# Without a witness I/O waits while a site is away, until it is back or an operator forces it.
`
      : `[witness]
name = ${quoted(witness.name)}
address = ${where(witness)}
`;
  return `# Casemate on site ${own.name}: /etc/casemate/site.toml. Keys that are not here have defaults.

cluster = ${quoted(cluster)}
site = ${quoted(own.name)}
dataDirectory = "/var/lib/casemate"

[peer]
site = ${quoted(peer.name)}
address = ${where(peer)}

${voter}
[replication]
listen = ${where(own)}

[log]
sizeBytes = ${quoted(logSize)}

[nbd]
unix = "/run/casemate/nbd.sock"
${listen === undefined ? '' : `listen = ${where(listen)}\n`}
# The API: on loopback, and at the socket api.sock in the data directory, which needs no token. From
# elsewhere it takes HTTPS and tokens: [tls], api.listen, and lines of \`casemate token create\`.
${tlsText(pair, own)}`;
}

function witnessText(pair: NewPair, own: Machine): string {
  const names = pair.sites.map(({ name }) => quoted(name)).join(', ');
  return `# Casemate's witness ${own.name}: /etc/casemate/witness.toml. Keys that are not here have defaults.

name = ${quoted(own.name)}
dataDirectory = "/var/lib/casemate-witness"
listen = ${where(own)}

[clusters.${pair.cluster}]
sites = [${names}]
${tlsText(pair, own)}`;
}

function tlsText({ tls }: NewPair, { name }: Machine): string {
  if (!tls) return '';
  return `
[tls]
certificate = "/etc/casemate/${name}.pem"
key = "/etc/casemate/${name}.key"
authority = "/etc/casemate/authority.pem"
`;
}
