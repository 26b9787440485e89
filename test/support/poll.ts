/** Waiting for a state: looked at again and again, with an end that only a failure reaches. */
import { setTimeout as delay } from 'node:timers/promises';

/** Resolves when `condition` gives true; throws, naming `what`, when it never does. */
export async function pollUntil(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 90_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited too long: ${what}`);
    await delay(25);
  }
}
