/**
 * Reading the configuration again while the daemon runs: what can change at once is changed, what
 * can't is named, and a file that can't be used changes nothing.
 */
import { isDeepStrictEqual } from 'node:util';
import { CasemateError } from './errors.ts';
import type { Logger, LogLevel } from './logger.ts';

/** The part of a configuration, of a site or a witness, that a running daemon takes over. */
export interface Reloadable {
  readonly logging: { readonly level: LogLevel };
}

/** Keys, and tables, that take effect at once; all others need a restart. */
const reloadedKeys = ['logging.level', 'api.tokens'];

const isReloaded = (key: string): boolean =>
  reloadedKeys.some((each) => key === each || key.startsWith(`${each}.`));

export interface ReloadOptions<Configuration extends Reloadable> {
  /** What the daemon runs with. */
  readonly running: Configuration;
  /** Reads and checks the file. */
  readonly reread: () => Configuration;
  /** Takes over what can be. */
  readonly apply: (config: Configuration) => void;
  readonly logger: Logger;
}

/** Reads the file and takes over what can be; gives what came of it, in one sentence. */
export function reloadConfig<Configuration extends Reloadable>(
  options: ReloadOptions<Configuration>,
): string {
  const { running, reread, apply, logger } = options;
  let config: Configuration;
  try {
    config = reread();
  } catch (error) {
    if (!(error instanceof CasemateError)) throw error;
    logger.error({ err: error }, 'the configuration was not reloaded');
    return `Not reloaded: ${error.message.replace(/\s+/g, ' ')}`;
  }
  apply(config);
  const waiting = changedKeys(running, config).filter((key) => !isReloaded(key));
  if (waiting.length === 0) {
    logger.info('configuration reloaded');
    return 'Configuration reloaded';
  }
  logger.warn({ keys: waiting }, 'configuration reloaded; some keys take effect at a restart only');
  return `Configuration reloaded; needs a restart: ${waiting.join(', ')}`;
}

/** The keys, as in the README, whose values differ. */
function changedKeys(from: object, to: object, prefix = ''): string[] {
  const [before, after] = [new Map(Object.entries(from)), new Map(Object.entries(to))];
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((key) => {
    const [old, now]: readonly unknown[] = [before.get(key), after.get(key)];
    if (isTable(old) && isTable(now)) return changedKeys(old, now, `${prefix}${key}.`);
    return isDeepStrictEqual(old, now) ? [] : [`${prefix}${key}`];
  });
}

function isTable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
