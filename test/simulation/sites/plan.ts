/**
 * What a seed does to the sites: a list of what happens when, made before the run, so that a
 * failing one can be cut down to what it takes. Which kinds of faults a seed has, and how often, is
 * drawn first: rare combinations come up more often than if all seeds had a bit of everything.
 */
import { SeededRandom } from '../seeded-random.ts';
import type { ResyncMoment } from './resync-watch.ts';
import type { ClientRequest } from './simulated-clients.ts';
import { type MachineName, otherSite, type SiteName, siteNames } from './simulated-config.ts';

interface Timed {
  readonly atMs: number;
  readonly site: SiteName;
}

interface Between {
  readonly atMs: number;
  readonly site: MachineName;
  readonly other: MachineName;
}

export type Action =
  | (Timed & { readonly kind: 'request'; readonly request: ClientRequest })
  | (Timed & { readonly kind: 'kill' | 'power-loss' | 'stop'; readonly forMs: number })
  /** The disk is gone; the site comes back with an empty one. */
  | (Timed & { readonly kind: 'replace-disk'; readonly forMs: number })
  /** From then on, as soon as a resync (of the site, if no other is named) is so far. */
  | (Timed & {
      readonly kind: 'power-loss-when';
      readonly resync: ResyncMoment;
      readonly resyncOf?: SiteName;
      readonly forMs: number;
    })
  /** Each time that a resync of the site has got so much more, so often. */
  | (Timed & { readonly kind: 'reset-as-it-grows'; readonly bytes: number; readonly times: number })
  | (Timed & { readonly kind: 'pause'; readonly forMs: number })
  /** What the machine sends to the other does not arrive; `both`: nor what comes back. */
  | (Between & { readonly kind: 'cut'; readonly both: boolean; readonly forMs: number })
  | (Between & { readonly kind: 'reset' | 'flip' })
  | (Between & { readonly kind: 'delay'; readonly delayMs: number; readonly forMs: number })
  | {
      readonly atMs: number;
      readonly site: 'witness';
      readonly kind: 'witness-down';
      readonly how: 'kill' | 'power' | 'pause';
      readonly forMs: number;
    }
  | (Timed & { readonly kind: 'slow-disk'; readonly stepMs: number; readonly forMs: number })
  | (Timed & {
      readonly kind: 'disk-error';
      readonly operation: 'append-log' | 'apply-data' | 'sync-data' | 'read-data' | 'read-log';
      readonly nth: number;
    })
  | (Timed & { readonly kind: 'disk-full'; readonly forMs: number })
  | (Timed & { readonly kind: 'store-full'; readonly forMs: number })
  | (Timed & {
      readonly kind: 'rot';
      readonly what: 'log' | 'data' | 'checksums';
      /** Which file and which byte of it, as a part of all there are. */
      readonly place: number;
    })
  | (Timed & { readonly kind: 'drift'; readonly rate: number })
  | (Timed & {
      readonly kind: 'create-volume';
      readonly volume: string;
      readonly sectors: number;
      /** The volume's, in whose group it is to be; undefined: in one of its own. */
      readonly group: string | undefined;
      readonly onPeerLoss: 'suspend' | 'preferred';
    })
  | (Timed & {
      readonly kind: 'resize-volume';
      readonly volume: string;
      readonly moreSectors: number;
    })
  | (Timed & { readonly kind: 'remove-volume'; readonly volume: string })
  | (Timed & { readonly kind: 'switchover' })
  | (Timed & { readonly kind: 'force' })
  | (Timed & { readonly kind: 'clients-leave' });

export type ActionKind = Action['kind'];

export interface Volume {
  readonly name: string;
  readonly sectors: number;
  /** Where it is created, and therefore primary at first. */
  readonly site: SiteName;
  readonly onPeerLoss: 'suspend' | 'preferred';
  readonly preferredSite: SiteName;
}

export interface Plan {
  readonly seed: number;
  readonly volumes: readonly Volume[];
  readonly checkpointMs: number;
  readonly logSegments: number;
  readonly durationMs: number;
  readonly witness: boolean;
  readonly clockRates: Readonly<Record<SiteName, number>>;
  readonly actions: readonly Action[];
}

/** The other kinds are told by scenarios only, or drawn apart (`makeLaterActions`). */
type FaultKind = Exclude<
  ActionKind,
  | 'request'
  | 'replace-disk'
  | 'power-loss-when'
  | 'reset-as-it-grows'
  | 'flip'
  | 'create-volume'
  | 'resize-volume'
  | 'remove-volume'
>;

