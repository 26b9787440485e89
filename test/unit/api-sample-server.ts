/** The API of a sample site in this process, on real sockets, as the daemon listens. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { ApiAccess } from '../../daemon/api/access.ts';
import { createApi } from '../../daemon/api/create-api.ts';
import { type Role, type TokenSettings, tokenHash, tokenOf } from '../../daemon/api/tokens.ts';
import { createLogger } from '../../daemon/logger.ts';
import { HttpListeners } from '../../daemon/system-http-server.ts';
import type { TlsCredentials } from '../../daemon/system-tls.ts';
import { noFigures, type SampleSite } from './api-sample-site.ts';

/** A token made of a name, so that each test can tell what it is. */
export function sampleToken(name: string): string {
  return tokenOf(Buffer.from(name.padEnd(32, '.')));
}

/** The table `api.tokens` with the sample tokens of these names. */
export function sampleTokens(roles: Readonly<Record<string, Role>>): TokenSettings {
  const entries = Object.entries(roles).map(([name, role]) => {
    return [name, { role, sha256: tokenHash(sampleToken(name)) }] as const;
  });
  return Object.fromEntries(entries);
}

export interface SampleServer {
  readonly site: SampleSite;
  readonly access: ApiAccess;
  readonly listeners: HttpListeners;
  /** By HTTP on loopback. */
  readonly url: string;
  /** By HTTPS; without credentials not there. */
  readonly secureUrl: string;
  readonly socketPath: string;
  /** What came to the log. */
  readonly log: string[];
}

/** Listens until the end of the test. */
export async function sampleServer(
  t: Test,
  options: {
    readonly site: SampleSite;
    readonly directory: string;
    readonly tokens?: TokenSettings;
    readonly credentials?: TlsCredentials;
    readonly metricsText?: string;
  },
): Promise<SampleServer> {
  const { site, tokens, credentials } = options;
  const log: string[] = [];
  const access = new ApiAccess({ tokens, nowMs: () => 0 });
  const listeners = new HttpListeners((request, response) => api.routing(request, response));
  const api = createApi({
    control: site,
    metricsText: async () => options.metricsText ?? '',
    figures: noFigures,
    bodyBytesMax: 65_536,
    guard: { access, originOf: listeners.originOf },
    logger: createLogger({
      level: 'trace',
      site: 'lux-1',
      destination: { write: (line) => void log.push(line) },
    }),
  });
  await api.ready();
  const here = { host: '127.0.0.1', port: 0 };
  const socketPath = join(options.directory, 'api.sock');
  await listeners.listenUnix(socketPath);
  const port = await listeners.listenLoopback(here);
  const secure = credentials === undefined ? 0 : await listeners.listenSecure(here, credentials);
  t.teardown(async () => {
    await listeners.close();
    await api.close();
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    site,
    access,
    listeners,
    url,
    secureUrl: `https://127.0.0.1:${secure}`,
    socketPath,
    log,
  };
}
