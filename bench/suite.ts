/**
 * Runs fio's jobs: starts the targets they need, fills each export with random data, lets the
 * targets take turns in every job (so that what drifts on the machine hits all alike), and ends
 * them with their copies compared.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type BoundName, runBound, runSequential } from './bound.ts';
import { type CasematePair, mainVolume } from './casemate.ts';
import { casemateName, casemateTcpName } from './casemate-names.ts';
import { withCosts } from './costed-run.ts';
import { runFio } from './fio.ts';
import type { Job, Sample } from './jobs.ts';
import { nbdkitFile, nbdkitFileSynced } from './peers/nbdkit.ts';
import { mirrorKinds, quorumKinds } from './peers/qemu.ts';
import { qemuNbdCached, qemuNbdSynced } from './peers/qemu-nbd.ts';
import { hasCommand, memoryMiB } from './processes.ts';
import type { Session } from './session.ts';
import type { Target, TargetKind } from './target.ts';

const mebibyte = 2 ** 20;
/** Daemons that do nothing are looked at after so long. */
const idleMs = 2000;

/** Every peer that some job names, whether or not this machine has it. */
export function peerKinds(session: Session, jobs: readonly Job[]): readonly TargetKind[] {
  const wanted = new Set(jobs.flatMap(({ targets }) => targets));
  return [
    nbdkitFile,
    nbdkitFileSynced,
    qemuNbdCached,
    qemuNbdSynced,
    ...quorumKinds,
    ...mirrorKinds,
  ].filter(
    ({ name }) => wanted.has(name) && (session.settings.tcpMirrors || !name.endsWith('tcp')),
  );
}

