/**
 * Both sites are killed with so much log since the last checkpoint, and started again: the time
 * until a client's read is answered. Recovery has to read that log, prove it, and agree with the
 * peer before anything is served.
 */
import { mainVolume } from '../casemate.ts';
import { casemateName } from '../casemate-names.ts';
import { runFio } from '../fio.ts';
import { firstAnswer } from '../nbd-probe.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;
const answerMs = 120_000;
const hourMs = 3_600_000;

/** With how much log the sites are killed; with a gibibyte is what is asked about. */
const sizesMiB = { quick: [256], full: [64, 256, 1024] } as const;

const askedMiB = 1024;

/** Leaves `restart`, in seconds, in the results. Pairs of its own, compared at their end. */
export async function measureRestart(session: Session): Promise<void> {
  for (const sizeMiB of sizesMiB[session.settings.quick ? 'quick' : 'full']) {
    await restartWith(session, sizeMiB * mebibyte);
  }
}

async function restartWith(session: Session, logged: number): Promise<void> {
  session.progress(`restart with ${logged / mebibyte} MiB of log`);
  // A checkpoint is due at half of the log at the latest: twice what is to be recovered.
  const pair = await session.startPair({
    logBytes: 2 * logged,
    checkpoint: { everyMs: hourMs, everyBytes: logged },
  });
  const [a, b] = pair.sites;
  await pair.createVolume({ name: mainVolume, sizeBytes: logged });
  await runFio({
    uris: [pair.uri(mainVolume)],
    workload: { pattern: 'write', blockBytes: 64 * 1024, depth: 16 },
    // Heads of frames are logged as well; the checkpoint must not come before the end.
    sizeBytes: Math.floor((logged * 0.97) / mebibyte) * mebibyte,
    directory: session.directory,
  });
  const { usedBytes } = (await a.status()).log;
  await Promise.all([a.signal('SIGKILL'), b.signal('SIGKILL')]);
  const startedMs = performance.now();
  const started = Promise.all([a.start(), b.start()]);
  started.catch(() => undefined);
  await firstAnswer(a.socketPath, mainVolume, answerMs);
  const seconds = (performance.now() - startedMs) / 1000;
  await started;
  await pair.pair.inSync(mainVolume);
  const sizeMiB = logged / mebibyte;
  session.results.setValue(sizeMiB === askedMiB ? 'restart' : `restart-${sizeMiB}`, {
    title: `restart with ${sizeMiB} MiB of log, to first answer`,
    unit: 's',
    value: seconds,
    note: `both sites killed with ${Math.round(usedBytes / mebibyte)} MiB of log in use, from process start to a read answered`,
  });
  const plot = {
    group: 'growth',
    title: 'Restart of both sites to the first answer',
    xTitle: 'MiB of log to recover',
    yTitle: 's',
    logarithmic: true,
    note: '',
  } as const;
  const point = { line: casemateName, x: logged / mebibyte, y: seconds };
  session.results.addPoint('restart', plot, point);
  await session.finishPair('restart', pair);
}
