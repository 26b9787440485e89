/** The `casemate` command: finds the command that was typed, runs it, shows its error. */
import { nearestName } from '../config/nearest-name.ts';
import { softwareVersion } from '../version.ts';
import type { Command } from './command.ts';
import { demoCommand, runCommand, witnessCommand } from './daemon-commands.ts';
import { doctorCommand } from './doctor-command.ts';
import { errorText, exitCodeOf, usageError } from './errors.ts';
import { type ExitCode, exitCodes, exitCodesHelp } from './exit-codes.ts';
import { initCommand } from './init-command.ts';
import {
  pkiInitCommand,
  pkiIssueCommand,
  pkiRenewCommand,
  pkiShowCommand,
} from './pki-commands.ts';
import { resolveCommand } from './resolve-command.ts';
import { promoteCommand, switchoverCommand } from './role-commands.ts';
import { eventsCommand, statusCommand, whyCommand } from './site-commands.ts';
import type { Terminal } from './terminal.ts';
import { tokenCreateCommand } from './token-command.ts';
import {
  createCommand,
  deleteCommand,
  listCommand,
  resizeCommand,
  showCommand,
} from './volume-commands.ts';

export const commands: readonly Command[] = [
  runCommand,
  witnessCommand,
  demoCommand,
  initCommand,
  doctorCommand,
  statusCommand,
  whyCommand,
  eventsCommand,
  createCommand,
  listCommand,
  showCommand,
  resizeCommand,
  deleteCommand,
  switchoverCommand,
  promoteCommand,
  resolveCommand,
  tokenCreateCommand,
  pkiInitCommand,
  pkiIssueCommand,
  pkiRenewCommand,
  pkiShowCommand,
];

const helpHint = '`casemate --help` lists the commands.';

function commandList(list: readonly Command[]): string {
  const width = Math.max(...list.map(({ name }) => name.length));
  return list.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join('');
}

function overview(): string {
  return `Usage: casemate COMMAND [ARGUMENTS]

Casemate keeps block volumes on two sites at once: every write is on both before it is answered.

Commands:
${commandList(commands)}
\`casemate COMMAND --help\` explains a command; \`casemate --version\` tells the version.

Examples:
  casemate run --config /etc/casemate/lux-1.toml
  casemate volume create vm-1 --size 40GiB
  casemate status

${exitCodesHelp}`;
}

/** Help on all commands that begin with a word, as in `casemate volume --help`. */
function familyHelp(word: string, family: readonly Command[]): string {
  return `Usage: casemate ${word} COMMAND [ARGUMENTS]

Commands:
${commandList(family)}
Example:
  casemate ${family[0]?.name ?? word} --help
`;
}

const wantsHelp = (args: readonly string[]): boolean =>
  args.some((arg) => arg === '--help' || arg === '-h');

function unknownCommand(typed: string, known: readonly string[]): Error {
  const nearest = nearestName(typed, known);
  const hint = nearest === undefined ? helpHint : `Did you mean \`casemate ${nearest}\`?`;
  return usageError(`there is no command "${typed}"`, hint);
}

async function dispatch(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [first, second] = args;
  if (first === '--version' || first === '-V') {
    terminal.write(`casemate ${softwareVersion}\n`);
    return exitCodes.ok;
  }
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    terminal.write(overview());
    return first === undefined ? exitCodes.usage : exitCodes.ok;
  }
  const command =
    commands.find(({ name }) => name === first) ??
    commands.find(({ name }) => name === `${first} ${second}`);
  if (command !== undefined) {
    const rest = args.slice(command.name.split(' ').length);
    if (!wantsHelp(rest)) return await command.run(rest, terminal);
    terminal.write(command.help);
    return exitCodes.ok;
  }
  const family = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (family.length > 0 && (second === undefined || wantsHelp(args))) {
    terminal.write(familyHelp(first, family));
    return wantsHelp(args) ? exitCodes.ok : exitCodes.usage;
  }
  const names = (family.length > 0 ? family : commands).map(({ name }) => name);
  throw unknownCommand(family.length > 0 ? `${first} ${second}` : first, names);
}

/** Runs what was typed after `casemate`; shows errors on the terminal and gives the exit code. */
export async function runCommandLine(
  args: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  try {
    return await dispatch(args, terminal);
  } catch (error) {
    terminal.writeError(errorText(error));
    return exitCodeOf(error);
  }
}
