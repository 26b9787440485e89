/** Carries out what a plan says, and undoes what lasts for a while. */
import type { Site } from '../../../daemon/site.ts';
import { type Action, actionText } from './plan.ts';
import { doneBytesOf, isAt } from './resync-watch.ts';
import { otherSite, type SiteName } from './simulated-config.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { changeVolumes } from './volume-actions.ts';
import type { World } from './world.ts';

/** True if it could be done: of what happens to a process that is not there, nothing does. */
export function carryOut(world: World, action: Action): boolean {
  if (action.kind === 'request') {
    if (world.volumes.state(action.request.volume) !== 'there') return false;
    return world.clients.send(world.machine(action.site), action.request) !== undefined;
  }
  const done = isBetween(action)
    ? disturbNetwork(world, action)
    : action.kind === 'witness-down'
      ? disturbWitness(world, action)
      : disturb(world, world.machine(action.site), action.site, action);
  if (done) world.note(actionText(action).slice(10).trim());
  return done;
}

type NetworkAction = Extract<Action, { kind: 'cut' | 'reset' | 'delay' | 'flip' }>;
type WitnessAction = Extract<Action, { kind: 'witness-down' }>;

function isBetween(action: Action): action is NetworkAction {
  const { kind } = action;
  return kind === 'cut' || kind === 'reset' || kind === 'delay' || kind === 'flip';
}

function disturbNetwork({ network, time }: World, action: NetworkAction): boolean {
  const { site, other } = action;
  switch (action.kind) {
    case 'cut':
      network.block(site, other);
      if (action.both) network.block(other, site);
      time.after(action.forMs, () => {
        network.unblock(site, other);
        if (action.both) network.unblock(other, site);
      });
      return true;
    case 'reset':
      return network.reset(site, other) > 0;
    case 'flip':
      network.flip(site, other);
      return true;
    case 'delay': {
      const { delayMs } = action;
      network.setDelay(site, other, delayMs);
      network.setDelay(other, site, delayMs);
      time.after(action.forMs, () => {
        network.setDelay(site, other, undefined);
        network.setDelay(other, site, undefined);
      });
      return true;
    }
    default: {
      const never: never = action;
      throw new Error(`no such action ${JSON.stringify(never)}`);
    }
  }
}

function disturbWitness({ witness, time }: World, { how, forMs }: WitnessAction): boolean {
  if (witness?.life === undefined) return false;
  if (how === 'pause') {
    witness.life.pauseUntil(time.nowMs + forMs);
    return true;
  }
  witness.crash(how);
  time.after(forMs, () => witness.start());
  return true;
}

function disturb(
  world: World,
  machine: SimulatedMachine,
  site: SiteName,
  action: Exclude<Action, { kind: 'request' } | NetworkAction | WitnessAction>,
): boolean {
  const { time, checks } = world;
  switch (action.kind) {
    case 'kill':
    case 'power-loss':
      if (!machine.running) return false;
      machine.crash(action.kind === 'kill' ? 'kill' : 'power');
      world.clients.disconnect(site);
      time.after(action.forMs, () => machine.start());
      return true;
    case 'replace-disk':
      if (!machine.running || checks.anyRot || !otherHasAll(world, machine)) return false;
      checks.lostStores.add(machine.site?.store.storeId ?? '');
      machine.crash('power');
      machine.loseDisk();
      world.clients.disconnect(site);
      time.after(action.forMs, () => machine.start());
      return true;
    case 'power-loss-when':
      world.when(
        () => isAt(world.machine(action.resyncOf ?? site), action.resync),
        () => {
          world.note(`${site} loses power: a resync ${action.resync}`);
          world.resyncs.powerLosses += 1;
          machine.crash('power');
          world.clients.disconnect(site);
          time.after(action.forMs, () => machine.start());
        },
      );
      return true;
    case 'reset-as-it-grows':
      for (let time = 1; time <= action.times; time += 1) {
        world.when(
          () => doneBytesOf(machine) >= time * action.bytes,
          () => {
            const { network } = world;
            network.reset(site, otherSite(site));
          },
        );
      }
      return true;
    case 'stop':
      if (machine.site === undefined) return false;
      machine.stop();
      world.clients.disconnect(site);
      time.after(action.forMs, () => machine.startAfterStop());
      return true;
    case 'pause':
      machine.life?.pauseUntil(time.nowMs + action.forMs);
      return machine.running;
    case 'slow-disk':
      machine.diskStepMs = action.stepMs;
      time.after(action.forMs, () => {
        machine.diskStepMs = 0.05;
      });
      return true;
    case 'disk-error': {
      const { operation, nth } = action;
      checks.badDisks.add(site);
      machine.disk.inject({ operation, code: 'EIO', nth, pathContains: '' });
      return true;
    }
    case 'disk-full': {
      for (const operation of ['apply-data', 'create-segment', 'resize-data'] as const) {
        machine.disk.inject({ operation, code: 'ENOSPC', times: 1_000_000 });
      }
      time.after(action.forMs, () => machine.disk.clearFaults());
      return true;
    }
    case 'store-full':
      machine.databases.setFull(true);
      time.after(action.forMs, () => machine.databases.setFull(false));
      return true;
    case 'rot':
      if (action.what !== 'log') checks.badDisks.add(site);
      else {
        checks.rotten = true;
        // The last frame of the only copy looks like a torn tail then: nobody can prove otherwise.
        if (isOnlyCopy(world, machine)) checks.forced = true;
      }
      return rot(world, machine, action);
    case 'drift':
      machine.clockRate = action.rate;
      return true;
    case 'create-volume':
    case 'resize-volume':
    case 'remove-volume':
      return changeVolumes(world, machine.site, action);
    case 'switchover':
      return switchOver(world, machine.site);
    case 'force':
      return force(world, machine.site);
    case 'clients-leave':
      world.clients.disconnect(site);
      return true;
    default: {
      const never: never = action;
      throw new Error(`no such action ${JSON.stringify(never)}`);
    }
  }
}

