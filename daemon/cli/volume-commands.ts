/** `casemate volume create | list | show | resize | delete`. */
import {
  siteStatusSchema,
  volumeDetailSchema,
  volumeListSchema,
  volumeStatusSchema,
} from '../api/schemas.ts';
import { formatSize, parseSize, sizeForm } from '../config/sizes.ts';
import { CasemateError } from '../errors.ts';
import { volumePath } from './api-client.ts';
import { alignColumns } from './columns.ts';
import { type Command, daemonOptions, daemonOptionsHelp, readArguments } from './command.ts';
import { confirmByName } from './confirm.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { findDaemon } from './find-daemon.ts';
import { volumeText } from './status-text.ts';

const string = { type: 'string' } as const;
const boolean = { type: 'boolean' } as const;

/** The first positional argument, which `readArguments` has found to be there. */
export function firstOf(positionals: readonly string[]): string {
  const [first] = positionals;
  if (first === undefined) throw new Error('the arguments were checked');
  return first;
}

function readSize(text: string | undefined): number {
  if (text === undefined) throw usageError('--size is missing', `A size is ${sizeForm}.`);
  const bytes = parseSize(text);
  if (bytes === undefined) throw usageError(`--size is "${text}"`, `A size is ${sizeForm}.`);
  if (bytes < 512 || bytes % 512 !== 0) {
    throw usageError(`--size is ${bytes} bytes`, 'A volume is a multiple of 512 bytes.');
  }
  return bytes;
}

function readOnPeerLoss(text: string | undefined): 'suspend' | 'preferred' | undefined {
  if (text === undefined || text === 'suspend' || text === 'preferred') return text;
  throw usageError(`--on-peer-loss is "${text}"`, 'It is "suspend" or "preferred".');
}

export const createCommand: Command = {
  name: 'volume create',
  summary: 'create a volume on both sites',
  help: `Usage: casemate volume create NAME --size SIZE [options]

Creates a volume on both sites; done when both are in sync.

  --size SIZE            such as 10GiB or 512MiB
  --group GROUP          keep one order of writes with the other volumes of this group
  --on-peer-loss WHAT    without the peer: "suspend" (hold I/O) or "preferred" (go on alone)
  --preferred-site SITE  the site that goes on alone
${daemonOptionsHelp}

Examples:
  casemate volume create vm-1 --size 40GiB
  casemate volume create db-log --size 10GiB --group db
  casemate volume create scratch --size 1TiB --on-peer-loss preferred --preferred-site lux-1
`,
  run: async (args, terminal) => {
    const options = {
      ...daemonOptions,
      size: string,
      group: string,
      'on-peer-loss': string,
      'preferred-site': string,
    };
    const { values, positionals } = readArguments('volume create', args, options, ['NAME']);
    const request = {
      name: firstOf(positionals),
      sizeBytes: readSize(values.size),
      group: values.group,
      onPeerLoss: readOnPeerLoss(values['on-peer-loss']),
      preferredSite: values['preferred-site'],
    };
    const daemon = findDaemon(values, terminal);
    const volume = await daemon.change('POST', '/v1/volumes', request, volumeStatusSchema);
    terminal.write(`volume "${volume.name}" of ${formatSize(volume.sizeBytes)} is created\n`);
    for (const uri of volume.exportUri) terminal.write(`  ${uri}\n`);
    return exitCodes.ok;
  },
};

