/** Asks before what can't be undone: the name has to be typed. */
import { CasemateError } from '../errors.ts';
import { usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/**
 * Returns if a person has typed `name`.
 * @throws {CasemateError} ERR_USAGE without a terminal, ERR_NOT_CONFIRMED for anything else typed
 */
export async function confirmByName(
  terminal: Terminal,
  { name, what }: { readonly name: string; readonly what: string },
): Promise<void> {
  if (!terminal.interactive) {
    throw usageError(
      `${what} has to be confirmed, and there is no terminal to ask at`,
      'Add --yes.',
    );
  }
  const typed = await terminal.ask(`${what}. Type the volume's name to go on: `);
  if (typed.trim() === name) return;
  throw new CasemateError('ERR_NOT_CONFIRMED', 'not confirmed; nothing was done', {
    hint: `What has to be typed is: ${name}`,
  });
}