/** How often a seed has the kind at all, and how many it has then at most. */
const faultShares: Readonly<Record<FaultKind, { readonly share: number; readonly most: number }>> =
  {
    kill: { share: 0.4, most: 4 },
    'power-loss': { share: 0.5, most: 5 },
    stop: { share: 0.2, most: 2 },
    pause: { share: 0.4, most: 5 },
    cut: { share: 0.5, most: 5 },
    reset: { share: 0.3, most: 5 },
    delay: { share: 0.25, most: 3 },
    'slow-disk': { share: 0.25, most: 3 },
    'disk-error': { share: 0.12, most: 1 },
    'disk-full': { share: 0.1, most: 1 },
    'store-full': { share: 0.08, most: 1 },
    rot: { share: 0.15, most: 2 },
    drift: { share: 0.3, most: 1 },
    switchover: { share: 0.4, most: 4 },
    force: { share: 0.04, most: 1 },
    'clients-leave': { share: 0.15, most: 2 },
    'witness-down': { share: 0.3, most: 3 },
  };

export function makePlan(seed: number): Plan {
  const random = new SeededRandom(seed);
  const durationMs = 1000 + random.below(6000);
  const witness = random.chance(0.6);
  const volumes = makeVolumes(random);
  const actions: Action[] = [];
  const requestsPerSecond = random.pick([5, 15, 15, 40, 40, 120]);
  const requests = Math.floor((requestsPerSecond * durationMs) / 1000);
  const home = random.pick(siteNames);
  const readShare = random.pick([0.2, 0.5, 0.7]);
  for (let count = 0; count < requests; count += 1) {
    const atMs = random.below(durationMs);
    const site = random.chance(0.75) ? home : otherSite(home);
    actions.push({ atMs, site, kind: 'request', request: makeRequest(random, volumes, readShare) });
  }
  for (const kind of faultKinds) {
    const { share, most } = faultShares[kind];
    if (kind === 'witness-down' && !witness) continue;
    if (!random.chance(share)) continue;
    for (let count = 1 + random.below(most); count > 0; count -= 1) {
      const site = random.pick(siteNames);
      const timed = { atMs: random.below(durationMs), site };
      actions.push(makeFault(kind, timed, witness, random));
    }
  }
  // From numbers of their own, so that all else of a seed is what it was without them.
  const scene = { volumes, durationMs, witness };
  actions.push(...makeVolumeActions(scene, new SeededRandom(seed + 2 ** 32)));
  actions.push(...makeWearActions(scene, new SeededRandom(seed + 2 ** 33)));
  return {
    seed,
    volumes,
    checkpointMs: random.pick([150, 600, 3000]),
    logSegments: random.pick([4, 4, 6, 12]),
    durationMs,
    witness,
    clockRates: { 'lux-1': 1, 'lux-2': 1 },
    actions: actions.sort((a, b) => a.atMs - b.atMs),
  };
}

const faultKinds = Object.keys(faultShares).filter(isFaultKind);

function isFaultKind(text: string): text is FaultKind {
  return Object.hasOwn(faultShares, text);
}

function makeVolumes(random: SeededRandom): Volume[] {
  const count = random.chance(0.3) ? 2 : 1;
  return Array.from({ length: count }, (_, index) => ({
    name: `volume-${index + 1}`,
    sectors: 8 * (4 + random.below(20)) + random.pick([0, 0, 1]),
    site: random.pick(siteNames),
    onPeerLoss: random.pick(['suspend', 'preferred'] as const),
    preferredSite: random.pick(siteNames),
  }));
}

function makeRequest(
  random: SeededRandom,
  volumes: readonly Pick<Volume, 'name' | 'sectors'>[],
  readShare: number,
): ClientRequest {
  const { name, sectors } = random.pick(volumes);
  const dice = random.below(100);
  const rest = 1 - readShare;
  let kind: ClientRequest['kind'] = 'read';
  if (dice < 90 * rest) kind = 'write';
  else if (dice < 94 * rest) kind = random.pick(['writeZeroes', 'trim'] as const);
  else if (dice < 97 * rest) kind = 'flush';
  // Most requests meet in a few places.
  const hot = random.chance(0.7);
  const sector = hot ? random.below(Math.min(24, sectors)) : random.below(sectors);
  const length = random.pick([1, 1, 4, 8, 8, 8, 16, 64]);
  const request = { kind, volume: name, sector, sectors: length };
  // By a number that is drawn anyway, so that all else of a seed is what it was without them.
  return kind === 'writeZeroes' && dice % 2 === 0 ? { ...request, noHole: true } : request;
}

interface Scene {
  readonly volumes: readonly Volume[];
  readonly durationMs: number;
  readonly witness: boolean;
}

/** Few names, so that they are used again. */
const laterVolumes = ['later-1', 'later-2'];

