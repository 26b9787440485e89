/**
 * What is in the data files, looked at in passing, block by block, while nothing is on its way into
 * them: a block that could be read can be read, for it has the checksum that is kept for it (I7);
 * two sites with the same history hold the same (I11); and an old image beside a stage is what it
 * was when the stage was begun (I6).
 */
import type { Group } from '../../../daemon/volume/group.ts';
import { crc32c } from '../../../wal/checksum.ts';
import type { VolumeStore } from '../../../wal/volume-store.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { Violation } from './violation.ts';

const blockBytes = 4096;
const stepsBetween = 4;
const stepsBetweenImages = 64;

export interface CopyCheckOptions {
  /** Bits have rotted at the machine, or its disk gives errors: blocks can be bad there. */
  readonly mayBeBad: (machineName: string) => boolean;
  readonly isDoubtful: (volume: string, sector: number) => boolean;
  /** There were two histories once: what they say does not count. */
  readonly forced: () => boolean;
}

export class CopyCheck {
  readonly #options: CopyCheckOptions;
  /** Blocks that could be read. */
  readonly #readable = new WeakMap<VolumeStore, Set<number>>();
  readonly #oldImages = new Map<string, { readonly bytes: number; readonly digest: number }>();
  #steps = 0;
  /** Looks that found something to compare: for a test that they do. */
  compared = 0;

  constructor(options: CopyCheckOptions) {
    this.#options = options;
  }

  look(machines: readonly SimulatedMachine[]): void {
    this.#steps += 1;
    if (this.#steps % stepsBetween !== 0) return;
    const [first] = machines.filter(({ site }) => site !== undefined);
    const found = [...(first?.site?.groups.volumes() ?? [])];
    const turn = Math.floor(this.#steps / stepsBetween);
    const chosen = found[turn % Math.max(1, found.length)];
    if (chosen !== undefined) {
      const { group, volume } = chosen;
      const blocks = Math.ceil(volume.sizeBytes / blockBytes);
      const block = Math.floor(turn / found.length) % blocks;
      this.#compare(machines, group.groupId, volume.name, block);
    }
    if (this.#steps % stepsBetweenImages !== 0) return;
    for (const machine of machines) {
      for (const group of machine.site?.groups.all ?? []) this.#lookAtOldImage(machine, group);
    }
  }

  #compare(
    machines: readonly SimulatedMachine[],
    groupId: string,
    name: string,
    block: number,
  ): void {
    const copies: { readonly group: Group; readonly content: Buffer }[] = [];
    for (const machine of machines) {
      const group = machine.site?.groups.get(groupId);
      const content = group && this.#read(machine, group, name, block);
      if (group !== undefined && content !== undefined) copies.push({ group, content });
    }
    const [one, other] = copies;
    if (one === undefined || other === undefined || this.#options.forced()) return;
    const { digest } = one.group.view.end;
    if (digest !== other.group.view.end.digest) return;
    this.compared += 1;
    for (let start = 0; start < one.content.length; start += 512) {
      const end = start + 512;
      if (one.content.subarray(start, end).equals(other.content.subarray(start, end))) continue;
      const sector = (block * blockBytes + start) / 512;
      if (this.#options.isDoubtful(name, sector)) continue;
      throw new Violation('I11', `sector ${sector} of ${name} differs below the same history`);
    }
  }

  /** Undefined: something is on its way into it, or it is not what it should be for a reason. */
  #read(machine: SimulatedMachine, group: Group, name: string, block: number): Buffer | undefined {
    const { view, volumes, resync } = group;
    const volume = volumes.byName(name);
    if (volume === undefined || group.closed || machine.stopping) return undefined;
    if (machine.site?.failure !== undefined || this.#options.mayBeBad(machine.name)) {
      return undefined;
    }
    if (resync.wantsSave || resync.wasDropped) return undefined;
    // Records that are not committed may be in the files from before a crash, until they are.
    if (view.commit !== view.end.sequence || volumes.busy) return undefined;
    const { store } = volume;
    if (volumes.committedThrough < view.commit || store.appliedThrough !== Infinity) {
      return undefined;
    }
    const offsetBytes = block * blockBytes;
    if (offsetBytes >= store.sizeBytes) return undefined;
    const content = Buffer.alloc(Math.min(blockBytes, store.sizeBytes - offsetBytes));
    const readable = this.#readable.get(store) ?? new Set();
    this.#readable.set(store, readable);
    if (machine.disk.observe(() => store.readNow(content, offsetBytes))) {
      readable.add(block);
      return content;
    }
    if (!readable.has(block)) return undefined;
    const text = `block ${block} of ${name} at ${machine.name} has not its checksum any more`;
    throw new Violation('I7', text);
  }

  #lookAtOldImage(machine: SimulatedMachine, group: Group): void {
    const stage = group.resync.unfinished;
    if (stage?.state !== 'staged' || !group.view.staged) return;
    if (this.#options.mayBeBad(machine.name)) return;
    const start = `/data/volumes/${group.groupId}-`;
    for (const { path } of machine.disk.files()) {
      if (!path.startsWith(start) || !path.endsWith('.data')) continue;
      const key = `${machine.site?.store.storeId} ${stage.startedAtMs} ${path}`;
      const content = machine.disk.contentOf(path);
      const before = this.#oldImages.get(key);
      if (before === undefined) {
        this.#oldImages.set(key, { bytes: content.length, digest: crc32c(content) });
      } else if (before.digest !== crc32c(content.subarray(0, before.bytes))) {
        // It may have grown: what is beyond the volume's old size is none of the image.
        throw new Violation('I6', `${path} at ${machine.name} was changed beside a stage`);
      }
    }
  }
}
