/** What every long-running process of ours does at its start and waits for at its end. */

import { sendDatagram } from '../wal/system-calls.ts';
import type { HttpServer } from './api/http-server.ts';
import { parseAddress } from './config/address.ts';
import { type Reloadable, reloadConfig } from './config-reload.ts';
import { CasemateError } from './errors.ts';
import { type Logger, setLogLevel } from './logger.ts';
import { ServiceManager, serviceEnvironment } from './service-manager.ts';
import { systemClock } from './system-clock.ts';

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

/** @throws CasemateError ERR_API_LISTEN when nothing can listen on that (checked) address */
export async function listenForOperators(api: HttpServer, listen: string): Promise<void> {
  const address = parseAddress(listen);
  if (address === undefined) throw new Error('the configuration was checked');
  try {
    await api.listen({ host: address.host, port: address.port });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_API_LISTEN', `the API cannot listen: ${why}`, {
      hint: 'Set api.listen to an address that nothing else uses.',
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

/** From now on SIGHUP reads the configuration again and takes over what a running daemon can. */
export function reloadOnHangUp<Configuration extends Reloadable>(options: {
  readonly running: Configuration;
  readonly reread: () => Configuration;
  readonly logger: Logger;
  readonly service: ServiceManager;
}): void {
  const { logger, service } = options;
  const apply = ({ logging }: Configuration): void => setLogLevel(logger, logging.level);
  process.on('SIGHUP', () => void service.reload(() => reloadConfig({ ...options, apply })));
}
