/**
 * `casemate status --watch`: a text shown anew every two seconds. On a terminal it is drawn in
 * place; elsewhere it is repeated after an empty line. A daemon that does not answer is said, and
 * asked again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CasemateError } from '../errors.ts';
import { coloured } from './colour.ts';
import type { Terminal } from './terminal.ts';

const intervalMs = 2000;

const clearScreen = '\u001b[H\u001b[J';

async function textNow(read: () => Promise<string>): Promise<string> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof CasemateError) || error.code !== 'ERR_UNREACHABLE') throw error;
    return `problem: ${error.message}\n`;
  }
}

/** Waits between two looks; gives false when there is to be no other one. */
async function pauseForever(): Promise<boolean> {
  await delay(intervalMs);
  return true;
}

/** Shows what `read` gives again and again, until `pause` says no or the process is ended. */
export async function watch(
  read: () => Promise<string>,
  terminal: Pick<Terminal, 'write' | 'interactive' | 'environment'>,
  pause: () => Promise<boolean> = pauseForever,
): Promise<void> {
  do {
    const shown = coloured(await textNow(read), terminal);
    terminal.write(terminal.interactive ? `${clearScreen}${shown}` : `${shown}\n`);
  } while (await pause());
}
