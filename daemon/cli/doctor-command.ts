/** `casemate doctor`: what is wrong with a configuration, its machine and whom it talks to. */
import { Type } from '@sinclair/typebox';
import { siteStatusSchema } from '../api/schemas.ts';
import type { Loaded } from '../doctor/examine.ts';
import { type Finding, worstOf } from '../doctor/finding.ts';
import type { Running } from '../doctor/running.ts';
import { CasemateError } from '../errors.ts';
import { coloured } from './colour.ts';
import { type Command, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { daemonOf, findDaemon } from './find-daemon.ts';
import type { Terminal } from './terminal.ts';

const marks = { ok: 'ok', warning: 'WARNING', error: 'ERROR' } as const;
const codes = {
  ok: exitCodes.ok,
  warning: exitCodes.doctorWarnings,
  error: exitCodes.doctorErrors,
} as const;

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'look for what is wrong before the daemon is started, or while it runs',
  help: `Usage: casemate doctor --config FILE [--json]

Looks at the configuration of a site or a witness, its files, directories and ports, the clock, the
disk (with a small file in the data directory, which it removes), certificates, the way to the peer
and the witness, versions and limits of the kernel. Says what is wrong and what to do. It changes
nothing, and only asks a daemon that runs. Best run as the daemon's user, on each machine.

  --config FILE  the configuration of a site or a witness
  --json         the findings as JSON

Exit code 0 if all is well, 5 if there are warnings only, 6 if there are errors.

Examples:
  casemate doctor --config /etc/casemate/site.toml
  runuser -u casemate -- casemate doctor --config /etc/casemate/site.toml
  casemate doctor --config site.toml --json | jq '.findings[] | select(.severity == "error") | .text'
`,
  run: async (args, terminal) => {
    const options = { config: { type: 'string' }, json: { type: 'boolean' } } as const;
    const { values } = readArguments('doctor', args, options, []);
    const { config: file } = values;
    if (file === undefined) {
      throw usageError(
        '--config FILE is missing',
        '`casemate doctor --help` shows how it is used.',
      );
    }
    // It brings half of the daemon along, which no other command should have to load.
    const { examine } = await import('../doctor/examine.ts');
    const examined = await examine(file, (loaded) => askDaemon(loaded, file, terminal));
    const { findings } = examined;
    const worst = worstOf(findings);
    if (values.json === true) {
      terminal.write(`${JSON.stringify({ ...examined, worst }, null, 2)}\n`);
    } else {
      const { subject, running } = examined;
      const who = subject === undefined ? file : `${subject.kind} ${subject.name}`;
      const state = running === undefined ? notLooked : runningWords[running];
      terminal.write(`${who}: ${state}\n\n`);
      terminal.write(coloured(findings.map(findingText).join(''), terminal));
      terminal.write(`\n${summary(findings)}\n`);
    }
    return codes[worst];
  },
};

const notLooked = 'as it is the daemon would not start; nothing else was looked at';
const runningWords: Readonly<Record<Running['kind'], string>> = {
  stopped: 'the daemon is not running',
  running: 'the daemon is running, and was asked',
  unclear: 'what answers at api.listen is not this daemon, or does not tell',
};

function findingText({ check, severity, text, advice }: Finding): string {
  const line = `${marks[severity].padEnd(7)}  ${check.padEnd(12)}  ${text}\n`;
  return advice === undefined ? line : `${line}${' '.repeat(23)}-> ${advice}\n`;
}

function summary(findings: readonly Finding[]): string {
  const count = (wanted: Finding['severity']): number =>
    findings.filter(({ severity }) => severity === wanted).length;
  const [errors, warnings] = [count('error'), count('warning')];
  if (errors + warnings === 0) return 'all is well';
  return `${errors} ${errors === 1 ? 'error' : 'errors'}, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`;
}

const witnessSchema = Type.Object({ name: Type.String(), version: Type.String() });

/** Whether the daemon of this configuration answers at its own API. */
async function askDaemon(loaded: Loaded, file: string, terminal: Terminal): Promise<Running> {
  try {
    if (loaded.kind === 'witness') {
      const { config } = loaded;
      const [cluster = ''] = Object.keys(config.clusters);
      const identity = { cluster, role: 'witness', name: config.name } as const;
      const daemon = daemonOf(config, identity, {}, terminal);
      const { name, version } = await daemon.get('/v1/status', witnessSchema);
      if (name === config.name) return { kind: 'running', version, status: undefined };
      return { kind: 'unclear', text: `the witness ${name} answers there` };
    }
    const daemon = findDaemon({ config: file }, terminal);
    const status = await daemon.get('/v1/status', siteStatusSchema);
    const { site, cluster } = loaded.config;
    if (status.site === site && status.cluster === cluster) {
      return { kind: 'running', version: status.version, status };
    }
    return { kind: 'unclear', text: `site ${status.site} of ${status.cluster} answers there` };
  } catch (reason) {
    if (!(reason instanceof CasemateError)) throw reason;
    if (reason.code === 'ERR_UNREACHABLE') return { kind: 'stopped' };
    // It is there, and tells nothing to this user, who could not look at its Unix socket either.
    if (reason.code === 'ERR_TOKEN')
      return { kind: 'running', version: undefined, status: undefined };
    return { kind: 'unclear', text: reason.message };
  }
}
