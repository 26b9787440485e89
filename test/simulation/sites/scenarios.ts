/**
 * Stories of what went wrong in other replicators, as plans. Each is run with several seeds: the
 * story is the same, the moments of everything in it differ a little.
 */
import { SeededRandom } from '../seeded-random.ts';
import type { Action, Plan } from './plan.ts';
import type { ResyncWatch } from './resync-watch.ts';
import type { SiteName } from './simulated-config.ts';

export interface Scenario {
  readonly name: string;
  /** How it ends: in sync, by themselves or after an operator has given one side of a split up. */
  readonly ends: 'in-sync' | 'split-ended';
  /** It is about a resync: one has to come about. */
  readonly resyncs?: true;
  /** What is wrong with the resyncs that it was about, if anything is. */
  readonly wrongWith?: (resyncs: ResyncWatch) => string | undefined;
  readonly witness: boolean;
  /** Of the volume; small if absent. */
  readonly sectors?: number;
  /** Runs of it; as many as of the others if absent. */
  readonly seeds?: number;
  readonly durationMs: number;
  readonly actions: readonly Action[];
}

const volume = 'volume-1';
const smallSectors = 160;
const onPeerLoss = 'suspend';
/** A resync of so many takes some time. */
const manySectors = 8192;

/** Writes and reads at a site, every so often from one time to another. */
function load(
  site: SiteName,
  times: { readonly fromMs: number; readonly toMs: number; readonly everyMs: number },
  length = 8,
  sectors = smallSectors,
): Action[] {
  const actions: Action[] = [];
  for (let atMs = times.fromMs, count = 0; atMs < times.toMs; atMs += times.everyMs, count += 1) {
    const kind = count % 4 === 3 ? 'read' : 'write';
    const sector = (count * (sectors === smallSectors ? 5 : 67)) % (sectors - length);
    const request = { kind, volume, sector, sectors: length } as const;
    actions.push({ atMs, site, kind: 'request', request });
  }
  return actions;
}

/** More than the log holds. */
const much = { fromMs: 1500, toMs: 5500, everyMs: 40 } as const;

