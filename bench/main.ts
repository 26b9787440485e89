/**
 * The program behind `npm run bench`: reads what is asked, runs it, prints the report and leaves
 * the figures in a file. It ends with 1 when something could not be measured as asked or copies
 * differ; a mark that was missed is a finding, not a failure.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CasematePair, casemateName } from './casemate.ts';
import { type Job, jobs } from './jobs.ts';
import { measureChecksums } from './micro/checksum.ts';
import { measureFrames } from './micro/frame.ts';
import { measureLog } from './micro/log.ts';
import type { MicroFigure } from './micro/repeat.ts';
import { formatReport, machine } from './report.ts';
import { measureManyVolumes } from './scenarios/many-volumes.ts';
import { measureMemory } from './scenarios/memory.ts';
import { measureRestart } from './scenarios/restart.ts';
import { measureResync } from './scenarios/resync.ts';
import { measureTakeover } from './scenarios/takeover.ts';
import { Session } from './session.ts';
import { parseSettings, type Settings, UsageError, usage } from './settings.ts';
import {
  fill,
  finishTargets,
  measureDisk,
  peerKinds,
  prepareCasemate,
  runJobs,
  startPeer,
  warmUp,
} from './suite.ts';
import { formatNumber, formatTable } from './table.ts';
import type { Target } from './target.ts';

const resultsDirectory = fileURLToPath(new URL('../../results/', import.meta.url));
const profileRows = 25;

/** Scenarios that use the pair of the jobs, and those that start a pair of their own. */
const sharedScenarios = { volumes: measureManyVolumes, memory: measureMemory } as const;
const ownScenarios = {
  restart: measureRestart,
  resync: measureResync,
  takeover: measureTakeover,
} as const;
const micro: Readonly<Record<string, (directory: string) => Promise<MicroFigure[]>>> = {
  'micro-frame': async () => measureFrames(),
  'micro-checksum': async () => measureChecksums(),
  'micro-log': measureLog,
};

const suiteNames = [
  ...jobs.map(({ name }) => name),
  ...Object.keys(sharedScenarios),
  ...Object.keys(ownScenarios),
];

async function main(): Promise<number> {
  const names = [...suiteNames, ...Object.keys(micro)];
  const settings = parseSettings(process.argv.slice(2), names);
  if (settings === 'help' || settings === 'list') {
    process.stdout.write(settings === 'help' ? usage : `${names.join('\n')}\n`);
    return 0;
  }
  await runMicro(settings);
  const wanted = suiteNames.filter((name) => isWanted(settings, name));
  if (wanted.length === 0) return 0;
  // Each target keeps two copies at most, Casemate two logs besides; 12 targets there are.
  const session = new Session(settings, settings.volumeBytes * 24 + settings.logBytes * 6);
  const interrupted = (): void => {
    void session.close().finally(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    await runSuite(session, wanted);
  } finally {
    await session.close();
  }
  process.stdout.write(`\n${formatReport(session.results, wanted)}`);
  writeResults(session);
  return session.results.problems.length === 0 ? 0 : 1;
}

function isWanted({ names }: Settings, name: string): boolean {
  return names.length === 0 || names.includes(name);
}

async function runMicro({ names, directory }: Settings): Promise<void> {
  const rows: string[][] = [];
  for (const name of names) rows.push(...((await micro[name]?.(directory)) ?? []).map(microRow));
  if (rows.length === 0) return;
  const columns = [
    { title: 'what', align: 'left' },
    { title: 'ns/call', align: 'right' },
    { title: 'MiB/s', align: 'right' },
  ] as const;
  process.stdout.write(`${formatTable(columns, rows)}\n`);
}

function microRow({ name, nanosecondsPerCall, bytesPerCall }: MicroFigure): string[] {
  const rate = bytesPerCall === 0 ? undefined : bytesPerCall / 2 ** 20 / (nanosecondsPerCall / 1e9);
  return [name, formatNumber(nanosecondsPerCall), formatNumber(rate)];
}

async function runSuite(session: Session, wanted: readonly string[]): Promise<void> {
  const chosen = jobs.filter(({ name }) => wanted.includes(name));
  const shared = Object.entries(sharedScenarios).filter(([name]) => wanted.includes(name));
  if (chosen.length > 0 || shared.length > 0) await runShared(session, chosen, shared);
  for (const [name, measure] of Object.entries(ownScenarios)) {
    if (!wanted.includes(name)) continue;
    await attempt(session, name, () => measure(session));
  }
}

type SharedScenario = (session: Session, pair: CasematePair) => Promise<void>;

async function runShared(
  session: Session,
  chosen: readonly Job[],
  scenarios: readonly (readonly [string, SharedScenario])[],
): Promise<void> {
  const { settings } = session;
  const profileDirectory = settings.profile ? session.makeDirectory() : undefined;
  const targets: Target[] = [];
  const pair = await startCasemate(session, profileDirectory, targets);
  for (const kind of settings.alone ? [] : peerKinds(session, chosen)) {
    const peer = await startPeer(session, kind);
    if (peer !== undefined) targets.push(peer);
  }
  await attempt(session, 'fill', async () => {
    await fill(session, targets);
    for (const target of targets) if (target.name === casemateName) await warmUp(session, target);
  });
  if (chosen.some(({ workload }) => workload.pattern === 'write')) await measureDisk(session);
  await runJobs(session, chosen, targets);
  for (const [name, measure] of scenarios) {
    if (pair !== undefined) await attempt(session, name, () => measure(session, pair));
  }
  session.progress('comparing copies');
  await finishTargets(session, targets);
  if (profileDirectory !== undefined) {
    process.stdout.write(`${session.profiles.report(profileDirectory, profileRows)}\n`);
  }
}

/** Starts the pair with its main volume; without it the peers are measured all the same. */
async function startCasemate(
  session: Session,
  profileDirectory: string | undefined,
  targets: Target[],
): Promise<CasematePair | undefined> {
  try {
    const { logBytes } = session.settings;
    const pair = await session.startPair({ logBytes, profileDirectory });
    targets.push(await prepareCasemate(session, pair));
    return pair;
  } catch (error) {
    session.problem(`${casemateName}: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** A part that fails is a problem of the run; the others go on. */
async function attempt(session: Session, name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    session.problem(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}

function writeResults(session: Session): void {
  const time = new Date().toISOString().replaceAll(':', '-');
  const path = session.settings.jsonPath ?? join(resultsDirectory, `${time}.json`);
  mkdirSync(dirname(path), { recursive: true });
  const { quick, rounds, seconds, volumeBytes, logBytes } = session.settings;
  const settings = { quick, rounds, seconds, volumeBytes, logBytes };
  const document = { time, machine: machine(), settings, ...session.results.toJSON() };
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
  process.stdout.write(`\nFigures: ${path}\n`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${usage}`);
  process.exitCode = 2;
}
