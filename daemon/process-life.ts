/** What every long-running process of ours does at its start and waits for at its end. */
import type { HttpServer } from './api/http-server.ts';
import { parseAddress } from './config/address.ts';
import { CasemateError } from './errors.ts';
import type { Logger } from './logger.ts';

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
