/**
 * Both sites are killed with so much log since the last checkpoint, and started again: the time
 * until a client's read is answered. Recovery has to read that log, prove it, and agree with the
 * peer before anything is served.
 */
import { mainVolume } from '../casemate.ts';
import { runFio } from '../fio.ts';
import { firstAnswer } from '../nbd-probe.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const answerMs = 120_000;
const hourMs = 3_600_000;

/** Leaves `restart` in the results, in seconds. A pair of its own, compared at its end. */
export async function measureRestart(session: Session): Promise<void> {
  const logged = session.settings.quick ? gibibyte / 4 : gibibyte;
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
  session.results.setValue('restart', {
    title: 'restart to first answer',
    unit: 's',
    value: seconds,
    note: `both sites killed with ${Math.round(usedBytes / mebibyte)} MiB of log in use, from process start to a read answered`,
  });
  await session.finishPair('restart', pair);
}
