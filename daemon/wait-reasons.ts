/**
 * For each reason why a group does not serve: what clears it, and a command that is safe to give
 * while it lasts. The same words in `why`, `status`, the API and the log. Forcing is never among
 * the safe commands: `casemate promote` shows what it would give up, and that has to be weighed.
 */
import type { WaitReason } from '../replication/core/events.ts';

export type WaitCode = WaitReason['code'] | 'disk-full' | 'log-full';

export interface WaitAdvice {
  /** What ends the wait, to follow "I/O resumes" in a sentence. */
  readonly clears: string;
  /** VOLUME stands for the name of one of the group's volumes. */
  readonly command: string | undefined;
}

export const waitReasons: Readonly<Record<WaitCode, WaitAdvice>> = {
  starting: {
    clears:
      'by itself when this site has recovered its log, and enough of the others answer to tell ' +
      'who is primary',
    command: undefined,
  },
  secondary: {
    clears:
      'by itself when the primary is connected again; while that one runs, clients are served there',
    command: 'casemate status',
  },
  'peer-lost': {
    clears:
      'by itself when the other site answers again, or the witness or etcd where there is one; ' +
      'if none of them comes back, only a forced promotion goes on without them',
    command: 'casemate events --limit 20',
  },
  'swap-pending': {
    clears: 'by itself when the register (etcd, or enough of the voters) answers who is primary',
    command: 'casemate status',
  },
  grace: {
    clears: 'by itself when it is certain that the other site answers nobody any more',
    command: undefined,
  },
  'epoch-start': {
    clears: 'by itself when every site that is in sync has what this one has',
    command: undefined,
  },
  switchover: {
    clears: 'by itself when the other site has taken over, or has not and this site goes on',
    command: undefined,
  },
  split: {
    clears:
      'when the copy of one site is given up: both have changes that the other lacks. ' +
      'Which one is right has to be decided by a person, and `casemate resolve` carries it out',
    command: 'casemate status',
  },
  resolving: {
    clears:
      'by itself when both sites are connected: this side was given up and becomes a copy of the ' +
      'other one, which serves its clients as soon as it follows',
    command: 'casemate status',
  },
  damaged: {
    clears:
      'when this copy has got from the other site what it lacks: start that one, and if this ' +
      'lasts, restart this daemon while both are connected. If the other copy is whole, clients ' +
      'are served there meanwhile. If it is lost for good, a forced promotion goes on with what ' +
      'is here',
    command: 'casemate events --limit 20',
  },
  inconsistent: {
    clears: 'when this copy has been replaced as a whole; until then it is no image of the volume',
    command: 'casemate status',
  },
  'log-failed': {
    clears:
      'when the disk of the log or the data files has been checked and the daemon restarted; ' +
      'the other site goes on if it was in sync',
    command: 'casemate events --limit 20',
  },
  lease: {
    clears: 'by itself with the next answer of the other site',
    command: undefined,
  },
  removed: {
    clears: 'never: the group was deleted',
    command: 'casemate volume list',
  },
  'disk-full': {
    clears: 'by itself when the file system of the data directory has room again',
    command: 'df -h',
  },
  'log-full': {
    clears: 'by itself when a checkpoint, or the answer of the other site, has freed log space',
    command: 'casemate status',
  },
};
