/** Errors of the command line itself, and how every error is shown. */
import { LinkStartError } from '../../replication/link/errors.ts';
import { LogError } from '../../wal/errors.ts';
import { CasemateError } from '../errors.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';

/** The command line was wrong. */
export function usageError(message: string, hint: string): CasemateError {
  return new CasemateError('ERR_USAGE', message, { hint });
}

/** Nobody answers where the daemon should be. */
export function unreachable(url: string, cause: unknown): CasemateError {
  return new CasemateError('ERR_UNREACHABLE', `no daemon answers at ${url}: ${reasonOf(cause)}`, {
    hint: 'Is it running? Give its address with --api URL, or its configuration with --config FILE.',
    cause,
  });
}

/** fetch says only that it failed; its cause says why. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (!(inner instanceof Error)) return String(inner);
  const code = 'code' in inner && typeof inner.code === 'string' ? inner.code : '';
  return inner.message === '' ? code : inner.message;
}

/** "casemate: <message> (CODE)" and, on a line of its own, what to do about it. */
export function errorText(error: unknown): string {
  if (
    error instanceof CasemateError ||
    error instanceof LogError ||
    error instanceof LinkStartError
  ) {
    const hint = hintOf(error);
    const advice = hint === undefined ? '' : `hint: ${hint}\n`;
    return `casemate: ${error.message} (${error.code})\n${advice}`;
  }
  const details = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `casemate: an unexpected error (ERR_INTERNAL)\n${details}\n`;
}

function hintOf(error: CasemateError | LogError | LinkStartError): string | undefined {
  if (!(error instanceof LinkStartError)) return error.hint;
  if (error.code !== 'ERR_LINK_LISTEN') return undefined;
  return 'Set replication.listen (of a witness: listen) to an address that nothing else uses.';
}

export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof CasemateError)) return exitCodes.failed;
  if (error.code === 'ERR_USAGE') return exitCodes.usage;
  return error.code === 'ERR_UNREACHABLE' ? exitCodes.unreachable : exitCodes.failed;
}
