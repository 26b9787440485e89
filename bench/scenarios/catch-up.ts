/**
 * How fast a site that was away gets what it has missed, without any load meanwhile: from the start
 * of its process until both sites are in sync again.
 */
import { rmSync } from 'node:fs';
import { mainVolume } from '../casemate.ts';
import { runFio } from '../fio.ts';
import type { Session } from '../session.ts';

const mebibyte = 2 ** 20;

/** Ways of catching up, by how much of the log the missed writes take. */
const ways = [
  { name: 'log', title: 'catching up from the log', partOfLog: 0.5, isBlank: false },
  { name: 'resync', title: 'resync of what has changed', partOfLog: 2, isBlank: false },
  { name: 'resync-blank', title: 'resync of a blank site', partOfLog: 2, isBlank: true },
] as const;

/** A pair for each way, compared at its end. */
export async function measureCatchUp(session: Session): Promise<void> {
  const logBytes = Math.min(session.settings.logBytes, 512 * mebibyte);
  for (const { name, title, partOfLog, isBlank } of ways) {
    session.progress(title);
    const pair = await session.startPair({ logBytes });
    const [, b] = pair.sites;
    const sizeBytes = logBytes * partOfLog;
    await pair.createVolume({ name: mainVolume, sizeBytes, onPeerLoss: 'preferred' });
    await b.signal('SIGKILL');
    await runFio({
      uris: [pair.uri(mainVolume)],
      workload: { pattern: 'write', blockBytes: mebibyte, depth: 8 },
      sizeBytes,
      directory: session.directory,
    });
    if (isBlank) rmSync(b.dataDirectory, { recursive: true });
    const before = performance.now();
    await b.start();
    const startedMs = performance.now() - before;
    await pair.pair.inSync(mainVolume);
    const seconds = (performance.now() - before) / 1000;
    session.results.setValue(`catch-up-${name}`, {
      title,
      unit: 'MiB/s',
      value: sizeBytes / mebibyte / seconds,
      note:
        `${Math.round(sizeBytes / mebibyte)} MiB missed; ${seconds.toFixed(2)} s from the start of ` +
        `the process, ${Math.round(startedMs)} ms of it until its API answered`,
    });
    await session.finishPair('catch-up', pair);
  }
}
