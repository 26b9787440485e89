/** Who may read keys and passwords, and who may change what the daemon is told to do. */
import { fileFacts, type HostUser, ownUserId, userName } from '../system-host.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('files');

const othersMayUse = 0o007;
const othersMayWrite = 0o002;
const groupMayWrite = 0o020;

export function checkFiles(subject: Subject): Finding[] {
  const found = [
    ...configFindings(subject),
    ...subject.secrets.flatMap(({ key, path }) => secretFindings(key, path, subject.user)),
  ];
  if (found.length > 0) return found;
  const secrets = subject.secrets.length;
  const text = secrets === 0 ? 'no keys or passwords are used' : 'keys and passwords are private';
  return [ok(`only their owner can change the configuration; ${text}`)];
}

function configFindings({ configPath: path, user }: Subject): Finding[] {
  const facts = fileFacts(path, user);
  if (facts?.readable === false) {
    const who = userName(user?.userId ?? ownUserId());
    const text = `the configuration ${path} can't be read by ${who}`;
    return [error(text, `Run: chgrp ${who} ${path}; chmod 0640 ${path}`)];
  }
  if (facts === undefined || (facts.mode & (othersMayWrite | groupMayWrite)) === 0) return [];
  const who = (facts.mode & othersMayWrite) !== 0 ? 'every user' : 'its group';
  const text = `${who} can change the configuration ${path} (mode ${modeText(facts.mode)})`;
  const make = (facts.mode & othersMayWrite) !== 0 ? error : warning;
  return [make(text, `Run: chmod go-w ${path}`)];
}

function secretFindings(key: string, path: string, user: HostUser | undefined): Finding[] {
  const facts = fileFacts(path, user);
  if (facts === undefined) {
    const advice = `Put the file there, or correct ${key} in the configuration.`;
    return [error(`the file that ${key} names is not there: ${path}`, advice)];
  }
  const found: Finding[] = [];
  if ((facts.mode & othersMayUse) !== 0) {
    const text = `every user can use ${path} (${key}, mode ${modeText(facts.mode)})`;
    found.push(error(text, `Run: chmod 0600 ${path}; if somebody may have read it, renew it.`));
  }
  if (!facts.readable) {
    const who = userName(user?.userId ?? ownUserId());
    const text = `${path} (${key}) can't be read by ${who}; it is ${userName(facts.userId)}'s`;
    const advice =
      user === undefined
        ? 'Run the doctor as the user of the daemon, or give that user the file.'
        : `Run: chown ${who} ${path}; chmod 0600 ${path}`;
    found.push(error(text, advice));
  }
  return found;
}

/** Permission bits as `chmod` takes them. */
export function modeText(mode: number): string {
  return `0${(mode & 0o777).toString(8).padStart(3, '0')}`;
}
