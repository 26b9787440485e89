/**
 * What an operator does with a split at the end of a run: gives a random side up, while either site
 * is killed or loses power soon after. The other side's data has to be there afterwards, and what
 * the side that was given up had changed has to be in the file that it keeps aside.
 */
import { join } from 'node:path';
import { isSplit } from '../../../daemon/split/is-split.ts';
import type { Group } from '../../../daemon/volume/group.ts';
import type { SiteName } from './simulated-config.ts';
import { siteNames } from './simulated-config.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const askAgainMs = 3000;
const attemptsMax = 12;
const crashWithinMs = 2500;

interface Ending {
  readonly drop: SiteName;
  attempts: number;
  askedAtMs: number;
  directory: string | undefined;
  /** What each side held when it was asked; undefined if that was not settled. */
  readonly kept: Buffer | undefined;
  readonly lost: Buffer | undefined;
}

export class SplitEndings {
  readonly #world: World;
  readonly #endings = new Map<string, Ending>();
  #crashing = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** A machine is going to end, or to be started again. */
  get busy(): boolean {
    return this.#crashing > 0;
  }

  /** Splits that were ended. */
  get count(): number {
    return [...this.#endings.values()].filter(({ directory }) => directory !== undefined).length;
  }

  /** Asks for the end of every split there is; false: that was in vain. */
  async endAll(): Promise<boolean> {
    let hopeful = false;
    // Of volumes that share a group, the first one stands for all.
    const asked = new Set<string>();
    for (const name of this.#world.volumes.names) {
      const sides = siteNames.map((site) => this.#groupAt(site, name));
      const split = sides.find((group) => group !== undefined && isSplit(group));
      if (split === undefined || asked.has(split.groupId)) continue;
      asked.add(split.groupId);
      const ending = this.#endings.get(name) ?? (await this.#choose(name));
      if (ending.attempts >= attemptsMax) continue;
      hopeful = true;
      if (this.#world.time.nowMs - ending.askedAtMs < askAgainMs) continue;
      this.#ask(name, ending);
    }
    return hopeful;
  }

  /** Both sites are in sync: what has become of the data. */
  async check(): Promise<void> {
    for (const [name, { drop, kept, lost, directory }] of this.#endings) {
      if (directory === undefined) continue;
      const now = await this.#contentAt(drop, name);
      if (kept !== undefined && now !== undefined) {
        this.#compare(name, now, kept, `${name} is not what the side that stayed had`);
      }
      if (lost !== undefined) await this.#checkAside(name, drop, directory, lost);
    }
  }

  async #choose(name: string): Promise<Ending> {
    const { random, machines, time, clients } = this.#world;
    const drop = random.pick(siteNames);
    const other = siteNames.find((site) => site !== drop) ?? drop;
    const quiet = clients.waiting.size === 0;
    const ending: Ending = {
      drop,
      attempts: 0,
      askedAtMs: Number.NEGATIVE_INFINITY,
      directory: undefined,
      kept: quiet ? await this.#contentAt(other, name) : undefined,
      lost: quiet ? await this.#contentAt(drop, name) : undefined,
    };
    this.#endings.set(name, ending);
    for (const machine of machines.values()) {
      if (!random.chance(0.4)) continue;
      const how = random.pick(['kill', 'power'] as const);
      this.#crashing += 1;
      time.after(random.below(crashWithinMs), () => this.#crash(machine, how));
    }
    return ending;
  }

  #crash(machine: SimulatedMachine, how: 'kill' | 'power'): void {
    const { time, clients, random } = this.#world;
    time.after(200 + random.below(1000), () => {
      machine.start();
      this.#crashing -= 1;
    });
    if (!machine.running || machine.stopping) return;
    this.#world.note(`${machine.name} ends while a split is ended (${how})`);
    machine.crash(how);
    clients.disconnect(machine.name);
  }

  #ask(name: string, ending: Ending): void {
    const { random, time } = this.#world;
    const { site } = this.#world.machine(random.pick(siteNames));
    if (site === undefined || site.failure !== undefined) return;
    ending.attempts += 1;
    ending.askedAtMs = time.nowMs;
    this.#world.note(`${ending.drop} is to be given up for ${name}`);
    site.resolveSplit(name, ending.drop).then(
      ({ directory }) => {
        ending.directory ??= directory;
        this.#world.note(`${ending.drop} is given up for ${name}`);
      },
      (error: unknown) => {
        this.#world.note(`not yet: ${error instanceof Error ? error.message : String(error)}`);
      },
    );
  }

  /** What a side holds for good: nothing in its log may come to it or go. */
  async #contentAt(siteName: SiteName, name: string): Promise<Buffer | undefined> {
    const group = this.#groupAt(siteName, name);
    const volume = group?.volumes.byName(name);
    if (group === undefined || volume === undefined) return undefined;
    if (group.view.commit !== group.view.end.sequence) return undefined;
    if (volume.store.damage.badBlockCount > 0) return undefined;
    const content = Buffer.alloc(volume.sizeBytes);
    try {
      const read = volume.store.readUnhealed(content, 0);
      await this.#world.settled(read, `reading ${name}`, 10_000);
    } catch {
      return undefined;
    }
    return content;
  }

