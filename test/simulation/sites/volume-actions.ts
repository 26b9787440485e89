/**
 * Creating, growing and removing volumes, as operators do it at either site while anything happens.
 * They are told when it fails; what counts is that both sites agree on what there is afterwards.
 */
import { CasemateError } from '../../../daemon/errors.ts';
import type { Site } from '../../../daemon/site.ts';
import type { Action } from './plan.ts';
import type { World } from './world.ts';

export type VolumeAction = Extract<
  Action,
  { kind: 'create-volume' | 'resize-volume' | 'remove-volume' }
>;

/** Nothing at all was done when one of these is told. */
const harmlessCodes = new Set(['ERR_PEER_NEEDED', 'ERR_NOT_SERVING']);

export function changeVolumes(world: World, site: Site | undefined, action: VolumeAction): boolean {
  if (site === undefined || site.failure !== undefined) return false;
  switch (action.kind) {
    case 'create-volume':
      return create(world, site, action);
    case 'resize-volume':
      return resize(world, site, action);
    case 'remove-volume':
      return remove(world, site, action);
    default:
      return action satisfies never;
  }
}

function create(
  world: World,
  site: Site,
  { volume, sectors, group, onPeerLoss }: Extract<VolumeAction, { kind: 'create-volume' }>,
): boolean {
  const { volumes, clients } = world;
  if (volumes.state(volume) === 'there') return false;
  const ended = volumes.change(volume);
  const request = { name: volume, sizeBytes: sectors * 512, onPeerLoss };
  site.createVolume(group === undefined ? request : { ...request, group }).then(
    () => {
      // All that was known of another one of this name is void.
      if (ended('there') === 'there') clients.forget(volume);
      else clients.giveUp(volume);
      world.note(`${volume} was created`);
    },
    (error: unknown) => {
      if (ended('unsure') !== 'there') clients.giveUp(volume);
      world.note(`${volume} was not created: ${wordsOf(error)}`);
    },
  );
  return true;
}

function resize(
  world: World,
  site: Site,
  { volume, moreSectors }: Extract<VolumeAction, { kind: 'resize-volume' }>,
): boolean {
  const device = site.groups.find(volume);
  if (device === undefined) return false;
  site.resizeVolume(volume, device.sizeBytes + moreSectors * 512).then(
    () => world.note(`${volume} has grown`),
    (error: unknown) => world.note(`${volume} has not grown: ${wordsOf(error)}`),
  );
  return true;
}

function remove(
  world: World,
  site: Site,
  { volume }: Extract<VolumeAction, { kind: 'remove-volume' }>,
): boolean {
  const { volumes, clients } = world;
  if (site.groups.find(volume) === undefined) return false;
  volumes.removals += 1;
  clients.leaveVolume(volume);
  const ended = volumes.change(volume);
  site.deleteVolume(volume).then(
    () => {
      ended('gone');
      world.note(`${volume} was removed`);
    },
    (error: unknown) => {
      const harmless = error instanceof CasemateError && harmlessCodes.has(error.code);
      ended(harmless ? 'as-before' : 'unsure');
      world.note(`${volume} was not removed: ${wordsOf(error)}`);
    },
  );
  return true;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
