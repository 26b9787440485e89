/**
 * Log lines: JSON on standard output, one child logger per component with fixed bindings. The only
 * file that imports pino. A message is a constant short sentence; values are fields with a unit.
 */

import type { DestinationStream, Level, Logger } from 'pino';
import { pino } from 'pino';

export type { Logger } from 'pino';

export interface LoggerOptions {
  readonly level: Level | 'silent';
  readonly site: string;
  /** Where lines go; standard output if absent. */
  readonly destination?: DestinationStream;
}

/** The site's logger; components get theirs by `logger.child({ component: 'nbd' })`. */
export function createLogger({ level, site, destination }: LoggerOptions): Logger {
  const settings = {
    level,
    base: { site },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  // Written synchronously: the last line before the process ends is the one that is wanted most.
  return pino(settings, destination ?? pino.destination({ fd: 1, sync: true }));
}
