/** Whether what runs is what is installed, on a Node.js that it was made for. */
import { softwareVersion } from '../version.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Running } from './running.ts';

const { ok, warning, error } = findingsOf('versions');

const nodeMajorLeast = 20;

/** `nodeVersion` as `process.versions.node` gives it. */
export function checkVersions(running: Running, nodeVersion: string): Finding[] {
  const major = Number(nodeVersion.split('.')[0]);
  if (major < nodeMajorLeast) {
    const text = `Node.js is ${nodeVersion}`;
    return [error(text, `Use Node.js ${nodeMajorLeast} or newer; the package brings its own.`)];
  }
  const versionThere = running.kind === 'running' ? running.version : undefined;
  if (versionThere !== undefined && versionThere !== softwareVersion) {
    const text = `the daemon that runs is ${versionThere}, installed is ${softwareVersion}`;
    return [warning(text, 'Restart one site, wait until it is in sync, then the other one.')];
  }
  return [ok(`Casemate ${softwareVersion} on Node.js ${nodeVersion}`)];
}
