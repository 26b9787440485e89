/** The time that an HTTP server says it is, whatever else it answers. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { wallClockMs } from './system-clock.ts';

/**
 * The `Date` of an answer and when it was asked for; undefined if none came in time. Nothing is
 * sent and nothing believed but the time, so a certificate is not looked at.
 */
export function dateAt(
  url: string,
  timeoutMs: number,
): Promise<{ readonly dateMs: number; readonly askedAtMs: number } | undefined> {
  const askedAtMs = wallClockMs();
  const ask = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    const request = ask(
      url,
      { method: 'HEAD', rejectUnauthorized: false, signal: AbortSignal.timeout(timeoutMs) },
      ({ headers }) => {
        const dateMs = Date.parse(headers.date ?? '');
        resolve(Number.isNaN(dateMs) ? undefined : { dateMs, askedAtMs });
        request.destroy();
      },
    );
    request.on('error', () => resolve(undefined));
    request.end();
  });
}
