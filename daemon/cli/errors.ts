/** Errors of the command line itself, and how every error is shown. */
import { LinkStartError } from '../../replication/link/errors.ts';
import { LogError } from '../../wal/errors.ts';
import { CasemateError } from '../errors.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';

/** The command line was wrong. */
export function usageError(message: string, hint: string): CasemateError {
  return new CasemateError('ERR_USAGE', message, { hint });
}

/** A place where no daemon could be asked, and why. */
export interface Missed {
  readonly place: string;
  readonly error: unknown;
}

/** Nobody answers where the daemon should be. */
export function unreachable(missed: readonly Missed[]): CasemateError {
  const places = missed.map(({ place, error }) => `at ${place}: ${reasonOf(error)}`);
  return new CasemateError('ERR_UNREACHABLE', `no daemon answers ${places.join('; nor ')}`, {
    hint:
      'Is it running? Give its address with --api URL (https where it is not loopback), or its ' +
      'configuration with --config FILE.',
    cause: missed.at(-1)?.error,
  });
}

/** Whoever answers can't show that it is the daemon. */
export function untrusted(place: string, cause: unknown): CasemateError {
  const code = codeOf(cause);
  const hint = /ALTNAME/.test(code)
    ? 'Use a name or address that its certificate has, or issue one: `casemate pki issue --host`.'
    : /EXPIRED|NOT_YET/.test(code)
      ? 'Look at the clocks; then `casemate pki renew`, and reload the daemon.'
      : 'Name the authority that issued its certificate: --ca FILE, the authority.pem of ' +
        '`casemate pki init`.';
  const message = `what answers at ${place} can't be trusted: ${reasonOf(cause)}`;
  return new CasemateError('ERR_API_CERTIFICATE', message, { hint, cause });
}

/** Node.js refuses the certificate of the other end. */
export function isDistrust(error: unknown): boolean {
  return /^(?:UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|HOSTNAME_|ERR_TLS_CERT_)/.test(
    codeOf(error),
  );
}

/** There was no connection at all: whatever was to be sent was not. */
export function nothingSent(error: unknown): boolean {
  return /^(?:ENOENT|ECONNREFUSED|EACCES|EPERM|ENOTDIR)$/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  const hasCode = error instanceof Error && 'code' in error && typeof error.code === 'string';
  return hasCode ? String(error.code) : '';
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? codeOf(error) : error.message;
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
