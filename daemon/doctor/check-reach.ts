/**
 * Whether peer and witness are there and take this site for what it is. While the daemon runs it
 * knows best, in both directions: it is asked, and disturbed by nothing more than a connection.
 */
import type { HandshakeRules } from '../../replication/link/handshake.ts';
import type { Network } from '../../replication/link/network.ts';
import type { StatusAnswer } from '../api/schemas.ts';
import { parseAddress } from '../config/address.ts';
import { durationText } from '../duration-text.ts';
import { randomId, systemClock } from '../system-clock.ts';
import { addressesOf } from '../system-port-probe.ts';
import { softwareVersion } from '../version.ts';
import { type Finding, findingsOf } from './finding.ts';
import { type Greeted, visit } from './greet.ts';
import type { Running } from './running.ts';
import type { Dialed, Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('reach');

const visitTimeoutMs = 5000;

export async function checkReach(
  subject: Subject,
  running: Running,
  network: Network,
): Promise<Finding[]> {
  if (subject.kind === 'witness') return [ok('a witness connects to nobody: its sites do')];
  const status = running.kind === 'running' ? running.status : undefined;
  if (status !== undefined) return await runningFindings(subject, status, network);
  const found = await Promise.all(
    subject.dials.map(async (to) => {
      const rules = rulesFor(subject, to);
      const result = await visit({ ...timing, network, to, rules });
      return judgeVisit(to, result, subject.tls !== undefined);
    }),
  );
  if (subject.dialedBy === undefined) return found;
  return [...found, await dialedByFinding(subject.dialedBy)];
}

const timing = { clock: systemClock, timeoutMs: visitTimeoutMs };

/** An identity of the moment, of a store that never was: the connection is never accepted. */
function rulesFor(subject: Subject, to: Dialed): HandshakeRules {
  return {
    own: {
      clusterId: subject.clusters[0] ?? '',
      siteName: subject.name,
      storeId: randomId(),
      bootId: randomId(),
      softwareVersion,
    },
    peerSiteName: to.name,
    acceptsPeerStore: () => undefined,
    lastSession: () => 0,
  };
}

const roleOf = ({ role }: Dialed): string => (role === 'witness' ? 'witness' : 'peer');

/** What came of knocking; `secure`: with TLS. */
export function judgeVisit(to: Dialed, result: Greeted, secure: boolean): Finding {
  const who = `${roleOf(to)} ${to.name} at ${to.address}`;
  switch (result.kind) {
    case 'greeted': {
      const text = `${who} answers in ${result.roundTripMs.toFixed(1)} ms, version ${result.softwareVersion}`;
      if (result.softwareVersion === softwareVersion) return ok(text);
      const advice = `This is ${softwareVersion}: bring both to the same version, one after the other.`;
      return warning(text, advice);
    }
    case 'connected':
      return ok(`${who} can be connected to`);
    case 'refused':
      return error(
        `${who} and this site don't take each other: ${result.text}`,
        `Make the names in both configurations agree: cluster, site, peer.site, witness.name.`,
      );
    case 'failed':
      return failedFinding(to, who, result, secure);
  }
}

const certificateAdvice =
  'Look at the certificates of both ends: `casemate doctor` there, `casemate pki show`.';

function failedFinding(
  to: Dialed,
  who: string,
  { stage, text }: Greeted & { kind: 'failed' },
  secure: boolean,
): Finding {
  if (/certificate/i.test(text)) {
    return error(`${who} shows a certificate that is not accepted: ${text}`, certificateAdvice);
  }
  if (/\b(?:TLS|SSL|EPROTO)\b|wrong version/i.test(text)) {
    const advice = 'Give both ends a table [tls], or neither.';
    return error(`${who} does not answer with TLS as it should: ${text}`, advice);
  }
  if (stage === 'connect') {
    const advice =
      `Is it running? Is ${to.key} right, and the port open in the firewall between? ` +
      `Try: nc -vz ${to.address.replace(/:(\d+)$/, ' $1')}`;
    return error(`${who} can't be connected to: ${text}`, advice);
  }
  const ended = `${who} took the connection and ended it: ${text}`;
  // Its certificate was accepted here; a server that does not accept ours just hangs up.
  if (secure)
    return error(`${ended}; it may not accept this site's certificate`, certificateAdvice);
  const advice =
    'Is it Casemate that listens there, with [tls] on both ends or on none? Its log says why.';
  return error(ended, advice);
}

async function dialedByFinding({ name, address, key }: Dialed): Promise<Finding> {
  const host = parseAddress(address)?.host ?? '';
  if ((await addressesOf(host)) === undefined) {
    return warning(`there is no host ${host} (${key})`, `Correct ${key}, or the name service.`);
  }
  return ok(`${name} connects to this site, not the other way: run the doctor there`);
}

async function runningFindings(
  subject: Subject,
  status: StatusAnswer,
  network: Network,
): Promise<Finding[]> {
  const found: Finding[] = [
    ...linkFindings('peer', status.peer, status.nowMs),
    ...(status.witness === undefined ? [] : linkFindings('witness', status.witness, status.nowMs)),
    ...viewFindings(status),
  ];
  const lost = subject.dials.filter(({ role }) =>
    role === 'witness' ? status.witness?.connected === false : !status.peer.connected,
  );
  for (const to of lost) {
    const result = await visit({ ...timing, network, to, rules: undefined });
    if (result.kind === 'failed') found.push(judgeVisit(to, result, subject.tls !== undefined));
  }
  return found;
}

interface LinkStatus {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  readonly sinceMs: number;
  readonly roundTripMs?: number;
  readonly problem?: string;
}

function linkFindings(role: string, link: LinkStatus, nowMs: number): Finding[] {
  const since = durationText(nowMs - link.sinceMs);
  if (link.connected) {
    const roundTrip =
      link.roundTripMs === undefined ? '' : `, round trip ${link.roundTripMs.toFixed(1)} ms`;
    return [ok(`${role} ${link.name} is connected for ${since}${roundTrip}`)];
  }
  const why = link.problem === undefined ? '' : `: ${link.problem}`;
  const text = `${role} ${link.name} at ${link.address} is not connected for ${since}${why}`;
  return [error(text, `Look there: \`casemate doctor\` and \`casemate status\` on ${link.name}.`)];
}

/** What the two sites say of each other, as the running daemon has heard it. */
function viewFindings({ witnessDifference, register, groups }: StatusAnswer): Finding[] {
  const found: Finding[] = [];
  if (witnessDifference !== undefined) {
    found.push(error(witnessDifference, 'Make [witness] the same in both configurations.'));
  }
  if (register.reachable === false) {
    found.push(error(register.text, 'Look at etcd: register.endpoints, its quorum, its users.'));
  }
  const refused = groups.filter(({ peer }) => peer.state === 'refused');
  for (const { name, peer } of refused) {
    found.push(error(`${name}: ${peer.text}`, '`casemate why` says what clears it.'));
  }
  return found;
}
