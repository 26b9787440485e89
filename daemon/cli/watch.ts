/**
 * `casemate status --watch`: a text shown anew every two seconds. On a terminal it is drawn in
 * place and what is wrong is in colour (not with NO_COLOR); elsewhere it is repeated after an
 * empty line. A daemon that does not answer is said, and asked again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CasemateError } from '../errors.ts';
import type { Terminal } from './terminal.ts';

const intervalMs = 2000;

const clearScreen = '\u001b[H\u001b[J';
const red = '\u001b[1;31m';
const plain = '\u001b[0m';

/** Words of `casemate status` that stand in a line about something that does not go on. */
const alarming =
  /NOT CONNECTED|FAILED|DOES NOT ANSWER|UNREADABLE|NO: refused|^problem: |safe to run/;

/** The text with its alarming lines in red. */
export function coloured(text: string): string {
  return text
    .split('\n')
    .map((line) => (alarming.test(line) ? `${red}${line}${plain}` : line))
    .join('\n');
}

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
  const { NO_COLOR: noColour } = terminal.environment;
  const inColour = terminal.interactive && (noColour === undefined || noColour === '');
  do {
    const text = await textNow(read);
    const shown = inColour ? coloured(text) : text;
    terminal.write(terminal.interactive ? `${clearScreen}${shown}` : `${shown}\n`);
  } while (await pause());
}
