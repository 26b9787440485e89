/**
 * Colour for what a person has to see first, on a terminal and without NO_COLOR (no-color.org).
 * The words say the same without it: a line is coloured for what it says, never instead of it.
 */
import { waitReasons } from '../wait-reasons.ts';
import type { Terminal } from './terminal.ts';

const red = '\u001b[1;31m';
const yellow = '\u001b[33m';
const plain = '\u001b[0m';

const codes = Object.keys(waitReasons).join('|');
const severe = 'NOT CONNECTED|FAILED|DOES NOT ANSWER|UNREADABLE|NO: refused';
const lineOfVolume = `^\\S+ +(?:primary|secondary|none) +`;

/** Something does not go on: also what has waited, and the rows of volumes that wait. */
const isSevere = new RegExp(
  `${severe}|^problem: |^ERROR |: suspended for |${lineOfVolume}(?:${codes}|waits) `,
);
/** It goes on, but not as it should. */
const isNotWell = new RegExp(
  `^WARNING |^resync of |: served by .* alone|${lineOfVolume}serves(?: by peer)? +(?:no: |almost)`,
);

function colourOf(line: string): string | undefined {
  if (isSevere.test(line)) return red;
  return isNotWell.test(line) ? yellow : undefined;
}

/** The text as this terminal should have it. */
export function coloured(
  text: string,
  { interactive, environment }: Pick<Terminal, 'interactive' | 'environment'>,
): string {
  const { NO_COLOR: noColour = '', TERM: kind } = environment;
  if (!interactive || noColour !== '' || kind === 'dumb') return text;
  return text
    .split('\n')
    .map((line) => {
      const colour = colourOf(line);
      return colour === undefined ? line : `${colour}${line}${plain}`;
    })
    .join('\n');
}
