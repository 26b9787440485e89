/** `casemate run`, `casemate witness` and `casemate demo`: commands that are daemons themselves. */
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../config/parse.ts';
import { type Command, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';

const defaultDemoDirectory = 'data';

export const runCommand: Command = {
  name: 'run',
  summary: 'run the daemon of one site',
  help: `Usage: casemate run --config FILE

Runs the daemon of one site in the foreground, until SIGTERM or SIGINT. Log lines are JSON on
standard output. SIGHUP reads the configuration and its certificates again: these, the tokens of the
API and the log level change at once, other keys are named and wait for a restart.

  --config FILE  the site's configuration (TOML); the README lists all keys

Example:
  casemate run --config /etc/casemate/lux-1.toml
`,
  run: async (args) => {
    const { values } = readArguments('run', args, { config: { type: 'string' } }, []);
    const { config: file } = values;
    if (file === undefined) {
      throw usageError('--config FILE is missing', '`casemate run --help` shows how it is used.');
    }
    const config = loadConfig(file);
    // Loaded only now: other commands do not need the whole daemon.
    const { runSite } = await import('../run.ts');
    await runSite(config, () => loadConfig(file));
    return exitCodes.ok;
  },
};

export const witnessCommand: Command = {
  name: 'witness',
  summary: 'run a witness: the third voter, without data, for any number of pairs',
  help: `Usage: casemate witness --config FILE

Runs a witness in the foreground, until SIGTERM or SIGINT: the third voter that lets one site go on
when the other one is lost. It belongs on a third machine, as far from both sites as they are from
each other. It holds no data. Log lines are JSON on standard output.

  --config FILE  the witness's configuration (TOML); the README lists all keys

Example:
  casemate witness --config /etc/casemate/lux-w.toml
`,
  run: async (args) => {
    const { values } = readArguments('witness', args, { config: { type: 'string' } }, []);
    const { config: file } = values;
    if (file === undefined) {
      throw usageError(
        '--config FILE is missing',
        '`casemate witness --help` shows how it is used.',
      );
    }
    const { loadWitnessConfig } = await import('../witness/witness-config.ts');
    const config = loadWitnessConfig(file);
    const { runWitness } = await import('../witness/run-witness.ts');
    await runWitness(config, () => loadWitnessConfig(file));
    return exitCodes.ok;
  },
};

export const demoCommand: Command = {
  name: 'demo',
  summary: 'run two sites and a witness on this machine, to look at and to break',
  help: `Usage: casemate demo [--data DIR]

Runs two sites and a witness on this machine, with one volume on both sites, until Ctrl-C. Shows
how to reach them. A process that is killed comes back by itself after a while.

  --data DIR  where their data is kept (default: ${defaultDemoDirectory})

Example:
  casemate demo --data /tmp/casemate-demo
`,
  run: async (args, terminal) => {
    const { values } = readArguments('demo', args, { data: { type: 'string' } }, []);
    const { runDemo } = await import('./demo.ts');
    await runDemo({
      directory: values.data ?? defaultDemoDirectory,
      commandPath: fileURLToPath(new URL('casemate.cjs', import.meta.url)),
      write: (text) => terminal.write(text),
    });
    return exitCodes.ok;
  },
};
