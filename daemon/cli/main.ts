#!/usr/bin/env node
/** The program behind the `casemate` command. */
import { runCommandLine } from './command-line.ts';
import { systemTerminal } from './terminal.ts';

// A reader that stops early, as `head` does, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await runCommandLine(process.argv.slice(2), systemTerminal);
