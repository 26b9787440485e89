/**
 * From where a reign's reads may be answered: when everything that was committed when it began,
 * and so everything that other reigns have answered, is in effect in the volumes here (R15). While
 * a record changes the table of volumes, which takes as long as the disk likes, what is committed
 * after it waits; of this reign itself nothing is answered before it is in effect.
 */
import type { CoreView } from '../../replication/core/events.ts';

export interface ReadGroup {
  readonly view: Pick<CoreView, 'takesReads' | 'epochIdOfReign' | 'commit'>;
  readonly volumes: { readonly committedThrough: number };
}

export class ReignReads {
  readonly #group: ReadGroup;
  #from: { readonly epochId: string; readonly sequence: number } | undefined;

  constructor(group: ReadGroup) {
    this.#group = group;
  }

  get mayShow(): boolean {
    const { view, volumes } = this.#group;
    const { takesReads, epochIdOfReign: epochId, commit } = view;
    if (!takesReads || epochId === undefined) return false;
    if (this.#from?.epochId !== epochId) this.#from = { epochId, sequence: commit };
    return volumes.committedThrough >= this.#from.sequence;
  }
}
