/**
 * The exports of this site, in which the NBD server looks: the volumes that its groups have, by
 * name. Clients stay as long as their volume does; one that has their volume's name is another one.
 */
import type { BlockDevice, ExportDirectory } from './nbd/block-device.ts';

export interface Exported {
  readonly volume: BlockDevice;
  /** It may be gone at any moment, with what its client is told was written. */
  isGoing(): boolean;
}

export class SiteExports implements ExportDirectory {
  readonly #volumeGone: (name: string) => void;
  #byName: ReadonlyMap<string, Exported> = new Map();

  /** `volumeGone`: the clients of that name are disconnected. */
  constructor(volumeGone: (name: string) => void) {
    this.#volumeGone = volumeGone;
  }

  find(name: string): BlockDevice | undefined {
    if (name === '' && this.#byName.size !== 1) return undefined;
    const [only] = this.#byName.values();
    const found = name === '' ? only : this.#byName.get(name);
    return found?.isGoing() === false ? found.volume : undefined;
  }

  list(): readonly BlockDevice[] {
    return [...this.#byName.values()].map(({ volume }) => volume);
  }

  /** These are all that there are now. */
  refresh(exported: Iterable<Exported>): void {
    const before = this.#byName;
    this.#byName = new Map([...exported].map((each) => [each.volume.name, each]));
    for (const [name, { volume }] of before) {
      if (this.#byName.get(name)?.volume !== volume) this.#volumeGone(name);
    }
  }
}
