/**
 * The first line of the page, for whoever looks at a site in an incident: what is wrong, in words,
 * and what to do about it; then everything else that is not as it should be, each problem once
 * however many groups have it.
 */
import { type HealthProblem, healthProblems, type ProblemCode } from '../metrics/health.ts';
import type { GroupStatus, SiteStatus } from './site-status.ts';

/** `error`: something does not go on. `warning`: it goes on, but not as it should. */
export type Level = 'well' | 'warning' | 'error';

export interface Advice {
  readonly level: Level;
  /** What is so; one sentence without its full stop. */
  readonly text: string;
  /** What to do; whole sentences. */
  readonly advice: string;
  /** A command that is safe now, if one helps. */
  readonly command?: string | undefined;
}

const lookAtPeer =
  'Look whether its machine runs, then `systemctl status casemate` there, then at the network ' +
  'between the sites; `casemate doctor` on both tells of wrong names and certificates. It catches ' +
  'up by itself when it is back.';

/** What a person can do about each problem; `not-serving` depends on what is waited for. */
const adviceFor: Readonly<Record<Exclude<ProblemCode, 'not-serving'>, string>> = {
  'log-failed':
    "Look at this machine's disk (journalctl -k). If it is sound, restart the daemon; if not, " +
    'replace it: the other site has everything if it was in sync.',
  'peer-disconnected': lookAtPeer,
  'register-unreachable':
    'Look at the etcd cluster and at the network to it. Without it, no site can take over.',
  'register-differs': 'Give both sites the same register.type, and restart the one that changed.',
  'witness-disconnected':
    'Look whether its machine runs, then `systemctl status casemate-witness` there, then at the ' +
    'network to it. Without it, volumes wait when a site is lost as well.',
  'witness-differs': 'Give both sites the same [witness], and restart the one that changed.',
  'witness-does-not-vote': 'Wait: this ends by itself when both sites are in sync.',
  'copy-refused':
    'The copies of the two sites have no common past that could be continued. If each has changes ' +
    'that the other lacks, decide whose are kept: `casemate resolve --help`.',
  'blocks-unreadable':
    'They heal from the other site while it is in sync. Then plan to replace this disk.',
  'not-in-sync':
    'Nothing, while it progresses: it ends by itself. Until then a second failure can stop ' +
    'volumes or lose what is on one site only.',
  'log-nearly-full':
    'The data files do not keep up or have no room: df and iostat on the data directory.',
  'checkpoint-late':
    'The disk of the data files is full or very slow: df and iostat on the data directory.',
  'primary-not-preferred':
    'When both sites are in sync, `casemate switchover` brings it to the preferred one.',
  'certificate-ends': '`casemate pki renew --help`; bring the new one here and reload the daemon.',
};

/** What to do about a problem; undefined where that depends on what is waited for. */
export function adviceOn(code: string): string | undefined {
  return Object.entries(adviceFor).find(([known]) => known === code)?.[1];
}

/** "vm-1", "vm-1 and vm-2", "vm-1, vm-2 and 7 more". */
export function someNames(names: readonly string[]): string {
  const [first = '', second] = names;
  if (second === undefined) return first;
  if (names.length === 2) return `${first} and ${second}`;
  return `${first}, ${second} and ${names.length - 2} more`;
}

function volumeNames(groups: readonly GroupStatus[]): string[] {
  return groups.flatMap(({ name, volumes }) =>
    volumes.length === 0 ? [`${name} (no volumes)`] : volumes.map((volume) => volume.name),
  );
}

