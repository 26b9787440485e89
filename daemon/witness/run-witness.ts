/**
 * The witness process, `casemate witness`: the third voter of the register for any number of pairs.
 * It holds no data and decides nothing by itself; it only never forgets what it promised.
 */
import { createLogger, type Logger } from '../logger.ts';
import { endOnContradiction, listenForOperators, stopSignal } from '../process-life.ts';
import { randomId, systemClock, wallClockMs } from '../system-clock.ts';
import { systemNetwork } from '../system-network.ts';
import { softwareVersion } from '../version.ts';
import { createWitnessApi } from './witness-api.ts';
import type { WitnessConfig } from './witness-config.ts';
import { WitnessServer } from './witness-server.ts';
import { WitnessStore } from './witness-store.ts';

/** Runs a witness until SIGTERM or SIGINT; resolves when everything is closed. */
export async function runWitness(config: WitnessConfig): Promise<void> {
  const logger = createLogger({ level: config.logging.level, site: config.name });
  const bug = endOnContradiction(logger);
  const store = WitnessStore.open({
    directory: config.dataDirectory,
    name: config.name,
    groupsMax: config.limits.groupsMax,
    newId: randomId,
  });
  try {
    await serve(config, store, logger, bug);
  } finally {
    store.close();
  }
  logger.info('stopped');
}

async function serve(
  config: WitnessConfig,
  store: WitnessStore,
  logger: Logger,
  bug: (error: unknown) => void,
): Promise<void> {
  const startedAtMs = wallClockMs();
  const server = new WitnessServer({
    config,
    store,
    network: systemNetwork,
    clock: systemClock,
    bootId: randomId(),
    logger: logger.child({ component: 'witness' }),
    later: (run) => {
      setImmediate(run);
    },
    bug,
  });
  const api = createWitnessApi({
    snapshot: () => ({
      name: config.name,
      version: softwareVersion,
      startedAtMs,
      failed: server.failure !== undefined,
      syncs: store.commits,
      clusters: Object.keys(config.clusters).map((cluster) => ({
        cluster,
        groups: store.groupsOf(cluster),
      })),
      sites: server.clients(),
    }),
    logger: logger.child({ component: 'api' }),
    bug,
  });
  try {
    await server.start();
    await listenForOperators(api, config.api.listen);
    logger.info({ listen: server.address, api: config.api.listen }, 'serving');
    logger.info({ signal: await stopSignal() }, 'stopping');
  } finally {
    await api.close();
    await server.close();
  }
}
