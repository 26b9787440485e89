/**
 * Everything a site asks of the world besides its configuration: disk, network, time, chance and
 * the store's databases. `casemate run` uses the real ones; the simulator has its own, so that the
 * same site runs there, repeatably.
 */
import type { Clock, Random } from '../replication/link/clock.ts';
import type { Network } from '../replication/link/network.ts';
import type { Disk } from '../wal/disk.ts';
import { SystemDisk } from '../wal/system-disk.ts';
import { type OpenDatabase, openDatabase } from './store/database.ts';
import { randomId, systemClock, systemRandom, wallClockMs } from './system-clock.ts';
import { freeBytesAt } from './system-files.ts';
import { systemNetwork } from './system-network.ts';
import type { CertificateEnd } from './system-tls.ts';

export interface SitePorts {
  readonly disk: Disk;
  readonly network: Network;
  /** When the certificates end that this site needs; none without TLS. */
  readonly certificates?: () => readonly CertificateEnd[];
  readonly clock: Clock;
  /** Wall clock, milliseconds since 1970: for people and recovery points, never for decisions. */
  readonly wallMs: () => number;
  readonly random: Random;
  /** 128 random bits as 32 hex digits. */
  readonly randomId: () => string;
  readonly openDatabase: OpenDatabase;
  /** Bytes that the file system of a path has room for; without it no room is looked for. */
  readonly freeBytesAt?: (path: string) => Promise<number>;
  /** Runs it when what has arrived by now has been looked at: what comes meanwhile can join in. */
  readonly later: (run: () => void) => void;
}

/** The ports of a site that runs for real. */
export function systemPorts(): SitePorts {
  return {
    disk: new SystemDisk(),
    network: systemNetwork,
    clock: systemClock,
    wallMs: wallClockMs,
    random: systemRandom,
    randomId,
    openDatabase,
    freeBytesAt,
    later: (run) => {
      setImmediate(run);
    },
  };
}

/** Resolves after so many milliseconds of the clock. */
export function delayOn(clock: Clock): (ms: number) => Promise<void> {
  return (ms) =>
    new Promise((resolve) => {
      clock.setTimer(ms, resolve);
    });
}
