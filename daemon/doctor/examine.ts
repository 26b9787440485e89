/**
 * All checks of one configuration file, one after the other and each bounded in time. Nothing is
 * changed, and a daemon that runs is only asked.
 */

import type { Network } from '../../replication/link/network.ts';
import { ConfigError, loadConfig, readConfigFile } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import { CasemateError } from '../errors.ts';
import { createLogger } from '../logger.ts';
import { systemClock } from '../system-clock.ts';
import { systemNetwork } from '../system-network.ts';
import { siteWiring } from '../tls-wiring.ts';
import { loadWitnessConfig, type WitnessConfig } from '../witness/witness-config.ts';
import { checkCertificates } from './check-certificates.ts';
import { checkClock } from './check-clock.ts';
import { checkSiteConfig, checkWitnessConfig } from './check-config.ts';
import { checkDirectories } from './check-directories.ts';
import { checkDisk } from './check-disk.ts';
import { checkFiles } from './check-files.ts';
import { checkLimits } from './check-limits.ts';
import { checkPorts } from './check-ports.ts';
import { checkReach } from './check-reach.ts';
import { checkVersions } from './check-versions.ts';
import { type CheckName, type Finding, findingsOf, wordsOf } from './finding.ts';
import type { Running } from './running.ts';
import { type Subject, siteSubject, witnessSubject } from './subject.ts';

/** No check takes longer; those that ask somebody give up earlier by themselves. */
const checkMsMax = 20_000;

export interface Examined {
  /** Undefined if the configuration can't be used: then nothing else is looked at. */
  readonly subject: Pick<Subject, 'kind' | 'name'> | undefined;
  /** Undefined if that was not looked at. */
  readonly running: Running['kind'] | undefined;
  readonly findings: readonly Finding[];
}

/** A configuration that can be used. */
export type Loaded =
  | { readonly kind: 'site'; readonly config: Config }
  | { readonly kind: 'witness'; readonly config: WitnessConfig };

/** `askDaemon` finds out whether the daemon of this configuration runs. */
export async function examine(
  configPath: string,
  askDaemon: (loaded: Loaded) => Promise<Running>,
): Promise<Examined> {
  let loaded: Loaded;
  try {
    loaded = load(configPath);
  } catch (reason) {
    if (!(reason instanceof ConfigError)) throw reason;
    const { error } = findingsOf('config');
    const advice = 'Correct the file; the README lists all keys with their defaults.';
    const findings = reason.problems.map((problem) => error(problem, advice));
    return { subject: undefined, running: undefined, findings };
  }
  const subject =
    loaded.kind === 'site'
      ? siteSubject(loaded.config, configPath)
      : witnessSubject(loaded.config, configPath);
  const running = await within(askDaemon(loaded), { kind: 'unclear', text: 'it does not answer' });
  const findings: Finding[] = [];
  for (const [name, check] of checksOf(loaded, subject, running)) {
    findings.push(...(await bounded(name, check)));
  }
  return { subject, running: running.kind, findings };
}

/** A witness's file is told by its table of clusters, which a site's never has. */
function load(configPath: string): Loaded {
  const isWitness = /^\s*\[\s*clusters\s*[.\]]/m.test(readConfigFile(configPath).text);
  return isWitness
    ? { kind: 'witness', config: loadWitnessConfig(configPath) }
    : { kind: 'site', config: loadConfig(configPath) };
}

type Check = () => readonly Finding[] | Promise<readonly Finding[]>;

function checksOf(loaded: Loaded, subject: Subject, running: Running): [CheckName, Check][] {
  const register = loaded.kind === 'site' ? loaded.config.register : undefined;
  return [
    [
      'config',
      () =>
        loaded.kind === 'site' ? checkSiteConfig(loaded.config) : checkWitnessConfig(loaded.config),
    ],
    ['files', () => checkFiles(subject)],
    ['directories', () => checkDirectories(subject, running)],
    ['ports', () => checkPorts(subject, running)],
    ['clock', () => checkClock(register)],
    ['certificates', () => checkCertificates(subject)],
    ['reach', () => reach(loaded, subject, running)],
    ['versions', () => checkVersions(running, process.versions.node)],
    ['limits', () => checkLimits(subject, running)],
    ['disk', () => checkDisk(subject, running)],
  ];
}

async function reach(loaded: Loaded, subject: Subject, running: Running): Promise<Finding[]> {
  let network: Network = systemNetwork;
  if (loaded.kind === 'site') {
    try {
      network = siteWiring(loaded.config, silentLogger(subject)).network;
    } catch (reason) {
      if (!(reason instanceof CasemateError)) throw reason;
      const { error } = findingsOf('reach');
      const text = 'nobody can be reached before the certificates can be used';
      return [error(text, `${reason.message}. ${reason.hint ?? ''}`.trim())];
    }
  }
  return await checkReach(subject, running, network);
}

const silentLogger = ({ name }: Subject) => createLogger({ level: 'silent', site: name });

async function bounded(name: CheckName, check: Check): Promise<readonly Finding[]> {
  const { warning, error } = findingsOf(name);
  const advice = 'Look at the load of this machine and at its kernel log (`dmesg`).';
  const late = warning(`this check was not done within ${checkMsMax / 1000} s`, advice);
  try {
    return await within((async () => await check())(), [late]);
  } catch (reason) {
    if (reason instanceof Error && reason.name === 'AssertionError') throw reason;
    return [error(`this check can't be done: ${wordsOf(reason)}`, advice)];
  }
}

/** What it resolves with, or `otherwise` if that takes too long. */
function within<Result>(work: Promise<Result>, otherwise: Result): Promise<Result> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.setTimer(checkMsMax, () => resolve(otherwise));
    work.then(resolve, reject).finally(cancel);
  });
}