/**
 * A block that is written again from the log after a start is written whatever its checksum says,
 * for it may be half written; bits that had rotted in it, outside what is written again, go
 * unnoticed. So at a machine that is started again the block counts as doubtful.
 */
function rot(
  world: World,
  machine: SimulatedMachine,
  { what, place }: { readonly what: 'log' | 'data' | 'checksums'; readonly place: number },
): boolean {
  const { checks } = world;
  const suffix = { log: 'segment-', data: '.data', checksums: '.checksums' }[what];
  const files = machine.disk.files().filter(({ path }) => path.includes(suffix));
  const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let offsetBytes = Math.floor(place * total);
  for (const { path, sizeBytes } of files) {
    if (offsetBytes < sizeBytes) {
      const block = Math.floor(offsetBytes / 4096);
      if (what === 'data') {
        // Rotten at both sites, or where the only copy is: lost, whatever the sites do.
        const key = `${path} ${block}`;
        if ((checks.rottenBlocks.get(key) ?? machine.name) !== machine.name) return false;
        checks.rottenBlocks.set(key, machine.name);
        if (isOnlyCopy(world, machine)) checks.blockLost = true;
      }
      machine.disk.corrupt(path, offsetBytes, 1 << (offsetBytes % 8));
      if (what === 'data' && startsAgain(world, machine)) {
        for (const { name } of world.plan.volumes) world.clients.doubt(name, block * 8, 8);
      }
      return true;
    }
    offsetBytes -= sizeBytes;
  }
  return false;
}

function isOnlyCopy({ checks }: World, { site }: SimulatedMachine): boolean {
  if (site === undefined) return true;
  return [...site.groups.all].some(({ view }) => {
    const inSync = view.config?.inSync.filter((store) => !checks.lostStores.has(store)) ?? [];
    return inSync.length < 2;
  });
}

/** The other machine runs, and is in sync with the disk that it has now. */
function otherHasAll(world: World, { name, site }: SimulatedMachine): boolean {
  const other = world.machine(name === 'lux-1' ? 'lux-2' : 'lux-1').site?.store.storeId;
  if (site === undefined || other === undefined) return false;
  return [...site.groups.all].every(({ view }) => view.config?.inSync.includes(other) === true);
}

const endings = new Set<Action['kind']>(['kill', 'power-loss', 'disk-error', 'stop']);

function startsAgain({ plan }: World, { name }: SimulatedMachine): boolean {
  return plan.actions.some(({ kind, site }) => site === name && endings.has(kind));
}

/** Operators' actions fail with an error that tells why; that is theirs to see, not a violation. */
function switchOver(world: World, site: Site | undefined): boolean {
  const volume = site === undefined ? undefined : world.random.pick(world.plan.volumes);
  if (site === undefined || volume === undefined || !exists(site, volume.name)) return false;
  const done = (text: string) => (): void => world.note(`switchover of ${volume.name}: ${text}`);
  site.switchover(volume.name).then(done('done'), (error: unknown) => {
    done(error instanceof Error ? error.message : String(error))();
  });
  return true;
}

function force(world: World, site: Site | undefined): boolean {
  const volume = site === undefined ? undefined : world.random.pick(world.plan.volumes);
  if (site === undefined || volume === undefined || !exists(site, volume.name)) return false;
  forceVolume(world, site, volume.name);
  return true;
}

/** An operator promotes a volume's group at a site by force. */
export function forceVolume(world: World, site: Site, name: string): void {
  world.checks.forced = true;
  world.volumes.doubtAll(world.volumes.names.filter((each) => !isOfPlan(world, each)));
  site
    .promotionEvidence(name)
    .then(({ confirmation }) => site.forcePromote(name, confirmation))
    .then(
      () => world.note(`${name} was promoted by force`),
      (error: unknown) => {
        world.note(`not forced: ${error instanceof Error ? error.message : String(error)}`);
      },
    );
}

function isOfPlan({ plan }: World, volume: string): boolean {
  return plan.volumes.some(({ name }) => name === volume);
}

function exists(site: Site, name: string): boolean {
  return site.groups.find(name) !== undefined;
}
