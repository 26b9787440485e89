/**
 * The end of a run: no more faults, everybody runs; then both sites have to be in sync and
 * identical within bounded time, and every request that a client still waits for answered. Unless
 * a fault made that impossible: then the sites have to say so, and it has to be true.
 */
import type { Group } from '../../../daemon/volume/group.ts';
import type { GroupConfig } from '../../../replication/core/config.ts';
import { forceVolume } from './actions.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { SplitEndings } from './split-endings.ts';
import { stateText } from './state-text.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** Reconnecting, rejoining after back-offs, and everything that the plan had started. */
const convergeMsMax = 90_000;
const restartMs = 500;
const comparisonsMax = 5;
const forcesMax = 3;
/** A fault that has made it impossible shows within so long. */
const excuseMs = 8000;

/**
 * Ends all faults and waits; a split is ended by an operator. Gives why it can't be, if a fault is
 * to blame.
 */
export async function awaitConvergence(
  world: World,
  endings: SplitEndings,
): Promise<string | undefined> {
  world.note('the faults end');
  world.network.healAll();
  for (const machine of world.machines.values()) {
    machine.life?.resume();
    machine.diskStepMs = 0.05;
    machine.disk.clearFaults();
    machine.databases.setFull(false);
  }
  world.witness?.life?.resume();
  world.witness?.start();
  const startMs = world.time.nowMs;
  let endMs = startMs + convergeMsMax;
  let forces = 0;
  let excuse: string | undefined;
  while (world.time.nowMs < endMs) {
    const isDone = (): boolean => isConverged(world) && !endings.busy;
    const there = await world.until(() => isDone() || hasFailed(world), 1000);
    excuse = excuseOf(world);
    if (there && isDone()) return undefined;
    const isPatient = world.time.nowMs > startMs + excuseMs / 2;
    if (excuse === 'voters-replaced' && isPatient && forces < forcesMax) {
      forces += 1;
      promoteSurvivors(world);
      endMs = world.time.nowMs + convergeMsMax;
    } else if (excuse === 'split' && (await endings.endAll())) {
      endMs = world.time.nowMs + convergeMsMax;
    } else if (excuse !== undefined && world.time.nowMs > endMs - convergeMsMax + excuseMs) {
      break;
    }
    restartFailed(world);
  }
  // An operator can end a split unless bits have rotted in what it takes.
  if (excuse === 'split' && !world.checks.rotten) {
    throw new Violation('liveness', `a split could not be ended\n${stateText(world)}`);
  }
  if (excuse !== undefined) return excuse;
  throw new Violation('liveness', `not in sync after all faults have ended\n${stateText(world)}`);
}

/** Reads everything at both sites, and compares what their data files hold. */
export async function finalReads(world: World): Promise<void> {
  for (const name of presentVolumes(world)) {
    if (world.volumes.state(name) !== 'there') world.clients.giveUp(name);
    for (const machine of world.machines.values()) readAll(world, machine, name);
    const answered = await world.until(() => world.clients.waiting.size === 0, 10_000);
    if (!answered) throw new Violation('liveness', `reads of ${name} are not answered`);
    await compareFiles(world, name);
  }
}

function readAll(world: World, machine: SimulatedMachine, name: string): void {
  const sectors = (machine.site?.groups.find(name)?.sizeBytes ?? 0) / 512;
  for (let sector = 0; sector < Math.max(1, sectors); sector += 64) {
    const request = { kind: 'read', volume: name, sector, sectors: 64 } as const;
    if (world.clients.send(machine, request) === undefined) {
      throw new Violation('liveness', `${machine.name} takes no reads of ${name}`);
    }
  }
}

/** Volumes that there have to be, and those that are at either site. */
function presentVolumes(world: World): string[] {
  const found = machinesOf(world).flatMap(({ site }) => [...(site?.groups.volumes() ?? [])]);
  const there = world.volumes.names.filter((name) => world.volumes.state(name) === 'there');
  return [...new Set([...there, ...found.map(({ volume }) => volume.name)])];
}

async function compareFiles(world: World, name: string): Promise<void> {
  const [one, other] = await contentsAtRest(world, name);
  if (one === undefined || other === undefined) return;
  if (one.length !== other.length) throw new Violation('I11', `${name} has two sizes`);
  for (let start = 0; start < one.length; start += 512) {
    if (one.subarray(start, start + 512).equals(other.subarray(start, start + 512))) continue;
    if (world.clients.isDoubtful(name, start / 512)) continue;
    const text = `sector ${start / 512} of ${name} differs although both sites are in sync`;
    throw new Violation('I11', text);
  }
}

/** What both sites hold while nothing changes: requests of clients that left may come late. */
async function contentsAtRest(world: World, name: string): Promise<Buffer[]> {
  for (let attempt = 0; attempt < comparisonsMax; attempt += 1) {
    const before = endsText(world);
    const contents: Buffer[] = [];
    for (const { site } of world.machines.values()) {
      const volume = site?.operations.find(name).volume;
      if (volume === undefined) throw new Violation('I11', `${name} is not at both sites`);
      const content = Buffer.alloc(volume.sizeBytes);
      await world.settled(volume.store.read(content, 0), `reading ${name}`, 10_000);
      contents.push(content);
    }
    if (isConverged(world) && endsText(world) === before) return contents;
    if (!(await world.until(() => isConverged(world), 10_000))) break;
  }
  throw new Violation('liveness', `the sites do not rest while ${name} is compared`);
}