/** Volumes that come, grow and go, and what clients do with them. */
function makeVolumeActions({ volumes, durationMs }: Scene, random: SeededRandom): Action[] {
  if (!random.chance(0.25)) return [];
  const actions: Action[] = [];
  const timed = (): Timed => ({ atMs: random.below(durationMs), site: random.pick(siteNames) });
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    actions.push({
      ...timed(),
      kind: 'create-volume',
      volume: random.pick(laterVolumes),
      sectors: 8 * (2 + random.below(12)),
      group: random.chance(0.6) ? random.pick(volumes).name : undefined,
      onPeerLoss: random.pick(['suspend', 'preferred'] as const),
    });
  }
  for (let count = random.below(4); count > 0; count -= 1) {
    const volume = random.pick([...laterVolumes, ...volumes.map(({ name }) => name)]);
    actions.push({ ...timed(), kind: 'resize-volume', volume, moreSectors: 1 + random.below(40) });
  }
  for (let count = random.below(4); count > 0; count -= 1) {
    actions.push({ ...timed(), kind: 'remove-volume', volume: random.pick(laterVolumes) });
  }
  const later = laterVolumes.map((name) => ({ name, sectors: 160 }));
  for (let count = random.below(60); count > 0; count -= 1) {
    actions.push({ ...timed(), kind: 'request', request: makeRequest(random, later, 0.5) });
  }
  return actions;
}

/** Disks that are replaced by empty ones, and bits that turn over between the machines. */
function makeWearActions({ durationMs, witness }: Scene, random: SeededRandom): Action[] {
  const actions: Action[] = [];
  const timed = (): Timed => ({ atMs: random.below(durationMs), site: random.pick(siteNames) });
  if (random.chance(0.08)) {
    for (let count = 1 + random.below(2); count > 0; count -= 1) {
      actions.push({ ...timed(), kind: 'replace-disk', forMs: 50 + random.below(1500) });
    }
  }
  if (random.chance(0.15)) {
    for (let count = 1 + random.below(6); count > 0; count -= 1) {
      actions.push({ ...between(timed(), witness, random), kind: 'flip' });
    }
  }
  return actions;
}

/** Between the sites, or between one of them and the witness, in either direction. */
function between(timed: Timed, witness: boolean, random: SeededRandom): Between {
  if (!witness || random.chance(0.6)) return { ...timed, other: otherSite(timed.site) };
  if (random.chance(0.5)) return { ...timed, other: 'witness' };
  return { atMs: timed.atMs, site: 'witness', other: timed.site };
}

function makeFault(kind: FaultKind, timed: Timed, witness: boolean, random: SeededRandom): Action {
  const shortOrLong = (): number => random.pick([50, 250, 700, 1500, 4000]) + random.below(300);
  switch (kind) {
    case 'kill':
    case 'power-loss':
    case 'stop':
    case 'pause':
    case 'disk-full':
    case 'store-full':
      return { ...timed, kind, forMs: shortOrLong() };
    case 'cut':
      return {
        ...between(timed, witness, random),
        kind,
        both: random.chance(0.6),
        forMs: shortOrLong(),
      };
    case 'witness-down':
      return {
        atMs: timed.atMs,
        site: 'witness',
        kind,
        how: random.pick(['kill', 'power', 'pause'] as const),
        forMs: shortOrLong(),
      };
    case 'reset':
      return { ...between(timed, witness, random), kind };
    case 'delay':
      return {
        ...between(timed, witness, random),
        kind,
        delayMs: random.pick([5, 40, 200]),
        forMs: shortOrLong(),
      };
    case 'slow-disk':
      return { ...timed, kind, stepMs: random.pick([5, 40, 200]), forMs: shortOrLong() };
    case 'disk-error':
      return {
        ...timed,
        kind,
        operation: random.pick([
          'append-log',
          'append-log',
          'apply-data',
          'sync-data',
          'read-data',
          'read-log',
        ] as const),
        nth: 1 + random.below(3),
      };
    case 'rot':
      return {
        ...timed,
        kind,
        what: random.pick(['log', 'log', 'data', 'checksums'] as const),
        place: random.below(1_000_000) / 1_000_000,
      };
    case 'drift':
      return { ...timed, kind, rate: random.pick([0.91, 1, 1.09]) };
    case 'switchover':
    case 'force':
    case 'clients-leave':
      return { ...timed, kind };
    default: {
      const never: never = kind;
      throw new Error(`no such fault ${String(never)}`);
    }
  }
}

/** One line for a person. */
export function actionText(action: Action): string {
  const { atMs, site, kind, ...rest } = action;
  const words = Object.entries('request' in rest ? rest.request : rest).map(
    ([name, value]) => `${name}=${value}`,
  );
  return `${String(atMs).padStart(6)} ms  ${site}  ${kind} ${words.join(' ')}`.trimEnd();
}
