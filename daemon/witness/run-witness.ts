/**
 * The witness process, `casemate witness`: the third voter of the register for any number of pairs.
 * It holds no data and decides nothing by itself; it only never forgets what it promised.
 */

import type { WitnessSnapshot } from '../../metrics/witness-declarations.ts';
import type { Network } from '../../replication/link/network.ts';
import { ApiAccess } from '../api/access.ts';
import { createLogger, type Logger } from '../logger.ts';
import {
  endOnContradiction,
  listenForOperators,
  reloadOnHangUp,
  serviceManager,
  stopSignal,
} from '../process-life.ts';
import type { ServiceManager } from '../service-manager.ts';
import { witnessSentence } from '../service-sentence.ts';
import { randomId, systemClock, wallClockMs } from '../system-clock.ts';
import { HttpListeners } from '../system-http-server.ts';
import type { TlsCredentials } from '../system-tls.ts';
import { witnessWiring } from '../tls-wiring.ts';
import { softwareVersion } from '../version.ts';
import { createWitnessApi } from './witness-api.ts';
import type { WitnessConfig } from './witness-config.ts';
import { WitnessServer } from './witness-server.ts';
import { WitnessStore } from './witness-store.ts';

/**
 * Runs a witness until SIGTERM or SIGINT; resolves when everything is closed. `reread` gives the
 * configuration as it is now, for SIGHUP.
 */
export async function runWitness(
  config: WitnessConfig,
  reread: () => WitnessConfig,
): Promise<void> {
  const logger = createLogger({ level: config.logging.level, site: config.name });
  const service = serviceManager(logger);
  const { network, credentials } = witnessWiring(config, logger.child({ component: 'tls' }));
  const rereadAll = (): WitnessConfig => {
    const next = reread();
    credentials?.reload();
    return next;
  };
  const access = new ApiAccess({ tokens: config.api.tokens, nowMs: systemClock.nowMs });
  reloadOnHangUp({ running: config, reread: rereadAll, access, logger, service });
  service.starting('Opening the store');
  const bug = endOnContradiction(logger);
  const store = WitnessStore.open({
    directory: config.dataDirectory,
    name: config.name,
    groupsMax: config.limits.groupsMax,
    newId: randomId,
  });
  try {
    await serve(config, store, { logger, service, bug, network, credentials, access });
  } finally {
    store.close();
    service.close();
  }
  logger.info('stopped');
}

async function serve(
  config: WitnessConfig,
  store: WitnessStore,
  life: {
    logger: Logger;
    service: ServiceManager;
    bug: (error: unknown) => void;
    network: Network;
    credentials: TlsCredentials | undefined;
    access: ApiAccess;
  },
): Promise<void> {
  const { logger, service, bug, network, credentials, access } = life;
  const startedAtMs = wallClockMs();
  const server = new WitnessServer({
    config,
    store,
    network,
    clock: systemClock,
    bootId: randomId(),
    logger: logger.child({ component: 'witness' }),
    later: (run) => {
      setImmediate(run);
    },
  });
  const snapshot = (): WitnessSnapshot => ({
    name: config.name,
    version: softwareVersion,
    startedAtMs,
    failed: server.failure !== undefined,
    syncs: store.commits,
    apiRefused: access.refused,
    certificates: credentials?.ends ?? [],
    clusters: Object.keys(config.clusters).map((cluster) => ({
      cluster,
      groups: store.groupsOf(cluster),
    })),
    sites: server.clients(),
  });
  const listeners = new HttpListeners((request, response) => api.routing(request, response));
  const api = createWitnessApi({
    snapshot,
    guard: { access, originOf: listeners.originOf },
    logger: logger.child({ component: 'api' }),
    bug,
  });
  try {
    await server.start();
    await api.ready();
    await listenForOperators(listeners, config.api, credentials);
    logger.info({ listen: server.address, api: config.api.listen }, 'serving');
    service.started({
      isReady: () => server.failure === undefined,
      readyWithinMs: 0,
      sentence: () => Promise.resolve(witnessSentence(snapshot())),
    });
    logger.info({ signal: await stopSignal() }, 'stopping');
    service.stopping('Closing connections');
  } finally {
    await listeners.close();
    await api.close();
    await server.close();
  }
}
