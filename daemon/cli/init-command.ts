/** `casemate init`: writes the configuration of a new pair and its witness, or asks for it. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseConfig } from '../config/parse.ts';
import { clusterName } from '../config/schema-parts.ts';
import { CasemateError } from '../errors.ts';
import { parseWitnessConfig } from '../witness/witness-config.ts';
import { type Command, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import {
  type ConfigFile,
  configFiles,
  type Machine,
  type NewPair,
  nbdPort,
  parseMachine,
  replicationPort,
  witnessPort,
} from './initial-config.ts';
import { Questions } from './questions.ts';

const standardDirectory = 'casemate-config';
const standardLogSize = '4GiB';
const hint = '`casemate init --help` shows how it is used.';
const machineForm = 'NAME=HOST or NAME=HOST:PORT, such as lux-1=10.20.0.1';

const options = {
  cluster: { type: 'string' },
  site: { type: 'string', multiple: true },
  witness: { type: 'string' },
  nbd: { type: 'string', multiple: true },
  'no-witness': { type: 'boolean' },
  'log-size': { type: 'string' },
  tls: { type: 'boolean' },
  dir: { type: 'string' },
} as const;

export const initCommand: Command = {
  name: 'init',
  summary: 'write the configuration of a new pair and its witness',
  help: `Usage: casemate init [--cluster NAME] [--site NAME=HOST --site NAME=HOST]
                     [--witness NAME=HOST | --no-witness] [--nbd NAME=HOST]...
                     [--log-size SIZE] [--tls] [--dir DIR]

Writes the configuration files of both sites and of the witness, each checked as the daemon would,
and says where they go. Asks for what is not given, if there is a terminal, and again when an answer
can't be used. Never writes over a file.

  --cluster NAME       name of the pair
  --site NAME=HOST     a site and the address at which the other one reaches it; twice
                       (NAME=HOST:PORT for another port than ${replicationPort})
  --witness NAME=HOST  the witness, on a third machine (port ${witnessPort} if there is none)
  --no-witness         without one: I/O waits while a site is away
  --nbd NAME=HOST      where the site NAME serves clients of other hosts by TCP, besides its Unix
                       socket; once for each site (port ${nbdPort} if there is none)
  --log-size SIZE      size of each write-ahead log (default: ${standardLogSize})
  --tls                use the certificates that \`casemate pki\` makes
  --dir DIR            where the files are written (default: ${standardDirectory})

Examples:
  casemate init
  casemate init --cluster lux --site lux-1=10.20.0.1 --site lux-2=10.20.0.2 --witness w=10.3.0.1
  casemate init --cluster lux --site lux-1=10.20.0.1 --site lux-2=10.20.0.2 --no-witness --tls \\
    --nbd lux-1=10.30.0.1 --nbd lux-2=10.30.0.2
`,
  run: async (args, terminal) => {
    const { values } = readArguments('init', args, options, []);
    const { 'log-size': logSize = standardLogSize, dir = standardDirectory } = values;
    const questions = new Questions(terminal);
    const cluster = await clusterOf(questions, values.cluster);
    const sites = await bothSites(questions, values.site ?? []);
    const witness = await witnessOf(questions, values.witness, values['no-witness'] === true);
    const nbd = (values.nbd ?? []).map(readMachine('--nbd', nbdPort));
    const tls = await tlsOf(questions, values.tls);
    const pair = { cluster, sites, witness, nbd, logSize, tls };
    const files = configFiles(pair);
    check(pair, files);
    write(dir, files);
    terminal.write(report(dir, pair, files));
    return exitCodes.ok;
  },
};

function readCluster(text: string): string {
  if (new RegExp(clusterName.pattern).test(text)) return text;
  throw usageError(`--cluster must be ${clusterName.form}; it is "${text}"`, hint);
}

function clusterOf(questions: Questions, text: string | undefined): Promise<string> {
  const question = { option: '--cluster', text: 'Name of the pair' };
  return questions.given(text, question, readCluster);
}

function readMachine(option: string, port: number): (text: string) => Machine {
  return (text) => {
    const parsed = parseMachine(text, port);
    if (parsed !== undefined) return parsed;
    throw usageError(`${option} must be ${machineForm}; it is "${text}"`, hint);
  };
}

async function bothSites(
  questions: Questions,
  texts: readonly string[],
): Promise<readonly [Machine, Machine]> {
  if (texts.length > 2) throw usageError('a pair has two sites: --site twice', hint);
  const read = (text: string | undefined, which: string): Promise<Machine> => {
    const question = { option: '--site', text: `${which} site, ${machineForm}` };
    return questions.given(text, question, readMachine('--site', replicationPort));
  };
  return [await read(texts[0], 'First'), await read(texts[1], 'Second')];
}

/** Whether there is a witness is decided, not assumed: it says what happens when a site is lost. */
async function witnessOf(
  questions: Questions,
  text: string | undefined,
  without: boolean,
): Promise<Machine | undefined> {
  if (without && text === undefined) return undefined;
  if (without) throw usageError('--witness and --no-witness contradict each other', hint);
  const read = readMachine('--witness', witnessPort);
  const question = {
    option: '--witness, or --no-witness,',
    text: `Witness on a third machine, ${machineForm} (empty: without one)`,
  };
  return questions.given(text, question, (answer) =>
    answer === '' && text === undefined ? undefined : read(answer),
  );
}

