/** A resync's part of a checkpoint. */
import type { StageSave } from '../store/site-store.ts';

/** What a checkpoint keeps of a resync. */
export interface ResyncSave {
  /** The group's own checkpoint stays: it is the old image. */
  readonly checkpointStays: boolean;
  readonly save: StageSave;
  /** The store has it; to be called at once. */
  kept(): void;
  /** Gives room up that is not needed any more; what finds no room for that is tried again. */
  release(): Promise<void>;
}
