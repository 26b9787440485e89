/** The micro-benchmarks by name, and their run. */
import type { Session } from '../session.ts';
import { measureChecksums } from './checksum.ts';
import { measureFrames } from './frame.ts';
import { measureLink } from './link.ts';
import { measureLog } from './log.ts';
import { measureNbd } from './nbd.ts';
import { measureRecovery } from './recovery.ts';
import { type MicroContext, type MicroFigure, time, timing } from './repeat.ts';
import { measureVolume } from './volume.ts';

export const micro: Readonly<Record<string, (context: MicroContext) => Promise<MicroFigure[]>>> = {
  'micro-frame': measureFrames,
  'micro-checksum': measureChecksums,
  'micro-nbd': measureNbd,
  'micro-log': measureLog,
  'micro-link': measureLink,
  'micro-recovery': measureRecovery,
  'micro-checkpoint': measureVolume,
};

/** Runs those that are wanted, before anything else does; each figure is a value of the results. */
export async function runMicro(session: Session, wanted: readonly string[]): Promise<void> {
  const { quick } = session.settings;
  const context: MicroContext = {
    directory: session.directory,
    quick,
    time: (name, bytesPerCall, call) =>
      time(quick ? timing.quick : timing.full, { name, bytesPerCall }, call),
  };
  for (const [name, measure] of Object.entries(micro)) {
    if (!wanted.includes(name)) continue;
    session.progress(name);
    try {
      for (const figure of await measure(context)) keep(session, figure);
    } catch (error) {
      session.problem(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

function keep(session: Session, { name, nanosecondsPerCall, bytesPerCall }: MicroFigure): void {
  const rate = bytesPerCall / 2 ** 20 / (nanosecondsPerCall / 1e9);
  session.results.setValue(`micro: ${name}`, {
    title: name,
    unit: 'µs',
    value: nanosecondsPerCall / 1000,
    note: bytesPerCall === 0 ? '' : `${Math.round(rate)} MiB/s`,
    group: 'micro',
  });
}
