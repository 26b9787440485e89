/** `casemate status`, `why` and `events`: how a site stands. */
import { eventsSchema, siteStatusSchema, whySchema } from '../api/schemas.ts';
import { callerText } from '../caller.ts';
import { nearestName } from '../config/nearest-name.ts';
import { CasemateError } from '../errors.ts';
import { coloured } from './colour.ts';
import { alignColumns } from './columns.ts';
import { type Command, daemonOptions, daemonOptionsHelp, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { findDaemon } from './find-daemon.ts';
import { statusText, whyText } from './status-text.ts';
import { watch } from './watch.ts';

const json = { type: 'boolean' } as const;

export const statusCommand: Command = {
  name: 'status',
  summary: 'show the site, its peer and its volumes',
  help: `Usage: casemate status [--json | --watch]

Shows the site, its peer, its log and every volume; for what is not well, since when, what would
clear it, and a command that is safe. Exit code 4 if something does not serve.

  --json         the whole status as JSON
  --watch        show it anew every two seconds, until Ctrl-C
${daemonOptionsHelp}

Examples:
  casemate status
  casemate status --watch
  casemate status --json | jq '.groups[] | select(.serves | not) | .name'
`,
  run: async (args, terminal) => {
    const { values } = readArguments('status', args, { ...daemonOptions, json, watch: json }, []);
    const daemon = findDaemon(values, terminal);
    if (values.watch === true) {
      if (values.json === true) {
        throw usageError('--json and --watch are both there', 'Give one of them.');
      }
      await watch(async () => {
        const seen = await daemon.get('/v1/status', siteStatusSchema);
        return statusText(seen, await daemon.get('/v1/why', whySchema));
      }, terminal);
      return exitCodes.ok;
    }
    const status = await daemon.get('/v1/status', siteStatusSchema);
    if (values.json === true) {
      terminal.write(`${JSON.stringify(status, null, 2)}\n`);
    } else {
      const why = await daemon.get('/v1/why', whySchema);
      terminal.write(coloured(statusText(status, why), terminal));
    }
    const well = status.log.failed === undefined && status.groups.every(({ serves }) => serves);
    return well ? exitCodes.ok : exitCodes.notServing;
  },
};

export const whyCommand: Command = {
  name: 'why',
  summary: 'say why a volume does not serve, and what would clear it',
  help: `Usage: casemate why [VOLUME]

Says in a sentence how each volume stands: why it does not serve, since when, what would clear it,
and a command that is safe meanwhile. Exit code 4 if something does not serve.

${daemonOptionsHelp}

Examples:
  casemate why
  casemate why vm-1
`,
  run: async (args, terminal) => {
    const { values, positionals } = readArguments('why', args, daemonOptions, ['[VOLUME]']);
    const { groups } = await findDaemon(values, terminal).get('/v1/why', whySchema);
    const [name] = positionals;
    const wanted =
      name === undefined ? groups : groups.filter(({ volumes }) => volumes.includes(name));
    if (name !== undefined && wanted.length === 0) {
      const nearest = nearestName(
        name,
        groups.flatMap(({ volumes }) => volumes),
      );
      throw new CasemateError('ERR_NO_SUCH_VOLUME', `there is no volume "${name}"`, {
        hint:
          nearest === undefined
            ? '`casemate volume list` shows the volumes there are.'
            : `Did you mean ${nearest}?`,
      });
    }
    const text = wanted.length === 0 ? 'no volumes yet\n' : whyText({ groups: wanted });
    terminal.write(coloured(text, terminal));
    return wanted.every(({ serves }) => serves) ? exitCodes.ok : exitCodes.notServing;
  },
};

function readLimit(text: string | undefined): number {
  if (text === undefined) return 20;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= 10_000) return limit;
  throw usageError(`--limit is "${text}"`, 'It is a whole number from 1 to 10000.');
}

export const eventsCommand: Command = {
  name: 'events',
  summary: 'list what happened at the site',
  help: `Usage: casemate events [--limit N] [--json]

Lists what happened at the site, oldest first, the newest N; what an operator asked for with who
it was.

  --limit N      how many (default: 20)
  --json         as JSON, newest first
${daemonOptionsHelp}

Example:
  casemate events --limit 100
`,
  run: async (args, terminal) => {
    const options = { ...daemonOptions, json, limit: { type: 'string' } } as const;
    const { values } = readArguments('events', args, options, []);
    const limit = readLimit(values.limit);
    const daemon = findDaemon(values, terminal);
    const { events } = await daemon.get(`/v1/events?limit=${limit}`, eventsSchema);
    if (values.json === true) {
      terminal.write(`${JSON.stringify(events, null, 2)}\n`);
      return exitCodes.ok;
    }
    const rows = events
      .toReversed()
      .map(({ atMs, level, code, group = '-', text, by }) => [
        new Date(atMs).toISOString(),
        level,
        code,
        group,
        by === undefined ? text : `${text}, by ${callerText(by)}`,
      ]);
    terminal.write(rows.length === 0 ? 'no events yet\n' : alignColumns(rows));
    return exitCodes.ok;
  },
};
