/**
 * What is wrong with a site, from its status: the one set of rules behind /readyz, the problems in
 * `status`, and alerts. Pure; it takes plain data, so that it needs nothing of the daemon.
 */

/** The parts of a site's status that the rules look at. */
export interface HealthInput {
  readonly nowMs: number;
  readonly peer: {
    readonly name: string;
    readonly connected: boolean;
    readonly problem: string | undefined;
  };
  readonly register: {
    readonly type: 'sites' | 'etcd';
    readonly reachable: boolean | undefined;
    readonly text: string;
  };
  readonly witness:
    | {
        readonly name: string;
        readonly connected: boolean;
        readonly problem: string | undefined;
      }
    | undefined;
  readonly witnessDifference: string | undefined;
  /** Absent without TLS. */
  readonly certificates?: readonly { readonly path: string; readonly expiresAtMs: number }[];
  readonly log: {
    readonly usedBytes: number;
    readonly limitBytes: number;
    readonly failed: string | undefined;
  };
  readonly groups: readonly GroupHealthInput[];
}

export interface GroupHealthInput {
  readonly name: string;
  readonly serves: boolean;
  readonly wait: { readonly code: string; readonly text: string } | undefined;
  readonly peer: { readonly state: string; readonly text: string };
  readonly inSync: boolean;
  readonly onPeerLoss: 'suspend' | 'preferred';
  readonly voters: readonly string[];
  readonly preferredSite: string | undefined;
  readonly primarySite: string | undefined;
  readonly checkpointAtMs: number;
  readonly volumes: readonly {
    readonly name: string;
    readonly unreadable: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
    readonly unreadableBytes: number;
  }[];
}

export type ProblemCode =
  | 'log-failed'
  | 'not-serving'
  | 'peer-disconnected'
  | 'register-unreachable'
  | 'register-differs'
  | 'witness-disconnected'
  | 'witness-differs'
  | 'witness-does-not-vote'
  | 'copy-refused'
  | 'blocks-unreadable'
  | 'not-in-sync'
  | 'log-nearly-full'
  | 'checkpoint-late'
  | 'primary-not-preferred'
  | 'certificate-ends';

export interface HealthProblem {
  readonly code: ProblemCode;
  /** `error`: something does not go on. `warning`: it goes on, but not as it should. */
  readonly severity: 'error' | 'warning';
  readonly group: string | undefined;
  readonly text: string;
}

/** Part of the log that may be in use before it is a problem. */
const logUsedPartMax = 0.8;
/** A checkpoint older than this means that the data files do not keep up. */
const checkpointAgeMsMax = 5 * 60_000;
/** A certificate that ends sooner than this has to be renewed. */
const certificateMsMin = 30 * 86_400_000;

function registerProblem({ register }: HealthInput): HealthProblem[] {
  if (register.type !== 'etcd' || register.reachable !== false) return [];
  return [
    {
      code: 'register-unreachable',
      severity: 'warning',
      group: undefined,
      text:
        `etcd, which decides who is primary, does not answer (${register.text}); if the other ` +
        'site were lost now, I/O would wait',
    },
  ];
}

/** It is decided elsewhere than this site would ask: this site can't take over. */
function differsProblem(group: GroupHealthInput, input: HealthInput): HealthProblem | undefined {
  if (group.voters.length === 0) return undefined;
  const type = group.voters.includes('etcd') ? 'etcd' : 'sites';
  if (type === input.register.type) return undefined;
  return {
    code: 'register-differs',
    severity: 'error',
    group: group.name,
    text:
      `who is primary of "${group.name}" is decided with register.type = "${type}", and this site ` +
      `has "${input.register.type}": it can't take over; both sites need the same`,
  };
}

function witnessProblems({ peer, witness, witnessDifference }: HealthInput): HealthProblem[] {
  const problems: HealthProblem[] = [];
  const warn = (code: ProblemCode, text: string): void => {
    problems.push({ code, severity: 'warning', group: undefined, text });
  };
  if (witness?.connected === false) {
    const why = witness.problem === undefined ? '' : `: ${witness.problem}`;
    warn(
      'witness-disconnected',
      `the witness, ${witness.name}, is not connected${why}; ` +
        (peer.connected
          ? 'if the other site were lost now, I/O would wait'
          : 'without it and the other site nothing can be decided: the return of either is enough'),
    );
  }
  if (witnessDifference !== undefined) {
    warn('witness-differs', `${witnessDifference}; who votes stays as it is until they agree`);
  }
  return problems;
}

/** The operator has named a witness, but the group is still decided without it (R5). */
function voterProblem(group: GroupHealthInput, input: HealthInput): HealthProblem | undefined {
  const { witness } = input;
  if (witness === undefined || !witness.connected || group.onPeerLoss === 'preferred') {
    return undefined;
  }
  if (group.voters.length === 0 || group.voters.includes(witness.name)) return undefined;
  return {
    code: 'witness-does-not-vote',
    severity: 'warning',
    group: group.name,
    text:
      `the witness ${witness.name} does not vote on "${group.name}" yet: it is taken in when both ` +
      'sites are in sync and have met it',
  };
}

