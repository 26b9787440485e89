/**
 * How the parts of a site are, each in one line of words: the same for `casemate status` and for
 * the page. The sentences about groups are in `daemon/api/why.ts`.
 */
import { formatSize } from './config/sizes.ts';
import { durationText } from './duration-text.ts';
import type { PeerCopyStatus, SiteStatus } from './site-status.ts';

/** What may be absent, as it is before and after JSON. */
type Maybe<Value> = Value | undefined;

interface PeerInput {
  readonly nowMs: number;
  readonly peer: {
    readonly name: string;
    readonly address: string;
    readonly connected: boolean;
    readonly sinceMs: number;
    readonly roundTripMs?: Maybe<number>;
    readonly problem?: Maybe<string>;
  };
}

/** How the connection to the other site is. */
export function peerText({ peer, nowMs }: PeerInput): string {
  const since = durationText(nowMs - peer.sinceMs);
  if (peer.connected) {
    const trip = peer.roundTripMs;
    const roundTrip = trip === undefined ? '' : `, round trip ${trip.toFixed(1)} ms`;
    return `${peer.name} at ${peer.address}: connected for ${since}${roundTrip}`;
  }
  const problem = peer.problem === undefined ? '' : `: ${peer.problem}`;
  return `${peer.name} at ${peer.address}: NOT CONNECTED for ${since}${problem}`;
}

interface WitnessInput {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  readonly sinceMs: number;
  readonly lastAnswerMs?: Maybe<number>;
  readonly problem?: Maybe<string>;
}

/** How the witness is. */
export function witnessText(witness: WitnessInput, nowMs: number): string {
  const { name, address, connected, sinceMs, lastAnswerMs, problem } = witness;
  const since = durationText(nowMs - sinceMs);
  const answered =
    lastAnswerMs === undefined
      ? 'never answered'
      : `answered ${durationText(nowMs - lastAnswerMs)} ago`;
  if (connected) return `${name} at ${address}: connected for ${since}, ${answered}`;
  const why = problem === undefined ? '' : `: ${problem}`;
  return `${name} at ${address}: NOT CONNECTED for ${since}, ${answered}${why}`;
}

interface RegisterInput {
  readonly register: {
    readonly type: 'sites' | 'etcd';
    readonly reachable?: Maybe<boolean>;
    readonly text: string;
  };
  readonly witness?: Maybe<WitnessInput>;
}

/** Who decides which site is primary. */
export function registerText({ register, witness }: RegisterInput): string {
  if (register.type === 'etcd') {
    return `etcd${register.reachable === false ? ' DOES NOT ANSWER' : ''}: ${register.text}`;
  }
  return witness === undefined ? register.text : `${register.text}, with the witness`;
}

interface LogInput {
  readonly failed?: Maybe<string>;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** How full the log is. */
export function logText(log: LogInput): string {
  if (log.failed !== undefined) return `FAILED: ${log.failed}`;
  const percent = Math.round((100 * log.usedBytes) / Math.max(1, log.limitBytes));
  return `${formatSize(log.usedBytes)} of ${formatSize(log.limitBytes)} in use (${percent} %)`;
}

/** One word for how clients of a group are served. */
export function stateWord(group: {
  readonly serves: boolean;
  readonly role: string;
  readonly wait?: Maybe<{ readonly code: string }>;
}): string {
  if (!group.serves) return group.wait?.code ?? 'waits';
  return group.role === 'primary' ? 'serves' : 'serves by peer';
}

const copyWords: Readonly<Record<PeerCopyStatus['state'], string>> = {
  disconnected: 'no: disconnected',
  handshaking: 'no: comparing',
  'catching-up': 'no: catching up',
  resyncing: 'no: resyncing',
  'waited-for': 'almost',
  'in-sync': 'yes',
  refused: 'NO: refused',
};

/** Whether both sites have all of a group, in a word or two. */
export function inSyncWord(group: {
  readonly inSync: boolean;
  readonly peer: { readonly state: PeerCopyStatus['state'] };
}): string {
  return group.inSync ? 'yes' : copyWords[group.peer.state];
}

/** "lux-1 of lux, version 0.1.0, up for 1 h" */
export function siteText(
  status: Pick<SiteStatus, 'site' | 'cluster' | 'version' | 'nowMs' | 'startedAtMs'>,
): string {
  const up = durationText(status.nowMs - status.startedAtMs);
  return `${status.site} of ${status.cluster}, version ${status.version}, up for ${up}`;
}

interface ResyncInput {
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly rateBytes: number;
  readonly secondsLeft?: Maybe<number>;
}

function percentDone({ doneBytes, totalBytes }: ResyncInput): number {
  return totalBytes === 0 ? 100 : Math.min(100, Math.floor((100 * doneBytes) / totalBytes));
}

/** "41 % of 10 GiB, 80 MiB/s, 1 min 20 s left" */
export function resyncText(resync: ResyncInput): string {
  const { totalBytes, rateBytes, secondsLeft } = resync;
  const rate = `${formatSize(Math.round(rateBytes))}/s`;
  const left = secondsLeft === undefined ? '' : `, ${durationText(secondsLeft * 1000)} left`;
  return `${percentDone(resync)} % of ${formatSize(totalBytes)}, ${rate}${left}`;
}

const barWidth = 20;

/** "[########            ]" */
export function resyncBar(resync: ResyncInput): string {
  const filled = Math.floor((percentDone(resync) * barWidth) / 100);
  return `[${'#'.repeat(filled).padEnd(barWidth)}]`;
}
