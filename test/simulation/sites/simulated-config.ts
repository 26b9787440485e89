/** The configuration of the simulated sites: short times and a small log, all else as in use. */
import { parseConfig } from '../../../daemon/config/parse.ts';
import type { Config } from '../../../daemon/config/schema.ts';
import { parseWitnessConfig, type WitnessConfig } from '../../../daemon/witness/witness-config.ts';

export const siteNames = ['lux-1', 'lux-2'] as const;
export type SiteName = (typeof siteNames)[number];
export type MachineName = SiteName | 'witness';

export function otherSite(name: SiteName): SiteName {
  return name === 'lux-1' ? 'lux-2' : 'lux-1';
}

/** The address on which a machine's process listens. */
export function addressOf(machine: MachineName): string {
  return `10.0.0.${machine === 'lux-1' ? 1 : machine === 'lux-2' ? 2 : 3}:10800`;
}

export function machineOf(address: string): string {
  if (address.startsWith('10.0.0.1:')) return 'lux-1';
  return address.startsWith('10.0.0.2:') ? 'lux-2' : 'witness';
}

export function simulatedWitnessConfig(): WitnessConfig {
  return parseWitnessConfig(
    [
      'name = "witness"',
      'dataDirectory = "/data"',
      `listen = "${addressOf('witness')}"`,
      '[clusters.simulated]',
      `sites = ${JSON.stringify(siteNames)}`,
    ].join('\n'),
  );
}

export interface SimulatedConfigOptions {
  readonly checkpointMs: number;
  readonly logSegments: number;
  readonly witness: boolean;
}

export const simulatedTimes = {
  heartbeatMs: 75,
  ackTimeoutMs: 300,
  leaseMs: 400,
  graceMs: 520,
  connectMs: 600,
  registerPollMs: 1000,
  rejoinBackoffMs: 100,
  rejoinBackoffMsMax: 2000,
} as const;

export function simulatedConfig(name: SiteName, options: SimulatedConfigOptions): Config {
  const times = Object.entries(simulatedTimes).map(([key, value]) => `${key} = ${value}`);
  const config = parseConfig(
    [
      'cluster = "simulated"',
      `site = "${name}"`,
      'dataDirectory = "/data"',
      '[peer]',
      `site = "${otherSite(name)}"`,
      `address = "${addressOf(otherSite(name))}"`,
      '[replication]',
      `listen = "${addressOf(name)}"`,
      ...times,
      ...(options.witness
        ? ['[witness]', 'name = "witness"', `address = "${addressOf('witness')}"`]
        : []),
      '[log]',
      `checkpointMs = ${options.checkpointMs}`,
      '[events]',
      'countMax = 100',
    ].join('\n'),
  );
  // Below what the file may say: a frame of these small volumes fits into a segment.
  const segmentBytes = 128 * 1024;
  const sizeBytes = options.logSegments * segmentBytes;
  return {
    ...config,
    // The relations between these are those that a file is checked for.
    replication: { ...config.replication, inFlightBytesMax: sizeBytes / 4 },
    volumes: { ...config.volumes, applyBacklogBytesMax: sizeBytes / 2 },
    log: {
      ...config.log,
      segmentBytes,
      sizeBytes,
      commitBytesMax: 32 * 1024,
      checkpointBytes: 2 * segmentBytes,
    },
  };
}
