/** What a command is, and how its arguments are read. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearestName } from '../config/nearest-name.ts';
import { usageError } from './errors.ts';
import type { ExitCode } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

export interface Command {
  /** As it is typed: "volume create". */
  readonly name: string;
  readonly summary: string;
  /** Everything `--help` shows: usage, options, examples. */
  readonly help: string;
  readonly run: (args: readonly string[], terminal: Terminal) => Promise<ExitCode>;
}

type Options = NonNullable<ParseArgsConfig['options']>;

/** How to find the daemon: options of every command that talks to one. */
export const daemonOptions = {
  api: { type: 'string' },
  config: { type: 'string' },
  'token-file': { type: 'string' },
  ca: { type: 'string' },
} as const;

export const daemonOptionsHelp = `  --config FILE  the daemon's configuration: asks at its Unix socket, else at its address
  --api URL      where the daemon's API listens (default: $CASEMATE_API, or http://127.0.0.1:9617)
  --token-file FILE  file with a token (default: $CASEMATE_TOKEN, or the file $CASEMATE_TOKEN_FILE)
  --ca FILE      authority of the daemon's certificate, for https (default: $CASEMATE_CA_FILE)`;

/** The option that a message of parseArgs is about. */
function optionIn(message: string): string | undefined {
  return /'(--[^'=\s]+|-[^'=\s])/.exec(message)?.[1];
}

function isParseError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && String(error.code).includes('_PARSE_ARGS_');
}

/** Options and positional arguments of a command. Throws ERR_USAGE for what it does not know. */
export function readArguments<Known extends Options>(
  command: string,
  args: readonly string[],
  options: Known,
  positionalNames: readonly string[],
) {
  const hint = `\`casemate ${command} --help\` shows how it is used.`;
  const parsed = parse(args, options, hint);
  const { positionals } = parsed;
  const required = positionalNames.filter((name) => !name.startsWith('['));
  const missing = required[positionals.length];
  if (missing !== undefined) throw usageError(`${missing} is missing`, hint);
  const extra = positionals[positionalNames.length];
  if (extra !== undefined) throw usageError(`"${extra}" is one argument too many`, hint);
  return parsed;
}

function parse<Known extends Options>(args: readonly string[], options: Known, hint: string) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    if (!isParseError(error)) throw error;
    const option = optionIn(error.message);
    const isUnknown = error.code.endsWith('_UNKNOWN_OPTION') && option !== undefined;
    if (!isUnknown) throw usageError(error.message.replace(/\.? To specify.*/s, ''), hint);
    const nearest = nearestName(option.replace(/^-+/, ''), Object.keys(options));
    const meant = nearest === undefined ? hint : `Did you mean --${nearest}?`;
    throw usageError(`there is no option ${option}`, meant);
  }
}