function siteProblems({ peer, log }: HealthInput): HealthProblem[] {
  const problems: HealthProblem[] = [];
  if (log.failed !== undefined) {
    problems.push({
      code: 'log-failed',
      severity: 'error',
      group: undefined,
      text: `the log of this site has failed: ${log.failed}`,
    });
  }
  if (!peer.connected) {
    const why = peer.problem === undefined ? '' : `: ${peer.problem}`;
    problems.push({
      code: 'peer-disconnected',
      severity: 'warning',
      group: undefined,
      text: `the other site, ${peer.name}, is not connected${why}`,
    });
  }
  if (log.usedBytes > logUsedPartMax * log.limitBytes) {
    const percent = Math.floor((100 * log.usedBytes) / log.limitBytes);
    problems.push({
      code: 'log-nearly-full',
      severity: 'warning',
      group: undefined,
      text: `the log is ${percent} % full; when it is full, writes wait`,
    });
  }
  return problems;
}

function certificateProblems({ certificates = [], nowMs }: HealthInput): HealthProblem[] {
  return certificates
    .filter(({ expiresAtMs }) => expiresAtMs - nowMs < certificateMsMin)
    .map(({ path, expiresAtMs }) => {
      const ended = expiresAtMs <= nowMs;
      const day = new Date(expiresAtMs).toISOString().slice(0, 10);
      return {
        code: 'certificate-ends',
        severity: ended ? 'error' : 'warning',
        group: undefined,
        text: ended
          ? `the certificate ${path} has ended on ${day}: nothing connects any more; renew and reload`
          : `the certificate ${path} ends on ${day}: renew it and reload`,
      };
    });
}

/** Why the two copies of a group are not the same, unless that follows from a lost connection. */
function copyProblem(group: GroupHealthInput, connected: boolean): HealthProblem | undefined {
  const { name, inSync, peer } = group;
  if (inSync) return undefined;
  const problem = (code: ProblemCode, severity: HealthProblem['severity']): HealthProblem => ({
    code,
    severity,
    group: name,
    text: `"${name}" is not on both sites: ${peer.text}`,
  });
  if (peer.state === 'refused') return problem('copy-refused', 'error');
  return connected || group.serves ? problem('not-in-sync', 'warning') : undefined;
}

function groupProblems(group: GroupHealthInput, input: HealthInput): HealthProblem[] {
  const problems: HealthProblem[] = [];
  const { name, preferredSite, primarySite } = group;
  if (!group.serves) {
    const why = group.wait?.text ?? 'it does not say why';
    problems.push({
      code: 'not-serving',
      severity: 'error',
      group: name,
      text: `"${name}" does not serve: ${why}`,
    });
  }
  const copy = copyProblem(group, input.peer.connected);
  if (copy !== undefined) problems.push(copy);
  const differs = differsProblem(group, input);
  if (differs !== undefined) problems.push(differs);
  const voter = voterProblem(group, input);
  if (voter !== undefined) problems.push(voter);
  for (const volume of group.volumes) {
    const [first] = volume.unreadable;
    if (first === undefined) continue;
    problems.push({
      code: 'blocks-unreadable',
      severity: 'error',
      group: name,
      text:
        `${volume.unreadableBytes} bytes of volume ${volume.name} can't be read on this site's ` +
        `disk, the first at byte ${first.offsetBytes}; reads of them fail until they are ` +
        'rewritten, by a client or from the other site when it is in sync',
    });
  }
  const checkpointAgeMs = input.nowMs - group.checkpointAtMs;
  if (group.checkpointAtMs > 0 && checkpointAgeMs > checkpointAgeMsMax) {
    const minutes = Math.floor(checkpointAgeMs / 60_000);
    problems.push({
      code: 'checkpoint-late',
      severity: 'warning',
      group: name,
      text: `the last checkpoint of "${name}" was ${minutes} minutes ago; log space is not freed`,
    });
  }
  const elsewhere =
    group.onPeerLoss === 'preferred' && primarySite !== undefined && primarySite !== preferredSite;
  if (elsewhere && preferredSite !== undefined) {
    problems.push({
      code: 'primary-not-preferred',
      severity: 'warning',
      group: name,
      text:
        `"${name}" is served by ${primarySite}, but only ${preferredSite} may go on alone: ` +
        `it would suspend if ${preferredSite} were lost`,
    });
  }
  return problems;
}

/** Everything that does not go on, or not as it should; errors first. Empty when all is well. */
export function healthProblems(input: HealthInput): HealthProblem[] {
  const problems = [
    ...siteProblems(input),
    ...registerProblem(input),
    ...certificateProblems(input),
    ...witnessProblems(input),
    ...input.groups.flatMap((group) => groupProblems(group, input)),
  ];
  const errors = problems.filter(({ severity }) => severity === 'error');
  return [...errors, ...problems.filter(({ severity }) => severity === 'warning')];
}

/** Why the site is not ready to serve all its volumes: none if it is. */
export function readinessProblems(input: HealthInput): HealthProblem[] {
  return healthProblems(input).filter(
    ({ code }) => code === 'not-serving' || code === 'log-failed',
  );
}
