/** What every long-running process of ours does at its start and waits for at its end. */

import { sendDatagram } from '../wal/system-calls.ts';
import type { ApiAccess } from './api/access.ts';
import type { TokenSettings } from './api/tokens.ts';
import { isLoopbackHost, parseAddress } from './config/address.ts';
import { type Reloadable, reloadConfig } from './config-reload.ts';
import { CasemateError } from './errors.ts';
import { type Logger, setLogLevel } from './logger.ts';
import { ServiceManager, serviceEnvironment } from './service-manager.ts';
import { systemClock } from './system-clock.ts';
import type { HttpListeners } from './system-http-server.ts';
import type { TlsCredentials } from './system-tls.ts';

/** Exit code after a failed assertion: the state in memory can't be trusted, what is kept can. */
const contradictionExitCode = 70;

/** Ends the process when the program meets a contradiction, also where nobody catches it. */
export function endOnContradiction(logger: Logger): (error: unknown) => void {
  const end = (error: unknown): void => {
    logger.fatal({ err: error }, 'a contradiction inside the program; the process ends');
    process.exit(contradictionExitCode);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
  return end;
}

/**
 * Listens where the (checked) configuration says: without TLS on loopback only.
 * @throws CasemateError ERR_API_LISTEN
 */
export async function listenForOperators(
  listeners: HttpListeners,
  api: { readonly listen: string; readonly unix: string },
  credentials: TlsCredentials | undefined,
): Promise<void> {
  const address = parseAddress(api.listen);
  if (address === undefined) throw new Error('the configuration was checked');
  await listening('api.unix', () => listeners.listenUnix(api.unix));
  await listening('api.listen', () => {
    if (isLoopbackHost(address.host)) return listeners.listenLoopback(address);
    if (credentials === undefined) throw new Error('the configuration was checked');
    return listeners.listenSecure(address, credentials);
  });
}

async function listening(key: string, listen: () => Promise<unknown>): Promise<void> {
  try {
    await listen();
  } catch (cause) {
    if (cause instanceof CasemateError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_API_LISTEN', `the API cannot listen: ${why}`, {
      hint: `Set ${key} to a place that is there, and that nothing else uses.`,
      cause,
    });
  }
}

/** Resolves with the first signal that asks the process to stop. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
}

/** The service manager that started this process, if one did. */
export function serviceManager(logger: Logger): ServiceManager {
  return new ServiceManager(serviceEnvironment(process.env, process.pid), {
    clock: systemClock,
    send: (socket, text) => sendDatagram(socket, Buffer.from(text)).code,
    warn: (text) => logger.warn(text),
  });
}

/** What of a configuration a running daemon takes over. */
export interface LifeConfig extends Reloadable {
  readonly api: { readonly tokens?: TokenSettings };
}

/** From now on SIGHUP reads the configuration again and takes over what a running daemon can. */
export function reloadOnHangUp<Configuration extends LifeConfig>(options: {
  readonly running: Configuration;
  readonly reread: () => Configuration;
  readonly access: ApiAccess;
  readonly logger: Logger;
  readonly service: ServiceManager;
}): void {
  const { access, logger, service } = options;
  const apply = ({ logging, api }: Configuration): void => {
    setLogLevel(logger, logging.level);
    access.take(api.tokens);
  };
  process.on('SIGHUP', () => void service.reload(() => reloadConfig({ ...options, apply })));
}