/** The groups that wait, together with those that wait for the same. */
function waitingAdvice(groups: readonly GroupStatus[]): Advice[] {
  const byReason = new Map<string, GroupStatus[]>();
  // A split has a line of its own.
  for (const group of groups.filter((each) => !each.serves && !isOpenSplit(each))) {
    const code = group.wait?.code ?? 'unknown';
    byReason.set(code, [...(byReason.get(code) ?? []), group]);
  }
  return [...byReason.values()].map((waiting) => {
    const names = volumeNames(waiting);
    const wait = waiting[0]?.wait;
    const verb = names.length === 1 ? 'is' : 'are';
    return {
      level: 'error',
      text: `${someNames(names)} ${verb} not served: ${wait?.text ?? 'it does not say why'}`,
      advice: wait === undefined ? 'See the events.' : `I/O resumes ${wait.clears}.`,
      command: wait?.command?.replaceAll('VOLUME', names[0] ?? 'VOLUME'),
    };
  });
}

/** Nobody has decided yet which side is kept. */
function isOpenSplit({ split }: GroupStatus): boolean {
  return split !== undefined && split.givenUp === undefined;
}

function splitAdvice(groups: readonly GroupStatus[]): Advice[] {
  return groups.filter(isOpenSplit).map((group) => ({
    level: 'error',
    text: `${someNames(volumeNames([group]))}: each site has changes that the other one lacks`,
    advice:
      "Decide which site's changes are kept; what the other one has changed is put aside and " +
      'can be copied back. `casemate status` shows what each has changed. Then give one up:',
    command: `casemate resolve ${group.volumes[0]?.name ?? 'VOLUME'} --drop SITE`,
  }));
}

/** Problems of one kind in one line. */
function gathered(problems: readonly HealthProblem[]): Advice[] {
  const byCode = new Map<ProblemCode, HealthProblem[]>();
  for (const problem of problems) {
    byCode.set(problem.code, [...(byCode.get(problem.code) ?? []), problem]);
  }
  return [...byCode].flatMap(([code, [first, ...more]]) => {
    if (first === undefined || code === 'not-serving') return [];
    const others = more.length === 0 ? '' : `; likewise ${more.length} more`;
    return [{ level: first.severity, text: first.text + others, advice: adviceFor[code] }];
  });
}

const severity: Readonly<Record<Level, number>> = { error: 0, warning: 1, well: 2 };

/** Whichever is worse comes first. */
export function compareLevels(left: Level, right: Level): number {
  return severity[left] - severity[right];
}

/** Everything that is not as it should be, the worst first; empty when all is well. */
export function allAdvice(status: SiteStatus): Advice[] {
  const problems = gathered(healthProblems(status));
  const { groups } = status;
  // What has failed here explains why groups wait: it comes before them.
  const failed = problems.slice(0, status.log.failed === undefined ? 0 : 1);
  return [
    ...failed,
    ...splitAdvice(groups),
    ...waitingAdvice(groups),
    ...problems.slice(failed.length),
  ].sort((left, right) => compareLevels(left.level, right.level));
}

function wellText({ site, peer, groups }: SiteStatus): string {
  const count = countVolumes(groups);
  if (count === 0) return `All is well: ${site} and ${peer.name} are connected; no volumes yet`;
  const volumes = count === 1 ? 'the volume is served' : `all ${count} volumes are served`;
  return `All is well: ${volumes} and in sync on ${site} and ${peer.name}`;
}

function countVolumes(groups: readonly GroupStatus[]): number {
  return groups.reduce((sum, { volumes }) => sum + volumes.length, 0);
}

/** Whoever reads of a problem asks first whether clients are served. */
function servedText({ groups }: SiteStatus): string {
  const count = countVolumes(groups);
  if (count === 0) return '';
  const serving = countVolumes(groups.filter(({ serves }) => serves));
  if (serving < count) return `; ${serving} of ${count} volumes are served`;
  return count === 1 ? '; the volume is served' : `; all ${count} volumes are served`;
}

/** The first line: the worst problem, or that there is none. */
export function headline(status: SiteStatus): Advice {
  const [worst] = allAdvice(status);
  if (worst === undefined) {
    return { level: 'well', text: wellText(status), advice: 'Nothing to do.' };
  }
  return { ...worst, text: worst.text + servedText(status) };
}
