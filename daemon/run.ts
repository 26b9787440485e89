/**
 * The daemon process: a site with its NBD server and its HTTP API, from start to an orderly stop.
 * `casemate run` and, twice, `casemate demo` come here.
 */
import { SiteMetrics } from '../metrics/site-metrics.ts';
import { ApiAccess } from './api/access.ts';
import { createApi } from './api/create-api.ts';
import { parseAddress } from './config/address.ts';
import type { Config } from './config/schema.ts';
import { createLogger, type Logger } from './logger.ts';
import { allocatedBytes, metricsSnapshot } from './metrics-snapshot.ts';
import { ClientAccess } from './nbd/client-access.ts';
import type { ClientTls } from './nbd/connection-host.ts';
import { NbdServer } from './nbd/server.ts';
import { requestFigures } from './page/request-figures.ts';
import {
  endOnContradiction,
  listenForOperators,
  reloadOnHangUp,
  serviceManager,
  stopSignal,
} from './process-life.ts';
import { siteSentence } from './service-sentence.ts';
import { Site } from './site.ts';
import { systemPorts } from './site-ports.ts';
import { servesClients } from './status.ts';
import { systemClock } from './system-clock.ts';
import { HttpListeners } from './system-http-server.ts';
import type { TlsCredentials } from './system-tls.ts';
import { clientTls, siteWiring } from './tls-wiring.ts';
import type { Volume } from './volume/volume.ts';

/** Clients' requests that are under way when the daemon is told to stop get so long. */
const stopGraceMs = 2000;
/** What starts after this service waits so long for volumes that do not serve, and no longer. */
const readyWithinMs = 30_000;

/**
 * Runs one site until SIGTERM or SIGINT; resolves when everything is closed. `reread` gives the
 * configuration as it is now, for SIGHUP.
 */
export async function runSite(config: Config, reread: () => Config): Promise<void> {
  const logger = createLogger({ level: config.logging.level, site: config.site });
  const service = serviceManager(logger);
  const { network, credentials } = siteWiring(config, logger.child({ component: 'tls' }));
  const rereadAll = (): Config => {
    const next = reread();
    credentials?.reload();
    return next;
  };
  const access = new ApiAccess({ tokens: config.api.tokens, nowMs: systemClock.nowMs });
  reloadOnHangUp({ running: config, reread: rereadAll, access, logger, service });
  service.starting('Reading the log');
  const bug = endOnContradiction(logger);
  let nbd: NbdServer | undefined;
  let api: { close: () => Promise<void> } | undefined;
  const site = await Site.open({
    config,
    logger: logger.child({ component: 'site' }),
    bug,
    volumeGone: (name) => nbd?.disconnectExport(name),
    ports: { ...systemPorts(), network, certificates: () => credentials?.ends ?? [] },
  });
  try {
    nbd = nbdServer(site, logger.child({ component: 'nbd' }));
    await listen(nbd, config, clientTls({ config, credentials }));
    const apiLogger = logger.child({ component: 'api' });
    api = await serveOperators(site, { access, credentials, logger: apiLogger });
    await site.start();
    logger.info({ api: config.api.listen, nbd: config.nbd.unix }, 'serving');
    service.started({
      isReady: () => [...site.groups.all].every(servesClients),
      readyWithinMs,
      sentence: async () => siteSentence(await site.status()),
    });
    const signal = await stopSignal();
    logger.info({ signal }, 'stopping');
    service.stopping('Writing what the log has to the data files');
    await nbd.close({ graceMs: stopGraceMs });
    await api.close();
  } catch (error) {
    // A daemon that could not start whole must not stay and serve in part.
    await nbd?.close({ graceMs: 0 });
    await api?.close();
    throw error;
  } finally {
    await site.close();
    service.close();
  }
  logger.info('stopped');
}

function nbdServer(site: Site, logger: Logger): NbdServer {
  const { nbd } = site.config;
  const { connectionsMax, requestsInFlightMax, bytesInFlightMax, replyQueueBytesMax } = nbd;
  return new NbdServer({
    exports: site.groups,
    access: new ClientAccess(site.config.access ?? {}),
    limits: {
      connectionsMax,
      requestsInFlightMax,
      bytesInFlightMax,
      replyQueueBytesMax,
      handshakeTimeoutMs: nbd.handshakeMs,
      bytesInFlightTotalMax: site.config.volumes.memoryBytesMax,
    },
    logger,
    nowMs: () => site.clock.nowMs(),
  });
}

async function listen(
  server: NbdServer,
  { nbd }: Config,
  tls: ClientTls | undefined,
): Promise<void> {
  await server.listenUnix(nbd.unix);
  const address = nbd.listen === undefined ? undefined : parseAddress(nbd.listen);
  if (address !== undefined) await server.listenTcp(address.host, address.port, tls);
}

async function serveOperators(
  site: Site,
  options: {
    readonly access: ApiAccess;
    readonly credentials: TlsCredentials | undefined;
    readonly logger: Logger;
  },
): Promise<{ close: () => Promise<void> }> {
  const { access, credentials, logger } = options;
  let allocated: ReadonlyMap<Volume, number> = new Map();
  const metrics = new SiteMetrics(() => {
    return { ...metricsSnapshot(site, allocated), apiRefused: access.refused };
  });
  const listeners = new HttpListeners((request, response) => api.routing(request, response));
  const api = createApi({
    control: site,
    metricsText: async () => {
      allocated = await allocatedBytes(site);
      return await metrics.text();
    },
    figures: () => requestFigures(metricsSnapshot(site, new Map())),
    bodyBytesMax: site.config.api.bodyBytesMax,
    guard: { access, originOf: listeners.originOf },
    logger,
  });
  const close = async (): Promise<void> => {
    await listeners.close();
    await api.close();
  };
  try {
    await api.ready();
    await listenForOperators(listeners, site.config.api, credentials);
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}
