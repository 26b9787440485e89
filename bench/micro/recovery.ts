/** Recovery of a log by itself: read, every frame checked, the groups' ends found. Cached pages. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LogClient, openLog } from './log.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const writesPerFrame = 64;
const frameBytes = writesPerFrame * 4096;

export async function measureRecovery({ directory, quick }: MicroContext): Promise<MicroFigure[]> {
  const frames = quick ? 200 : 1000;
  const own = mkdtempSync(join(directory, 'recovery-'));
  try {
    const first = await openLog(own);
    const client = new LogClient(first.log, writesPerFrame, true);
    for (let count = 0; count < frames; count += 1) await client.commit();
    await first.log.close();
    const before = performance.now();
    const again = await openLog(own);
    const tookMs = performance.now() - before;
    await again.log.close();
    const totalBytes = frames * frameBytes;
    const name = `recovery of a log, ${Math.round(totalBytes / 2 ** 20)} MiB`;
    return [{ name, nanosecondsPerCall: tookMs * 1e6, bytesPerCall: totalBytes }];
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}
