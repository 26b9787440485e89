/** The data directory and the places of the Unix sockets: there, private, and writable. */
import { dirname } from 'node:path';
import { fileFacts, type HostUser, nearestExisting, ownUserId, userName } from '../system-host.ts';
import { isServedSocket } from '../system-port-probe.ts';
import { modeText } from './check-files.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Running } from './running.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('directories');

export async function checkDirectories(subject: Subject, running: Running): Promise<Finding[]> {
  const found = dataDirectoryFindings(subject.dataDirectory, subject.user);
  for (const socket of subject.sockets) found.push(...(await socketFindings(socket, running)));
  return found;
}

function dataDirectoryFindings(path: string, user: HostUser | undefined): Finding[] {
  const facts = fileFacts(path, user);
  if (facts === undefined) {
    const above = nearestExisting(path);
    if (fileFacts(above)?.kind === 'directory' && fileFacts(above)?.writable === true) {
      return [ok(`the data directory ${path} is not there yet; it can be made`)];
    }
    const text = `the data directory ${path} is not there, and can't be made in ${above}`;
    return [error(text, 'Make it for the user of the daemon, with mode 0700.')];
  }
  if (facts.kind !== 'directory') {
    return [error(`${path} is no directory`, 'Set dataDirectory to a directory.')];
  }
  const owner = userName(facts.userId);
  // Root may write everywhere: whether the owner may is what counts then.
  const ownerMayWrite = (facts.mode & 0o300) === 0o300;
  if (!facts.writable || !ownerMayWrite) {
    const text =
      `nothing can be written to the data directory ${path} by ` +
      `${ownerMayWrite ? userName(user?.userId ?? ownUserId()) : 'its owner'} ` +
      `(it is ${owner}'s, mode ${modeText(facts.mode)})`;
    const advice = `Run as the daemon's user; or: chown casemate ${path}; chmod 0700 ${path}`;
    return [error(text, advice)];
  }
  if ((facts.mode & 0o022) !== 0) {
    const text = `others can write to the data directory ${path} (mode ${modeText(facts.mode)})`;
    return [error(text, `Run: chmod 0700 ${path}`)];
  }
  return [ok(`the data directory ${path} is ${owner}'s and can be written to`)];
}

type SocketPlace = Subject['sockets'][number];

async function socketFindings(socket: SocketPlace, running: Running): Promise<Finding[]> {
  const { key, what, path } = socket;
  const facts = fileFacts(path);
  if (facts !== undefined && facts.kind !== 'socket') {
    return [error(`${path} is in the way: it is no socket`, `Move it away, or set ${key}.`)];
  }
  const directory = dirname(path);
  const place = fileFacts(directory);
  if (place === undefined || place.kind !== 'directory') {
    const above = fileFacts(nearestExisting(directory));
    // The data directory is made by the daemon, one in /run by systemd when it starts it.
    if (running.kind !== 'running' && (above?.writable === true || directory.startsWith('/run/'))) {
      return [ok(`the directory of the ${what} socket, ${directory}, is made at the start`)];
    }
    return [error(`there is no directory ${directory} for the ${what} socket`, `Set ${key}.`)];
  }
  if (!place.writable) {
    const text = `this user can't make the ${what} socket in ${directory}`;
    return [error(text, `Run the doctor as the daemon's user, or set ${key}.`)];
  }
  if (running.kind === 'running') return [runningSocket(socket, facts !== undefined)];
  if (facts !== undefined && (await isServedSocket(path))) {
    const text = `another process serves the ${what} socket ${path}`;
    return [error(text, `Stop it, or choose another path with ${key}.`)];
  }
  return [ok(`the ${what} socket ${path} can be made`)];
}

function runningSocket({ key, what, path }: SocketPlace, there: boolean): Finding {
  if (there) return ok(`the ${what} socket ${path} is there`);
  const advice = `Restart the daemon: the file was removed, or ${key} has changed since its start.`;
  return warning(`the daemon runs, and the ${what} socket ${path} is not there`, advice);
}
