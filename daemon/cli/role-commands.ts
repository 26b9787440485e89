/** `casemate switchover` and `casemate promote`: who is primary. */
import { evidenceSchema, volumeDetailSchema } from '../api/schemas.ts';
import { volumePath } from './api-client.ts';
import { type Command, daemonOptions, daemonOptionsHelp, readArguments } from './command.ts';
import { confirmByName } from './confirm.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { findDaemon } from './find-daemon.ts';
import { evidenceText } from './promotion-text.ts';
import { firstOf } from './volume-commands.ts';

export const switchoverCommand: Command = {
  name: 'switchover',
  summary: "make the other site primary of a volume's group",
  help: `Usage: casemate switchover VOLUME

Makes the other site primary of the volume's group: clients see one short pause and no error. Both
sites have to be connected and in sync; nothing is lost.

${daemonOptionsHelp}

Example:
  casemate switchover vm-1
`,
  run: async (args, terminal) => {
    const { values, positionals } = readArguments('switchover', args, daemonOptions, ['VOLUME']);
    const path = volumePath(firstOf(positionals), '/switchover');
    const daemon = findDaemon(values, terminal);
    const { volume, group } = await daemon.change('POST', path, {}, volumeDetailSchema);
    const primary = group.primarySite ?? 'the other site';
    terminal.write(`${primary} is primary of "${volume.name}" now (epoch ${group.epoch})\n`);
    return exitCodes.ok;
  },
};

export const promoteCommand: Command = {
  name: 'promote',
  summary: 'make this site primary by force, when the other one is lost',
  help: `Usage: casemate promote VOLUME --force [--yes]

Makes this site primary of the volume's group whatever the other one does. Only for when the other
site is lost: if it still serves clients, the two copies split. Shows what is known about the
copies first, then asks to type the volume's name.

  --force        required: says that a switchover is not what is wanted
  --yes          do not ask
${daemonOptionsHelp}

Example:
  casemate promote vm-1 --force
`,
  run: async (args, terminal) => {
    const boolean = { type: 'boolean' } as const;
    const options = { ...daemonOptions, force: boolean, yes: boolean };
    const { values, positionals } = readArguments('promote', args, options, ['VOLUME']);
    const name = firstOf(positionals);
    if (values.force !== true) {
      throw usageError(
        'promoting a site can split the copies and has to be asked for with --force',
        `While both sites answer, \`casemate switchover ${name}\` is the safe way.`,
      );
    }
    const daemon = findDaemon(values, terminal);
    const path = volumePath(name, '/promotion');
    const evidence = await daemon.get(path, evidenceSchema);
    terminal.write(evidenceText(evidence));
    if (values.yes !== true) {
      const what = `This makes ${evidence.thisSite} primary by force`;
      await confirmByName(terminal, { name, what });
    }
    const { confirmation } = evidence;
    const { group } = await daemon.change('POST', path, { confirmation }, volumeDetailSchema);
    terminal.write(`${evidence.thisSite} is primary of "${name}" now (epoch ${group.epoch})\n`);
    return exitCodes.ok;
  },
};
