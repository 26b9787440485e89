/** Values that a daemon takes and an operator should think about twice. */
import { dirname } from 'node:path';
import { isLoopbackHost, parseAddress } from '../config/address.ts';
import type { Config } from '../config/schema.ts';
import { isClientName } from '../nbd/client-access.ts';
import type { WitnessConfig } from '../witness/witness-config.ts';
import { type Finding, findingsOf } from './finding.ts';

const { ok, warning } = findingsOf('config');

const isOpen = (address: string | undefined): boolean =>
  address !== undefined && !isLoopbackHost(parseAddress(address)?.host ?? 'localhost');

const plainAdvice =
  'Make certificates with `casemate pki` and add a table [tls], or keep this network to yourself.';

/** Combinations of a site's keys that are allowed and unsafe. */
export function checkSiteConfig(config: Config): Finding[] {
  const found = [
    ...linkFindings(config),
    ...clientFindings(config),
    ...lossFindings(config),
    ...accessFindings(config),
    ...apiFindings(config),
    ...apiSocketFindings(config),
  ];
  const text = `site ${config.site} of cluster ${config.cluster}: every key fits`;
  return [ok(text), ...found];
}

function linkFindings({ tls, replication, register, peer, witness }: Config): Finding[] {
  const found: Finding[] = [];
  if (tls === undefined && (isOpen(replication.listen) || isOpen(peer.address))) {
    found.push(warning('the link to the peer is neither encrypted nor authenticated', plainAdvice));
  }
  const plain = (register.endpoints ?? []).filter((url) => {
    return url.startsWith('http:') && !isLoopbackHost(new URL(url).hostname);
  });
  if (plain.length > 0) {
    const text = `etcd is asked without encryption: ${plain.join(', ')}`;
    found.push(warning(text, 'Use https in register.endpoints, and register.caFile.'));
  }
  const hosts = [peer.address, replication.listen].map((text) => parseAddress(text)?.host);
  const witnessHost = parseAddress(witness?.address ?? '')?.host;
  if (witnessHost !== undefined && !isLoopbackHost(witnessHost) && hosts.includes(witnessHost)) {
    found.push(
      warning(
        `the witness is on the host of a site, ${witnessHost}: it is lost with it`,
        'Run it on a third machine, and set witness.address on both sites.',
      ),
    );
  }
  return found;
}

function clientFindings({ tls, nbd }: Config): Finding[] {
  if (nbd.listen === undefined || !isOpen(nbd.listen)) return [];
  if (tls === undefined || nbd.tls === 'off') {
    const text = `NBD clients at ${nbd.listen} are neither encrypted nor authenticated`;
    return [warning(text, tls === undefined ? plainAdvice : 'Set nbd.tls to "required".')];
  }
  if (nbd.tls === 'required') return [];
  const text = `an NBD client at ${nbd.listen} may leave TLS out (nbd.tls is "offered")`;
  return [warning(text, 'Set nbd.tls to "required" when every client has its certificate.')];
}

function lossFindings({ replication, witness, register, suspend }: Config): Finding[] {
  const found: Finding[] = [];
  const decides = witness !== undefined || register.type === 'etcd';
  if (!decides && replication.onPeerLoss === 'suspend') {
    found.push(
      ok('there is no witness: while a site is away I/O waits for it, or for an operator'),
    );
  }
  if (!decides && replication.onPeerLoss === 'preferred') {
    found.push(
      warning(
        'without a witness only the preferred site goes on alone: the other one never does',
        'Add a witness on a third machine: then either site takes over by itself.',
      ),
    );
  }
  const takeoverMs = replication.graceMs + replication.ackTimeoutMs;
  if (suspend.maxMs > 0 && suspend.maxMs < takeoverMs) {
    found.push(
      warning(
        `requests fail after ${suspend.maxMs} ms (suspend.maxMs), before a takeover can be done`,
        `Set suspend.maxMs to 0, or well above ${takeoverMs}: clients then see a pause, no error.`,
      ),
    );
  }
  return found;
}

/** Names of certificates that no client can show, because none is asked for one. */
function accessFindings({ access = {}, tls, nbd }: Config): Finding[] {
  if (tls !== undefined && nbd.tls !== 'off') return [];
  return Object.entries(access).flatMap(([volume, { write, read }]) => {
    const names = [...write, ...read].filter(isClientName);
    if (names.length === 0) return [];
    const text = `access.${volume} names certificates (${names.join(', ')}), and nobody shows any`;
    return [warning(text, 'Add a table [tls] and leave nbd.tls at "required".')];
  });
}

/** Who may use the API of a site or a witness. */
function apiFindings({ api }: Pick<Config | WitnessConfig, 'api'>): Finding[] {
  const { listen, tokens = {} } = api;
  const names = Object.entries(tokens).map(([name, { role }]) => `${name} (${role})`);
  if (names.length > 0) {
    const how = isOpen(listen) ? 'HTTPS' : 'HTTP';
    return [ok(`the API at ${listen} is there by ${how} for tokens: ${names.join(', ')}`)];
  }
  const text = `the API at ${listen} asks for no token: every user of this machine may use it`;
  return [ok(`${text} (\`casemate token create\` makes one)`)];
}

/** Who may attach volumes should not by that be who may delete them. */
function apiSocketFindings({ api, nbd, dataDirectory }: Config): Finding[] {
  const directory = dirname(api.unix);
  if (directory !== dirname(nbd.unix) || directory === dataDirectory) return [];
  const text = `whoever can reach ${nbd.unix} to attach volumes may do everything at ${api.unix}`;
  return [
    warning(text, 'Leave api.unix out: the data directory is private. Or set one of its own.'),
  ];
}

/** The same for a witness. */
export function checkWitnessConfig(config: WitnessConfig): Finding[] {
  const clusters = Object.keys(config.clusters).join(', ');
  const fits = [
    ok(`witness ${config.name} of ${clusters}: every key fits`),
    ...apiFindings(config),
  ];
  if (config.tls !== undefined || !isOpen(config.listen)) return fits;
  return [...fits, warning('its links are neither encrypted nor authenticated', plainAdvice)];
}
