/** What no two sites may ever contradict each other in: records that were named, and committed. */
import { type SimulatedFrame, Violation } from './core-log.ts';

export class HistoryChecks {
  /** Digest of the history through each committed frame, whoever committed it. */
  readonly #committed = new Map<number, string>();
  readonly #named = new Map<string, string>();

  /** I2: one record for an epoch and a sequence. */
  appended(site: string, frame: SimulatedFrame): void {
    for (let at = frame.firstSequence; at <= frame.lastSequence; at += 1) {
      const name = `${frame.epoch}/${at}`;
      const content = `${frame.epochId}/${JSON.stringify(frame.records[at - frame.firstSequence])}`;
      const known = this.#named.get(name) ?? content;
      if (known !== content) {
        throw new Violation(`I2: two records for epoch ${frame.epoch} sequence ${at} (${site})`);
      }
      this.#named.set(name, content);
    }
  }

  /** I1, I11: what is committed is the same everywhere and for ever. */
  committed(site: string, frames: readonly SimulatedFrame[], sequence: number): void {
    for (const frame of frames) {
      if (frame.lastSequence > sequence) break;
      const known = this.#committed.get(frame.lastSequence) ?? frame.digestAfter;
      if (known !== frame.digestAfter) {
        throw new Violation(`two histories committed at ${frame.lastSequence} (${site})`);
      }
      this.#committed.set(frame.lastSequence, frame.digestAfter);
    }
  }
}
