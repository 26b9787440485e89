/** Names under which scenarios leave samples, for those who measure and those who report. */
import type { Workload } from './fio.ts';

/** Volumes with one request in flight each. */
export const volumeCounts = [1, 8, 64] as const;
export const volumeJobs = volumeCounts.map((count) => ({ job: `volumes-${count}`, x: count }));
/** One volume with as many requests in flight as the most volumes have together. */
export const oneVolumeJob = 'volume-qd64';

/** Its samples are windows one after the other, no repetitions. */
export const resyncJob = 'resync';

/** Round trips between the sites. */
export const distancesMs = [0, 0.5, 2] as const;

/** What is run at each distance. */
export const distanceLoads = [
  { load: '4 KiB random write QD1', name: 'qd1', depth: 1, pattern: 'randwrite', blockBytes: 4096 },
  {
    load: '4 KiB random write QD32',
    name: 'qd32',
    depth: 32,
    pattern: 'randwrite',
    blockBytes: 4096,
  },
  {
    load: '1 MiB sequential write QD8',
    name: '1m',
    depth: 8,
    pattern: 'write',
    blockBytes: 2 ** 20,
  },
] as const satisfies readonly (Workload & { load: string; name: string })[];

export const distanceJob = (name: string, milliseconds: number): string =>
  `distance-${name}-${milliseconds}ms`;

export const distanceJobs = distanceLoads.map(({ load, name }) => ({
  load,
  points: distancesMs.map((x) => ({ job: distanceJob(name, x), x })),
}));

/** The same loads at a pair with TLS and at one without. */
export const tlsJob = (name: string): string => `tls-${name}`;

/** Everything above, for tables. */
export const scenarioJobs: readonly { readonly name: string; readonly title: string }[] = [
  ...volumeJobs.map(({ job, x }) => ({
    name: job,
    title: `${x} ${x === 1 ? 'volume' : 'volumes'}, 4 KiB random write QD1 each`,
  })),
  { name: oneVolumeJob, title: '1 volume, 4 KiB random write QD64' },
  { name: resyncJob, title: '4 KiB random write QD8 while the peer catches up' },
  ...distanceLoads.map(({ load, name }) => ({ name: tlsJob(name), title: `${load}, TLS or not` })),
  ...distanceJobs.flatMap(({ load, points }) =>
    points.map(({ job, x }) => ({ name: job, title: `${load}, ${x} ms between the sites` })),
  ),
];
