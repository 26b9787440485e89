/** What the suite consists of and in which order it runs: shared targets first, then scenarios. */
import { type CasematePair, tcpAlias } from './casemate.ts';
import { casemateName } from './casemate-names.ts';
import { type Job, jobs } from './jobs.ts';
import { micro } from './micro/all.ts';
import { measureCatchUp } from './scenarios/catch-up.ts';
import { measureDistance } from './scenarios/distance.ts';
import { measureManyVolumes } from './scenarios/many-volumes.ts';
import { measureMemory } from './scenarios/memory.ts';
import { measureRestart } from './scenarios/restart.ts';
import { measureResync } from './scenarios/resync.ts';
import { measureSoak } from './scenarios/soak.ts';
import { measureTakeover } from './scenarios/takeover.ts';
import { measureTls } from './scenarios/tls.ts';
import { measureVolumeSize } from './scenarios/volume-size.ts';
import type { Session } from './session.ts';
import type { Settings } from './settings.ts';
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
import type { Target } from './target.ts';

const profileRows = 25;

/** Scenarios that use the pair of the jobs, and those that start a pair of their own. */
const sharedScenarios = { volumes: measureManyVolumes, memory: measureMemory } as const;
const ownScenarios = {
  distance: measureDistance,
  tls: measureTls,
  restart: measureRestart,
  resync: measureResync,
  'catch-up': measureCatchUp,
  takeover: measureTakeover,
  'volume-size': measureVolumeSize,
  soak: measureSoak,
} as const;

/** Runs only by name: it takes as long as it is told to. */
const byNameOnly = ['soak'];
/** Left out of quick runs unless they are named. */
const notQuick = [
  'write-qd128',
  'read-1m',
  'volume-size',
  'catch-up',
  'takeover',
  'tls',
  ...jobs.flatMap((job) => (job.onlyForSweep ? [job.name] : [])),
];

export const suiteNames: readonly string[] = [
  ...jobs.map(({ name }) => name),
  ...Object.keys(sharedScenarios),
  ...Object.keys(ownScenarios),
];

/** What is to be measured, the parts of the micro-benchmarks included. */
export function wantedNames({ names, quick }: Settings): string[] {
  const all = [...suiteNames, ...Object.keys(micro)];
  if (names.length > 0) return all.filter((name) => names.includes(name));
  return all.filter((name) => !byNameOnly.includes(name) && !(quick && notQuick.includes(name)));
}

export async function runSuite(session: Session, wanted: readonly string[]): Promise<void> {
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
  const { results, settings } = session;
  const profileDirectory = settings.profile ? session.makeDirectory() : undefined;
  const targets: Target[] = [];
  const pair = await startCasemate(session, profileDirectory, targets);
  for (const kind of settings.alone ? [] : peerKinds(session, chosen)) {
    const peer = await startPeer(session, kind);
    if (peer !== undefined) targets.push(peer);
  }
  for (const target of targets) results.setTarget(target.name, target);
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
    targets.push(await prepareCasemate(session, pair), tcpAlias(pair));
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
