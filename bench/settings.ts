/** The command line of the suite, checked, with its defaults. */
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface Settings {
  /** Names that were asked for; empty for all jobs. */
  readonly names: readonly string[];
  readonly quick: boolean;
  /** Time of one run of a job. */
  readonly seconds: number;
  /** How often each job is run against each target, the targets taking turns. */
  readonly rounds: number;
  readonly volumeBytes: number;
  readonly logBytes: number;
  /** Mirrors are measured over TCP as well as over Unix sockets. */
  readonly tcpMirrors: boolean;
  readonly directory: string;
  readonly jsonPath: string | undefined;
  readonly profile: boolean;
  /** Casemate and the physical limit only. */
  readonly alone: boolean;
  /** How long the soak goes on. */
  readonly minutes: number;
}

/** What the program is asked to do. */
export type Command =
  | { readonly kind: 'help' | 'list' }
  | { readonly kind: 'compare'; readonly before: string; readonly after: string }
  | { readonly kind: 'report'; readonly path: string }
  | { readonly kind: 'run'; readonly settings: Settings };

/** What was asked for cannot be done; the message says what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `Usage: npm run bench -- [NAMES] [OPTIONS]

       npm run bench -- soak --minutes N
       npm run bench -- --compare A.json B.json
       npm run bench -- --report A.json

NAMES are jobs (by default all but the soak); --list shows them.

  --quick           small volume, one short round, no curves, mirrors over Unix sockets only;
                    under 3 minutes
  --seconds N       time of one run (3; quick: 0.7)
  --rounds N        repetitions of each job, targets taking turns (3; quick: 1)
  --json FILE       where the figures go (results/<time>.json), and the HTML report beside them
  --directory DIR   where volumes and logs go; on the disk to be measured (the system's temporary one)
  --profile         CPU profile of both daemons: the functions with most self time, by job
  --alone           no peers: Casemate and the physical limit only
  --minutes N       length of the soak: a mixed load, and every so often a site that is killed (10)
  --compare A B     no run: the ratios of two earlier ones, and which are larger than the noise
  --report A        no run: the HTML report of an earlier one, made anew
  --list            names of jobs
  --help            this text
`;

const gibibyte = 2 ** 30;
const secondsMax = 600;
const roundsMax = 100;
const minutesMax = 7 * 24 * 60;

function positive(
  text: string | undefined,
  option: string,
  limits: { standard: number; max: number },
): number {
  if (text === undefined) return limits.standard;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= limits.max) return value;
  throw new UsageError(`${option} takes a whole number from 1 to ${limits.max}, not "${text}"`);
}

/** Reads the arguments; `known` are the names that exist. Throws UsageError. */
export function parseCommand(parameters: readonly string[], known: readonly string[]): Command {
  const { values, positionals } = parse(parameters);
  if (values.help === true) return { kind: 'help' };
  if (values.list === true) return { kind: 'list' };
  const [first, second, ...more] = positionals;
  if (values.compare === true) {
    if (first === undefined || second === undefined || more.length > 0) {
      throw new UsageError('--compare takes two files of results: the earlier run, the later one');
    }
    return { kind: 'compare', before: resolve(first), after: resolve(second) };
  }
  if (values.report === true) {
    if (first === undefined || second !== undefined) {
      throw new UsageError('--report takes one file of results');
    }
    return { kind: 'report', path: resolve(first) };
  }
  return { kind: 'run', settings: toSettings(values, positionals, known) };
}

type Values = ReturnType<typeof parse>['values'];

function toSettings(
  values: Values,
  positionals: readonly string[],
  known: readonly string[],
): Settings {
  for (const name of positionals) {
    if (!known.includes(name)) {
      throw new UsageError(`there is no job "${name}"; there are: ${known.join(', ')}`);
    }
  }
  const quick = values.quick === true;
  return {
    names: positionals,
    quick,
    seconds: positive(values.seconds, '--seconds', { standard: quick ? 0.7 : 3, max: secondsMax }),
    rounds: positive(values.rounds, '--rounds', { standard: quick ? 1 : 3, max: roundsMax }),
    volumeBytes: quick ? gibibyte / 4 : gibibyte,
    logBytes: quick ? gibibyte / 2 : gibibyte,
    tcpMirrors: !quick,
    directory: resolve(values.directory ?? tmpdir()),
    jsonPath: values.json === undefined ? undefined : resolve(values.json),
    profile: values.profile === true,
    alone: values.alone === true,
    minutes: positive(values.minutes, '--minutes', { standard: 10, max: minutesMax }),
  };
}

function parse(parameters: readonly string[]) {
  try {
    return parseArgs({
      args: [...parameters],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean' },
        seconds: { type: 'string' },
        rounds: { type: 'string' },
        json: { type: 'string' },
        directory: { type: 'string' },
        profile: { type: 'boolean' },
        alone: { type: 'boolean' },
        minutes: { type: 'string' },
        compare: { type: 'boolean' },
        report: { type: 'boolean' },
        list: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
