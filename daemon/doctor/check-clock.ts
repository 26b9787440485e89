/**
 * The wall clock: certificates and the times that people are told depend on it (the protocol does
 * not). The link between the sites tells no time; etcd does, where it decides.
 */
import { clockState } from '../../wal/system-calls.ts';
import type { Config } from '../config/schema.ts';
import { wallClockMs } from '../system-clock.ts';
import { dateAt } from '../system-http-date.ts';
import { type Finding, findingsOf } from './finding.ts';

const { ok, warning, error } = findingsOf('clock');

const offsetMsWarned = 2000;
const offsetMsWrong = 60_000;
/** The date of an HTTP answer has whole seconds. */
const dateResolutionMs = 1000;
const dateTimeoutMs = 3000;

const syncAdvice =
  'Start a time service (systemd-timesyncd, chrony), with a server both sites can reach.';

/** Whether the clock is kept, and how far it is from those of etcd if that is asked. */
export async function checkClock(register: Config['register'] | undefined): Promise<Finding[]> {
  const found = [judgeSync(clockState())];
  if (register?.type !== 'etcd') return found;
  for (const url of register.endpoints ?? []) {
    const date = await dateAt(url, dateTimeoutMs);
    if (date !== undefined) {
      const between = (wallClockMs() + date.askedAtMs) / 2;
      found.push(judgeOffset(url, date.dateMs + dateResolutionMs / 2 - between));
    }
  }
  return found;
}

/** What the kernel says of its clock. */
export function judgeSync(state: ReturnType<typeof clockState>): Finding {
  if (state === undefined) {
    return warning('the kernel does not say whether the clock is kept', syncAdvice);
  }
  if (!state.synchronised) {
    return warning(
      'nothing keeps the clock in step (the kernel says: not synchronised)',
      syncAdvice,
    );
  }
  return ok(`the clock is kept in step, within ${Math.ceil(state.errorMsMax)} ms`);
}

/** `offsetMs`: how far the other clock is ahead of this one, known to half a second. */
export function judgeOffset(where: string, offsetMs: number): Finding {
  const seconds = (Math.abs(offsetMs) / 1000).toFixed(1);
  const text = `this clock is ${seconds} s ${offsetMs > 0 ? 'behind' : 'ahead of'} that of ${where}`;
  if (Math.abs(offsetMs) > offsetMsWrong) return error(text, syncAdvice);
  if (Math.abs(offsetMs) > offsetMsWarned) return warning(text, syncAdvice);
  return ok(`this clock agrees with that of ${where}`);
}
