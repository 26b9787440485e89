/** How long an operator's action may take before it is reported as not done. */
import type { Clock } from '../replication/link/clock.ts';
import { CasemateError } from './errors.ts';

const operationMsMax = 30_000;

/** Gives the result of `promise`, or throws ERR_TIMEOUT: what was begun may still be finished. */
export async function withinOperation<Result>(
  clock: Clock,
  promise: Promise<Result>,
  what: string,
): Promise<Result> {
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
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