/** Whoever is asked anyway is asked this too; a script gets what it says. */
async function tlsOf(questions: Questions, given: boolean | undefined): Promise<boolean> {
  if (given !== undefined || !questions.haveBeenAsked) return given ?? false;
  const question = {
    option: '--tls',
    text: 'Certificates between the machines, made by `casemate pki`: yes or no (empty: yes)',
  };
  return questions.given(undefined, question, (answer) => {
    if (/^(?:y|yes|)$/i.test(answer)) return true;
    if (/^(?:n|no)$/i.test(answer)) return false;
    throw usageError(`the answer is yes or no; it is "${answer}"`, hint);
  });
}

/** Everything that the daemons would find wrong, before anything is written. */
function check({ sites, witness, nbd }: NewPair, files: readonly ConfigFile[]): void {
  const [first, second] = sites;
  const names = [first, second, ...(witness === undefined ? [] : [witness])].map(
    ({ name }) => name,
  );
  if (new Set(names).size < names.length) {
    throw usageError(`each machine needs a name of its own: ${names.join(', ')}`, hint);
  }
  for (const { name } of nbd) {
    if (sites.every((site) => site.name !== name)) {
      throw usageError(`--nbd is for ${first.name} and ${second.name}; it names ${name}`, hint);
    }
  }
  if (new Set(nbd.map(({ name }) => name)).size < nbd.length) {
    throw usageError('a site serves clients by TCP at one address: --nbd once for each', hint);
  }
  for (const { path, kind, text } of files) {
    if (kind === 'site') parseConfig(text, path);
    else parseWitnessConfig(text, path);
  }
}

function write(directory: string, files: readonly ConfigFile[]): void {
  const there = files.map(({ path }) => join(directory, path)).find((path) => existsSync(path));
  if (there !== undefined) {
    throw usageError(`${there} is there already`, 'Give another directory with --dir DIR.');
  }
  try {
    for (const { path, text } of files) {
      const target = join(directory, path);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text, { flag: 'wx' });
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_INIT_WRITE', `the files can't be written: ${why}`, { cause });
  }
}

function report(directory: string, pair: NewPair, files: readonly ConfigFile[]): string {
  const rows = files.map(({ path, kind, machine: { name, address } }) => {
    const service = kind === 'site' ? 'casemate' : 'casemate-witness';
    return (
      `  ${name} (${address.host}): ${join(directory, path)} to /etc/casemate/${kind}.toml, ` +
      `then systemctl start ${service}\n`
    );
  });
  const certificates = files.map(({ kind, machine: { name, address } }) => {
    const own = [address, ...pair.nbd.flatMap((each) => (each.name === name ? each.address : []))];
    const hosts = [...new Set(own.map(({ host }) => ` --host ${host}`))].join('');
    return `  casemate pki issue --cluster ${pair.cluster} --${kind} ${name}${hosts}\n`;
  });
  const tls = pair.tls
    ? `Certificates: each machine gets its own NAME.pem and NAME.key, and authority.pem, in\n` +
      `/etc/casemate, the key readable by the user casemate only:\n  casemate pki init\n` +
      certificates.join('')
    : 'The links are neither encrypted nor authenticated (--tls): networks that are yours alone.\n';
  return (
    `Written. Copy, and start:\n${rows.join('')}${tls}` +
    'Before the start, on each machine: casemate doctor --config FILE says what is wrong there.\n'
  );
}