function endsText(world: World): string {
  const groups = machinesOf(world).flatMap(({ site }) => [...(site?.groups.all ?? [])]);
  return JSON.stringify(groups.map(({ view, volumes }) => [view.end, volumes.appliedThrough]));
}

function hasFailed(world: World): boolean {
  return machinesOf(world).some(({ site }) => site?.failure !== undefined);
}

/** Too many of those who vote came back with empty disks: only force helps, where the data is. */
function promoteSurvivors(world: World): void {
  for (const { site } of machinesOf(world)) {
    for (const { group, volume } of site?.groups.volumes() ?? []) {
      const { config } = group.view;
      if (site === undefined || config === undefined) continue;
      const isSurvivor = config.inSync.includes(site.store.storeId) && !group.view.takesWrites;
      if (isSurvivor && !hasMajority(config, world.checks.lostStores)) {
        forceVolume(world, site, volume.name);
      }
    }
  }
}

function hasMajority({ acceptors }: GroupConfig, lost: ReadonlySet<string>): boolean {
  return acceptors.filter((store) => !lost.has(store)).length * 2 > acceptors.length;
}

/** What an operator does: a site whose disk had failed is started again. */
function restartFailed(world: World): void {
  for (const machine of world.machines.values()) {
    if (machine.site?.failure !== undefined) {
      machine.crash('kill');
      world.clients.disconnect(machine.name);
    }
    if (!machine.running) world.time.after(restartMs, () => machine.start());
  }
}

function isConverged(world: World): boolean {
  const machines = machinesOf(world);
  if (machines.some(({ site, stopping }) => site === undefined || stopping)) return false;
  if (world.clients.waiting.size > 0) return false;
  if (world.checks.lostStores.size === 0 && hasUnfounded(machines)) return false;
  return presentVolumes(world).every((name) => {
    if (world.volumes.state(name) === 'gone' && !world.checks.forced) return false;
    const groups = machines.map((machine) => groupOf(machine, name));
    const [one, other] = groups;
    if (one === undefined || other === undefined) return false;
    return isSame(one, other) && one.view.reigning !== other.view.reigning;
  });
}

/** A group that no site has founded: it would keep its name for ever. */
function hasUnfounded(machines: readonly SimulatedMachine[]): boolean {
  return machines.some(({ site }) =>
    [...(site?.groups.all ?? [])].some(({ view }) => view.config === undefined),
  );
}

function isSame(one: Group, other: Group): boolean {
  const primary = one.view.reigning ? one : other;
  const { view } = primary;
  return (
    view.inSyncWithPeer &&
    view.takesReads &&
    view.takesWrites &&
    one.view.end.sequence === other.view.end.sequence &&
    one.view.end.digest === other.view.end.digest &&
    [one, other].every(({ view: each, volumes }) => {
      return each.commit === each.end.sequence && volumes.appliedThrough >= each.commit;
    })
  );
}

/** Why the copies can't be brought together, in the sites' own words, if a fault explains it. */
function excuseOf(world: World): string | undefined {
  const { rotten, forced, blockLost, lostStores } = world.checks;
  for (const machine of machinesOf(world)) {
    const { site, startProblem } = machine;
    if (rotten && site === undefined && startProblem !== undefined) return 'log-unreadable';
    for (const group of site?.groups.all ?? []) {
      const { waitReason, peer, config } = group.view;
      // What a life that lost its disk had won, and could tell nobody.
      if (config?.inSync.every((store) => lostStores.has(store))) return 'only-copy-replaced';
      if (config !== undefined && !hasMajority(config, lostStores)) return 'voters-replaced';
      if (rotten && waitReason?.code === 'damaged') return 'damaged';
      const isLost = blockLost || isToldLost(world);
      if (isLost && peer.kind === 'resyncing') return 'block-lost';
      if (forced && waitReason?.code === 'split') return 'split';
      if (forced && peer.kind === 'refused') return 'split';
      // The last record that was answered, rotten where nobody else could be asked for it in time.
      if (rotten && peer.kind === 'refused' && peer.code === 'split') return 'log-end-lost';
    }
  }
  return undefined;
}

/** A block that had rotted before can be of the only copy since: the resync says what it lacks. */
function isToldLost(world: World): boolean {
  if (world.checks.rottenBlocks.size === 0) return false;
  const isTold = ({ code, text }: { readonly code: string; readonly text: string }): boolean =>
    code === 'resync-interrupted' && text.includes('does not match its checksum');
  return machinesOf(world).some(({ site }) => site?.events({ limit: 100 }).some(isTold));
}

function machinesOf(world: World): SimulatedMachine[] {
  return [...world.machines.values()];
}

function groupOf(machine: SimulatedMachine, volume: string): Group | undefined {
  for (const found of machine.site?.groups.volumes() ?? []) {
    if (found.volume.name === volume) return found.group;
  }
  return undefined;
}
