/** `casemate resolve`: ends a split by giving one side up. */
import { resolvedSchema, volumeDetailSchema } from '../api/schemas.ts';
import { volumePath } from './api-client.ts';
import { type Command, daemonOptions, daemonOptionsHelp, readArguments } from './command.ts';
import { confirmByName } from './confirm.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { findDaemon } from './find-daemon.ts';
import { splitText } from './split-text.ts';
import { firstOf } from './volume-commands.ts';

export const resolveCommand: Command = {
  name: 'resolve',
  summary: 'end a split: give the changes of one site up',
  help: `Usage: casemate resolve VOLUME --drop SITE [--yes]

After a forced promotion both sites may have changes that the other one lacks: a split. This ends
it for all volumes of the volume's group: SITE stops serving them, keeps what it had changed in a
directory of its data directory, and becomes a copy of the other site, which goes on. Both sites
have to be connected; it may be given at either one. Shows what each site has changed first, then
asks to type the volume's name.

  --drop SITE    the site whose changes are given up
  --yes          do not ask
${daemonOptionsHelp}

Example:
  casemate resolve vm-1 --drop lux-2
`,
  run: async (args, terminal) => {
    const options = {
      ...daemonOptions,
      drop: { type: 'string' },
      yes: { type: 'boolean' },
    } as const;
    const { values, positionals } = readArguments('resolve', args, options, ['VOLUME']);
    const name = firstOf(positionals);
    const { drop } = values;
    if (drop === undefined) {
      throw usageError(
        '--drop is missing',
        'It names the site whose changes since the split are given up.',
      );
    }
    const daemon = findDaemon(values, terminal);
    const { group } = await daemon.get(volumePath(name), volumeDetailSchema);
    terminal.write(splitText(group));
    if (values.yes !== true) {
      const names = group.volumes.map((volume) => volume.name).join(', ');
      const what = `This gives up what ${drop} has changed in ${names} since the split`;
      await confirmByName(terminal, { name, what });
    }
    const path = volumePath(name, '/resolve');
    const { site, directory, done } = await daemon.change('POST', path, { drop }, resolvedSchema);
    const kept = done ? 'is kept' : 'is being copied';
    terminal.write(`the side of ${site} is given up; what it had changed ${kept} there in\n`);
    terminal.write(`  ${directory}\n`);
    terminal.write(`${site} becomes a copy of the other site: \`casemate status\` shows how far\n`);
    return exitCodes.ok;
  },
};