/** Starts a peer, or notes why it is absent. */
export async function startPeer(session: Session, kind: TargetKind): Promise<Target | undefined> {
  const missing = kind.needs.filter(({ command }) => !hasCommand(command));
  if (missing.length > 0) {
    const names = missing.map(
      ({ command, debianPackage }) => `${command} (Debian package ${debianPackage})`,
    );
    session.results.absent.push({ name: kind.name, reason: `needs ${names.join(', ')}` });
    return undefined;
  }
  try {
    const { volumeBytes } = session.settings;
    return session.track(await kind.start({ directory: session.makeDirectory(), volumeBytes }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    session.results.absent.push({ name: kind.name, reason });
    return undefined;
  }
}

/** Makes the main volume, measures the idle daemons, and gives the pair as a target. */
export async function prepareCasemate(session: Session, pair: CasematePair): Promise<Target> {
  await pair.createVolume({ name: mainVolume, sizeBytes: session.settings.volumeBytes });
  await delay(idleMs);
  const idle = pair.sites.map(({ pid }) => memoryMiB(pid).nowMiB);
  session.results.setValue('memory-idle', {
    title: 'memory of an idle daemon',
    unit: 'MiB',
    value: Math.max(...idle),
    note: 'resident memory of the larger of the two, one volume, no load yet',
  });
  return pair.asTarget();
}

/** Fills every export with random data, as fio's jobs expect it. */
export async function fill(session: Session, targets: readonly Target[]): Promise<void> {
  for (const target of targets) {
    if (target.alias === true) continue;
    session.progress(`filling ${target.name}`);
    await runFio({
      uris: [target.uri],
      workload: { pattern: 'write', blockBytes: mebibyte, depth: 8 },
      sizeBytes: session.settings.volumeBytes,
      directory: session.directory,
    });
    await session.settle();
  }
}

/** Seconds of each load before the first job: at QD1 compiling goes on for about five. */
const warmUpLoads = [
  { pattern: 'randwrite', depth: 1, seconds: 5 },
  { pattern: 'randwrite', depth: 32, seconds: 2 },
  { pattern: 'randread', depth: 1, seconds: 1 },
  { pattern: 'randread', depth: 32, seconds: 1 },
] as const;

/** What the jobs do most, so that they find compiled code. */
export async function warmUp(session: Session, { name, uri }: Target): Promise<void> {
  session.progress(`warming up ${name}`);
  const part = session.settings.quick ? 0.5 : 1;
  for (const { pattern, depth, seconds } of warmUpLoads) {
    await runFio({
      uris: [uri],
      workload: { pattern, blockBytes: 4096, depth },
      sizeBytes: session.settings.volumeBytes,
      seconds: seconds * part,
      directory: session.directory,
    });
  }
}

/** The disk's sequential rate, which the sequential jobs are compared with. */
export async function measureDisk(session: Session): Promise<void> {
  session.progress('disk, sequential');
  const value = await runSequential(session.directory, session.settings.seconds);
  session.results.setValue('disk-sequential', {
    title: "disk's sequential rate",
    unit: 'MiB/s',
    value,
    note: '1 MiB writes to one preallocated file, fdatasync after every 32',
  });
}

/** Runs the jobs, round by round, against those of the targets that each names. */
export async function runJobs(
  session: Session,
  jobs: readonly Job[],
  targets: readonly Target[],
): Promise<void> {
  const { quick, rounds } = session.settings;
  const plan = jobs.map((job) => ({ job, taking: takingPart(job, targets, quick) }));
  session.plan(
    plan.reduce(
      (sum, { job, taking }) => sum + rounds * (taking.length + (job.bounds?.names.length ?? 0)),
      0,
    ),
  );
  for (const { job, taking } of plan) {
    for (let round = 1; round <= rounds; round += 1) {
      session.progress(`${job.title} (round ${round} of ${rounds})`);
      for (const name of job.bounds?.names ?? []) {
        const commitBytes = job.bounds?.commitBytes ?? 0;
        await runOnce(session, job, name, () => boundSample(session, name, commitBytes));
      }
      for (const target of taking) {
        await runOnce(session, job, target.name, () => sample(session, job, target));
      }
    }
  }
}

/** In quick runs some targets take part only where single requests are measured. */
function takingPart(job: Job, targets: readonly Target[], quick: boolean): Target[] {
  return targets.filter(
    ({ name }) =>
      job.targets.includes(name) &&
      !(quick && job.workload.depth > 1 && leftOutWhenQuick.includes(name)),
  );
}

const leftOutWhenQuick = [casemateTcpName, qemuNbdCached.name, qemuNbdSynced.name];

async function runOnce(
  session: Session,
  job: Job,
  target: string,
  measure: () => Promise<Sample>,
): Promise<void> {
  await session.settle();
  try {
    const found = await measure();
    session.results.add(job.name, target, found);
    session.progressRow(target, found);
  } catch (error) {
    session.problem(`${job.name}, ${target}: ${error instanceof Error ? error.message : error}`);
  }
}

async function boundSample(
  session: Session,
  name: BoundName,
  commitBytes: number,
): Promise<Sample> {
  const { directory, settings } = session;
  const figures = await runBound({ name, directory, commitBytes, seconds: settings.seconds });
  return { ...figures, cpuUsPerOperation: undefined };
}

/** One run of a job against a target, with what it cost. */
export async function sample(session: Session, job: Job, target: Target): Promise<Sample> {
  const run = () =>
    runFio({
      uris: [target.uri],
      workload: job.workload,
      sizeBytes: session.settings.volumeBytes,
      seconds: session.settings.seconds * (job.longer ?? 1),
      directory: session.directory,
    });
  return await withCosts(
    session,
    target,
    target.name === casemateName ? () => session.profiles.during(job.name, run) : run,
  );
}

/** Ends the targets, each with its copies compared; differences are problems of the run. */
export async function finishTargets(session: Session, targets: readonly Target[]): Promise<void> {
  for (const target of targets) {
    try {
      const difference = await target.finish();
      if (difference !== undefined) session.problem(`${target.name}: copies differ: ${difference}`);
    } catch (error) {
      session.problem(`${target.name}: ${error instanceof Error ? error.message : error}`);
      await target.stop();
    }
    session.release(target);
  }
}