export const listCommand: Command = {
  name: 'volume list',
  summary: 'list the volumes',
  help: `Usage: casemate volume list [--json]

Lists the volumes with their sizes and where clients find them.

  --json         as JSON
${daemonOptionsHelp}

Example:
  casemate volume list
`,
  run: async (args, terminal) => {
    const options = { ...daemonOptions, json: boolean };
    const { values } = readArguments('volume list', args, options, []);
    const daemon = findDaemon(values, terminal);
    const { volumes } = await daemon.get('/v1/volumes', volumeListSchema);
    if (values.json === true) {
      terminal.write(`${JSON.stringify(volumes, null, 2)}\n`);
      return exitCodes.ok;
    }
    const rows = volumes.map(({ name, group, sizeBytes, exportUri }) => [
      name,
      group,
      formatSize(sizeBytes),
      exportUri[0] ?? '',
    ]);
    const table = alignColumns([['VOLUME', 'GROUP', 'SIZE', 'EXPORT'], ...rows], [2]);
    terminal.write(rows.length === 0 ? 'no volumes yet\n' : table);
    return exitCodes.ok;
  },
};

export const showCommand: Command = {
  name: 'volume show',
  summary: 'show one volume in full',
  help: `Usage: casemate volume show NAME [--json]

Shows one volume: size, role, copies, clients, where it is exported.

  --json         the volume and its group as JSON
${daemonOptionsHelp}

Example:
  casemate volume show vm-1
`,
  run: async (args, terminal) => {
    const options = { ...daemonOptions, json: boolean };
    const { values, positionals } = readArguments('volume show', args, options, ['NAME']);
    const name = firstOf(positionals);
    const daemon = findDaemon(values, terminal);
    if (values.json === true) {
      const detail = await daemon.get(volumePath(name), volumeDetailSchema);
      terminal.write(`${JSON.stringify(detail, null, 2)}\n`);
      return exitCodes.ok;
    }
    const { groups, nowMs } = await daemon.get('/v1/status', siteStatusSchema);
    const group = groups.find(({ volumes }) => volumes.some((each) => each.name === name));
    if (group === undefined) {
      throw new CasemateError('ERR_NO_SUCH_VOLUME', `there is no volume "${name}"`, {
        hint: '`casemate volume list` shows the volumes there are.',
      });
    }
    terminal.write(volumeText(name, group, nowMs));
    return exitCodes.ok;
  },
};

export const resizeCommand: Command = {
  name: 'volume resize',
  summary: 'grow a volume',
  help: `Usage: casemate volume resize NAME --size SIZE

Grows a volume on both sites. Clients see the new size when they connect anew.

  --size SIZE    the new size, such as 80GiB
${daemonOptionsHelp}

Example:
  casemate volume resize vm-1 --size 80GiB
`,
  run: async (args, terminal) => {
    const options = { ...daemonOptions, size: string };
    const { values, positionals } = readArguments('volume resize', args, options, ['NAME']);
    const sizeBytes = readSize(values.size);
    const path = volumePath(firstOf(positionals));
    const daemon = findDaemon(values, terminal);
    const volume = await daemon.change('PATCH', path, { sizeBytes }, volumeStatusSchema);
    terminal.write(`volume "${volume.name}" has ${formatSize(volume.sizeBytes)} now\n`);
    return exitCodes.ok;
  },
};

export const deleteCommand: Command = {
  name: 'volume delete',
  summary: 'delete a volume and its data on both sites',
  help: `Usage: casemate volume delete NAME [--yes]

Deletes a volume and its data on both sites. Asks to type the volume's name first.

  --yes          do not ask
${daemonOptionsHelp}

Example:
  casemate volume delete scratch
`,
  run: async (args, terminal) => {
    const options = { ...daemonOptions, yes: boolean };
    const { values, positionals } = readArguments('volume delete', args, options, ['NAME']);
    const name = firstOf(positionals);
    const daemon = findDaemon(values, terminal);
    if (values.yes !== true) {
      const { volume } = await daemon.get(volumePath(name), volumeDetailSchema);
      const size = formatSize(volume.allocatedBytes);
      const what = `This deletes volume "${name}" with ${size} of data on both sites`;
      await confirmByName(terminal, { name, what });
    }
    await daemon.delete(volumePath(name));
    terminal.write(`volume "${name}" is deleted\n`);
    return exitCodes.ok;
  },
};