  async #checkAside(name: string, drop: SiteName, directory: string, lost: Buffer): Promise<void> {
    const { disk } = this.#world.machine(drop);
    const read = async (path: string): Promise<Buffer> => {
      const file = await disk.open(path, { create: false, durableWrites: false });
      const content = Buffer.alloc(await file.sizeBytes());
      await file.read(content, 0, 'read-data');
      await file.close();
      return content;
    };
    const manifest: unknown = JSON.parse(
      String(await this.#settled(read(join(directory, 'manifest.json')))),
    );
    const content = await this.#settled(read(join(directory, `${name}.raw`)));
    if (content.length !== lost.length) {
      throw new Violation('aside', `what is kept of ${name} has another size`);
    }
    for (const { offsetBytes, lengthBytes } of extentsOf(manifest)) {
      const end = offsetBytes + lengthBytes;
      const there = content.subarray(offsetBytes, end);
      const text = `what ${drop} had changed of ${name} is not what it keeps aside`;
      this.#compare(name, there, lost.subarray(offsetBytes, end), text, offsetBytes);
    }
  }

  #settled<Result>(promise: Promise<Result>): Promise<Result> {
    return this.#world.settled(promise, 'reading what is kept aside', 10_000);
  }

  #compare(name: string, one: Buffer, other: Buffer, what: string, fromBytes = 0): void {
    for (let start = 0; start < one.length; start += 512) {
      if (one.subarray(start, start + 512).equals(other.subarray(start, start + 512))) continue;
      const sector = (fromBytes + start) / 512;
      if (this.#world.clients.isDoubtful(name, sector)) continue;
      throw new Violation('aside', `${what} (sector ${sector})`);
    }
  }

  #groupAt(siteName: SiteName, name: string): Group | undefined {
    for (const found of this.#world.machine(siteName).site?.groups.volumes() ?? []) {
      if (found.volume.name === name) return found.group;
    }
    return undefined;
  }
}

function extentsOf(manifest: unknown): { offsetBytes: number; lengthBytes: number }[] {
  if (typeof manifest !== 'object' || manifest === null || !('extents' in manifest)) {
    throw new Violation('aside', 'the manifest has no extents');
  }
  if (!Array.isArray(manifest.extents)) throw new Violation('aside', 'extents are no list');
  return manifest.extents.map((extent: unknown) => {
    if (
      typeof extent === 'object' &&
      extent !== null &&
      'offsetBytes' in extent &&
      'lengthBytes' in extent &&
      typeof extent.offsetBytes === 'number' &&
      typeof extent.lengthBytes === 'number'
    ) {
      return { offsetBytes: extent.offsetBytes, lengthBytes: extent.lengthBytes };
    }
    throw new Violation('aside', `this is no extent: ${JSON.stringify(extent)}`);
  });
}
