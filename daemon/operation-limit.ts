/** How long an operator's action may take before it is reported as not done. */
import type { Clock } from '../replication/link/clock.ts';
import { CasemateError } from './errors.ts';

const operationMsMax = 30_000;

/**
 * Gives the result of what `begin` begins, or throws ERR_TIMEOUT: it may still be finished later.
 * The signal is aborted when nobody waits for it any more: what has not begun by then must not.
 */
export async function withinOperation<Result>(
  clock: Clock,
  what: string,
  begin: (givenUp: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const givenUp = new AbortController();
  let cancel = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    cancel = clock.setTimer(operationMsMax, () => {
      reject(
        new CasemateError('ERR_TIMEOUT', `${what} took longer than ${operationMsMax} ms`, {
          hint: 'It may still be finished later: `casemate status` shows how it stands.',
          status: 504,
        }),
      );
    });
  });
  try {
    return await Promise.race([begin(givenUp.signal), late]);
  } finally {
    cancel();
    givenUp.abort();
  }
}
