/** A witness in this process, on a real socket and a real SQLite file, and sites that ask it. */
import { pino } from 'pino';
import type { Test } from 'tap';
import { remoteAcceptor } from '../../daemon/register-calls.ts';
import { randomId, systemClock, systemRandom, wallClockMs } from '../../daemon/system-clock.ts';
import { systemNetwork } from '../../daemon/system-network.ts';
import { parseWitnessConfig, type WitnessConfig } from '../../daemon/witness/witness-config.ts';
import { WitnessServer } from '../../daemon/witness/witness-server.ts';
import { WitnessStore } from '../../daemon/witness/witness-store.ts';
import { WitnessLink } from '../../daemon/witness-link.ts';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { LinkReason } from '../../replication/link/errors.ts';
import type { AcceptorClient, Ballot } from '../../replication/register/acceptor.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

export interface Rig {
  readonly config: WitnessConfig;
  readonly store: WitnessStore;
  readonly server: WitnessServer;
}

export async function startWitness(t: Test, more = ''): Promise<Rig> {
  const config = parseWitnessConfig(`name = "lux-w"
dataDirectory = "${scratchDirectory(t)}/witness"
listen = "127.0.0.1:0"
${more}
[clusters.lux]
sites = ["lux-1", "lux-2"]
[clusters.nova]
sites = ["nova-1", "nova-2"]
`);
  const store = WitnessStore.open({
    directory: config.dataDirectory,
    name: config.name,
    groupsMax: config.limits.groupsMax,
    newId: randomId,
  });
  const server = new WitnessServer({
    config,
    store,
    network: systemNetwork,
    clock: systemClock,
    bootId: randomId(),
    logger: pino({ level: 'silent' }),
    later: (run) => {
      setImmediate(run);
    },
  });
  await server.start();
  t.teardown(async () => {
    await server.close();
    store.close();
  });
  return { config, store, server };
}

export type Meeting =
  | { readonly storeId: string; readonly reason?: undefined }
  | { readonly storeId?: undefined; readonly reason: LinkReason };

export interface AskingSite {
  readonly link: WitnessLink;
  readonly storeId: string;
  /** The first thing that was heard of the witness. */
  readonly met: Promise<Meeting>;
  /** The witness's acceptor, once it was met. */
  acceptor(): Promise<AcceptorClient>;
}

export function askingSite(
  t: Test,
  options: { address: string; cluster?: string; site?: string; witness?: string },
): AskingSite {
  const { address, cluster = 'lux', site = 'lux-1', witness = 'lux-w' } = options;
  const storeId = randomId();
  let meet: (meeting: Meeting) => void = () => undefined;
  const met = new Promise<Meeting>((resolve) => {
    meet = resolve;
  });
  const link = new WitnessLink({
    name: witness,
    address,
    own: {
      clusterId: cluster,
      siteName: site,
      storeId,
      bootId: randomId(),
      softwareVersion: 'test',
    },
    network: systemNetwork,
    clock: systemClock,
    random: systemRandom,
    wallMs: wallClockMs,
    connected: (witnessStore) => meet({ storeId: witnessStore }),
    lost: (reason) => meet({ reason }),
  });
  link.start();
  t.teardown(() => link.close());
  return {
    link,
    storeId,
    met,
    acceptor: async () => {
      const meeting = await met;
      if (meeting.storeId === undefined) throw new Error(meeting.reason.text);
      return remoteAcceptor(meeting.storeId, (method, value) => link.call(method, value));
    },
  };
}

export function ballot(round: number, storeId: string): Ballot {
  return { round, storeId, bootId: '1'.repeat(32) };
}

/** A first configuration that these stores decide on. */
export function firstValue(acceptors: readonly string[]): GroupConfig {
  const [primary = ''] = acceptors;
  return {
    epoch: 1,
    epochId: randomId(),
    primary,
    inSync: [primary],
    acceptors,
    leaseMs: 1600,
    graceMs: 2100,
  };
}
