/**
 * Log lines: JSON on standard output, one child logger per component with fixed bindings. The only
 * file that imports pino. A message is a constant short sentence; values are fields with a unit.
 */

import type { DestinationStream, Level, Logger } from 'pino';
import { pino } from 'pino';

export type { Logger } from 'pino';

export type LogLevel = Level | 'silent';

const unwrittenBytesMax = 1024 * 1024;

/** The children of each site's logger, which keep levels of their own. */
const children = new WeakMap<Logger, Logger[]>();

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly site: string;
  /** Where lines go; standard output if absent. */
  readonly destination?: DestinationStream;
}

/** The site's logger; components get theirs by `logger.child({ component: 'nbd' })`. */
export function createLogger({ level, site, destination }: LoggerOptions): Logger {
  const components: Logger[] = [];
  const settings = {
    level,
    base: { site },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    onChild: (child: Logger) => components.push(child),
  };
  const logger = pino(settings, destination ?? standardOutput());
  children.set(logger, components);
  return logger;
}

/**
 * Written synchronously: the last line before the process ends is the one that is wanted most.
 * What can't be written (the disk of a log file is full, nobody reads a pipe) is kept up to a limit
 * and written later, then lost: no reason to stop serving.
 */
function standardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true, maxLength: unwrittenBytesMax });
  output.on('error', () => undefined);
  return output;
}

/** Changes the least severe line that a logger made here, and its components, write. */
export function setLogLevel(logger: Logger, level: LogLevel): void {
  for (const each of [logger, ...(children.get(logger) ?? [])]) each.level = level;
}
