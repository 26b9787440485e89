/**
 * The epochs that committed records belong to, so that a checkpoint can say under which
 * configuration its records stand (R1: the history at or below the checkpoint is kept in the
 * store, the later part is read from the log, so a cut never touches the store).
 */
import type { EpochEntry, GroupConfig } from '../../replication/core/config.ts';
import { type Frame, recordKind } from '../../wal/frame.ts';
import { epochStartOf } from './record-payloads.ts';

/** Older entries can't be a fork point any more: every site has gone through later epochs. */
const epochsMax = 1000;

export class GroupHistory {
  #entries: { readonly entry: EpochEntry; readonly config: GroupConfig | undefined }[] = [];

  /** The history as it was kept with the checkpoint, and the configuration of its last epoch. */
  begin(history: readonly EpochEntry[], config: GroupConfig | undefined): void {
    this.#entries = history.map((entry, index) => ({
      entry,
      config: index === history.length - 1 ? config : undefined,
    }));
  }

  /** A frame is committed; takes note if it begins an epoch. */
  committed(frame: Frame): void {
    if (frame.records[0]?.kind !== recordKind.epochStart) return;
    const config = epochStartOf(frame.records);
    const { epoch, epochId, firstSequence } = frame;
    this.#entries.push({ entry: { epoch, epochId, firstSequence }, config });
    if (this.#entries.length > epochsMax) this.#entries.shift();
  }

  /** What a checkpoint at `sequence` keeps. */
  at(sequence: number): { epochHistory: EpochEntry[]; config: GroupConfig | undefined } {
    const within = this.#entries.filter(({ entry }) => entry.firstSequence <= sequence);
    return {
      epochHistory: within.map(({ entry }) => entry),
      config: within[within.length - 1]?.config,
    };
  }
}