export const scenarios: readonly Scenario[] = [
  {
    name: 'a crashed site boots, was primary, and does not promote itself on old data',
    ends: 'in-sync',
    witness: true,
    durationMs: 9000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 30 }),
      { atMs: 1000, site: 'lux-1', kind: 'power-loss', forMs: 3000 },
      ...load('lux-2', { fromMs: 1200, toMs: 3800, everyMs: 50 }),
      { atMs: 3800, site: 'lux-2', kind: 'power-loss', forMs: 3000 },
      ...load('lux-1', { fromMs: 4200, toMs: 8500, everyMs: 100 }),
    ],
  },
  {
    name: 'a replay meets a torn tail, at both sites, again and again',
    ends: 'in-sync',
    witness: false,
    durationMs: 8000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 7500, everyMs: 20 }, 16),
      ...[700, 2400, 4100, 5800].flatMap((atMs): Action[] => [
        { atMs, site: 'lux-1', kind: 'power-loss', forMs: 300 },
        { atMs: atMs + 5, site: 'lux-2', kind: 'power-loss', forMs: 400 },
      ]),
    ],
  },
  {
    name: 'a rejoining secondary is in sync only when all of it was copied, though it crashes',
    ends: 'in-sync',
    witness: true,
    durationMs: 9000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 50 }),
      { atMs: 1000, site: 'lux-2', kind: 'power-loss', forMs: 5000 },
      ...load('lux-1', much, 64),
      { atMs: 6080, site: 'lux-2', kind: 'power-loss', forMs: 200 },
      { atMs: 6400, site: 'lux-2', kind: 'kill', forMs: 200 },
      ...load('lux-1', { fromMs: 6000, toMs: 8500, everyMs: 60 }),
    ],
  },
  {
    name: 'an incomplete copy is not chosen over a complete one that is away',
    ends: 'in-sync',
    witness: true,
    durationMs: 11_000,
    actions: [
      { atMs: 1000, site: 'lux-2', kind: 'power-loss', forMs: 5000 },
      ...load('lux-1', much, 64),
      { atMs: 6060, site: 'lux-1', kind: 'power-loss', forMs: 3500 },
      ...load('lux-2', { fromMs: 6300, toMs: 10_000, everyMs: 100 }),
    ],
  },
  {
    name: 'a block that rots at the primary is healed, and read rotten to nobody',
    ends: 'in-sync',
    witness: true,
    durationMs: 9000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 50 }),
      { atMs: 1500, site: 'lux-2', kind: 'reset', other: 'lux-1' },
      { atMs: 3500, site: 'lux-1', kind: 'rot', what: 'data', place: 0.3 },
      ...load('lux-2', { fromMs: 3600, toMs: 8000, everyMs: 90 }),
    ],
  },
  {
    name: 'a reconnect that fails for long comes to an end',
    ends: 'in-sync',
    witness: true,
    durationMs: 7000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 6500, everyMs: 60 }),
      ...Array.from({ length: 50 }, (_, count): Action => {
        return { atMs: 500 + 100 * count, site: 'lux-1', kind: 'reset', other: 'lux-2' };
      }),
    ],
  },
  {
    name: 'a faulty node does not become the source of a resync',
    ends: 'in-sync',
    resyncs: true,
    wrongWith: ({ sources }) =>
      sources.has('lux-1') || !sources.has('lux-2')
        ? `it went from ${[...sources].join(' and ')}, not from lux-2 alone`
        : undefined,
    witness: true,
    durationMs: 10_000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 40 }),
      { atMs: 1000, site: 'lux-1', kind: 'disk-error', operation: 'append-log', nth: 1 },
      ...load('lux-2', much, 64),
      // Back with what it had, it is to be a copy again; then its source goes, for a while.
      { atMs: 5600, site: 'lux-1', kind: 'kill', forMs: 200 },
      { atMs: 5950, site: 'lux-2', kind: 'power-loss', forMs: 1500 },
      ...load('lux-1', { fromMs: 6000, toMs: 9500, everyMs: 60 }),
    ],
  },
  {
    name: 'a resync that is broken off again and again near its end is done with in the end',
    ends: 'in-sync',
    resyncs: true,
    wrongWith: ({ brokenOff, lostBytes, stages }) => {
      if (brokenOff < 3) return `it was broken off in the middle only ${brokenOff} times`;
      if (stages.size > 1) return `it began ${stages.size} times`;
      return lostBytes > 0 ? `${lostBytes} bytes of it were lost` : undefined;
    },
    witness: true,
    sectors: manySectors,
    seeds: 3,
    durationMs: 11_000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 50 }),
      { atMs: 1000, site: 'lux-2', kind: 'power-loss', forMs: 5000 },
      ...load('lux-1', much, 64, manySectors),
      // Of about fifty extents, sixteen in a question.
      { atMs: 1100, site: 'lux-2', kind: 'reset-as-it-grows', bytes: 1024 * 1024, times: 3 },
      ...load('lux-1', { fromMs: 6000, toMs: 10_000, everyMs: 200 }),
    ],
  },
  {
    name: 'a site whose disk was replaced comes back empty, and gets all of it',
    ends: 'in-sync',
    resyncs: true,
    witness: true,
    durationMs: 8000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1500, everyMs: 40 }),
      { atMs: 1500, site: 'lux-2', kind: 'replace-disk', forMs: 1500 },
      ...load('lux-1', { fromMs: 1600, toMs: 7500, everyMs: 60 }, 64),
      { atMs: 3200, site: 'lux-2', kind: 'power-loss', forMs: 300 },
    ],
  },
  {
    name: 'a power cut at each step of a resync leaves a copy that it goes on from',
    ends: 'in-sync',
    resyncs: true,
    wrongWith: ({ powerLosses }) =>
      powerLosses < 3 ? `the power failed ${powerLosses} times in it, not 3 times` : undefined,
    witness: true,
    sectors: manySectors,
    seeds: 3,
    durationMs: 12_000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 50 }),
      { atMs: 1000, site: 'lux-2', kind: 'power-loss', forMs: 5000 },
      ...load('lux-1', much, 64, manySectors),
      { atMs: 1100, site: 'lux-2', kind: 'power-loss-when', resync: 'begins', forMs: 200 },
      { atMs: 1100, site: 'lux-2', kind: 'power-loss-when', resync: 'is-half-done', forMs: 200 },
      { atMs: 1100, site: 'lux-2', kind: 'power-loss-when', resync: 'is-complete', forMs: 200 },
      ...load('lux-1', { fromMs: 6000, toMs: 11_000, everyMs: 80 }),
    ],
  },
  {
    name: 'a stage that is given up leaves the old image, though the power fails at that moment',
    ends: 'split-ended',
    resyncs: true,
    wrongWith: ({ powerLosses }) => (powerLosses < 2 ? 'no stage was given up' : undefined),
    witness: true,
    sectors: manySectors,
    seeds: 3,
    durationMs: 14_000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 1000, everyMs: 50 }),
      { atMs: 1000, site: 'lux-2', kind: 'power-loss', forMs: 5000 },
      ...load('lux-1', much, 64, manySectors),
      { atMs: 6000, site: 'lux-2', kind: 'power-loss-when', resync: 'is-given-up', forMs: 300 },
      {
        atMs: 6000,
        site: 'lux-1',
        kind: 'power-loss-when',
        resync: 'is-half-done',
        resyncOf: 'lux-2',
        forMs: 8000,
      },
      { atMs: 12_000, site: 'lux-2', kind: 'force' },
      { atMs: 13_000, site: 'lux-2', kind: 'force' },
      ...load('lux-2', { fromMs: 13_100, toMs: 13_900, everyMs: 60 }),
    ],
  },
  {
    name: 'a primary that stood still with answers on their way to it shows nothing stale',
    ends: 'in-sync',
    witness: true,
    durationMs: 9000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 8800, everyMs: 20 }),
      { atMs: 100, site: 'lux-1', kind: 'delay', other: 'lux-2', delayMs: 40, forMs: 8500 },
      ...[1000, 3500, 6000].flatMap((atMs): Action[] => [
        { atMs, site: 'lux-1', kind: 'pause', forMs: 750 },
        // That the connection has ended it learns later.
        { atMs: atMs + 250, site: 'lux-2', kind: 'cut', other: 'lux-1', both: false, forMs: 900 },
        { atMs: atMs + 1500, site: 'lux-1', kind: 'switchover' },
      ]),
    ],
  },
  {
    name: 'a new primary that has no room for a new volume shows nothing stale of the others',
    ends: 'in-sync',
    witness: true,
    durationMs: 6000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 900, everyMs: 30 }),
      { atMs: 100, site: 'lux-1', kind: 'delay', other: 'lux-2', delayMs: 40, forMs: 5500 },
      {
        atMs: 1000,
        site: 'lux-1',
        kind: 'create-volume',
        ...{ volume: 'another', sectors: smallSectors, group: volume, onPeerLoss },
      },
      // After it has said that it could hold such a volume, before it is to.
      { atMs: 1100, site: 'lux-2', kind: 'disk-full', forMs: 2500 },
      ...load('lux-1', { fromMs: 1300, toMs: 1700, everyMs: 30 }),
      { atMs: 1900, site: 'lux-1', kind: 'switchover' },
      ...load('lux-2', { fromMs: 2200, toMs: 3400, everyMs: 30 }),
    ],
  },
  {
    name: 'a site that dies in the middle of making a volume leaves nothing in the way of its name',
    ends: 'in-sync',
    witness: true,
    durationMs: 8000,
    actions: [
      { atMs: 100, site: 'lux-1', kind: 'delay', other: 'lux-2', delayMs: 40, forMs: 7500 },
      ...[1000, 3500].flatMap((atMs, index): Action[] => {
        const volume = `made-${index}`;
        const made = { volume, sectors: smallSectors, group: undefined, onPeerLoss } as const;
        return [
          { atMs, site: 'lux-1', kind: 'create-volume', ...made },
          { atMs: atMs + 110, site: 'lux-1', kind: 'kill', forMs: 500 },
          { atMs: atMs + 2000, site: 'lux-2', kind: 'create-volume', ...made },
        ];
      }),
    ],
  },
  {
    name: 'two sites forced apart never count as one again by themselves',
    ends: 'split-ended',
    witness: true,
    durationMs: 6000,
    actions: [
      ...load('lux-1', { fromMs: 0, toMs: 5500, everyMs: 50 }),
      { atMs: 1000, site: 'lux-2', kind: 'cut', other: 'lux-1', both: true, forMs: 4000 },
      { atMs: 1000, site: 'lux-2', kind: 'cut', other: 'witness', both: true, forMs: 4000 },
      { atMs: 2500, site: 'lux-2', kind: 'force' },
      ...load('lux-2', { fromMs: 4600, toMs: 5000, everyMs: 50 }),
    ],
  },
];

export function planOfScenario(scenario: Scenario, seed: number): Plan {
  const { witness, durationMs, actions, sectors = smallSectors } = scenario;
  const random = new SeededRandom(seed);
  const moved = actions.map((action) => ({ ...action, atMs: action.atMs + random.below(40) }));
  return {
    seed,
    volumes: [{ name: volume, sectors, site: 'lux-1', onPeerLoss, preferredSite: 'lux-1' }],
    checkpointMs: 300,
    logSegments: 4,
    durationMs,
    witness,
    clockRates: { 'lux-1': 1, 'lux-2': 1 },
    actions: moved.sort((a, b) => a.atMs - b.atMs),
  };
}
