/** Runs `journaled-writes.py`, the libnbd client that knows what was acknowledged to it. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { pollUntil } from './poll.ts';
import { run } from './run-command.ts';

// Debian's Python, which python3-libnbd belongs to; the script stays where the sources are.
const python = '/usr/bin/python3';
const script = fileURLToPath(new URL('../../../test/support/journaled-writes.py', import.meta.url));

export interface JournaledWriter {
  readonly journal: string;
  /** 0: all were acknowledged; 3: the server went away. */
  readonly ended: Promise<{ readonly code: number; readonly output: string }>;
  /** Resolves when at least `count` writes of this run were acknowledged. */
  acknowledged(count: number): Promise<void>;
}

function acknowledgedCount(journal: string): number {
  if (!existsSync(journal)) return 0;
  return readFileSync(journal, 'utf8').split('\na ').length - 1;
}

/** Starts to write `count` random 4 KiB blocks, `depth` at a time. */
export function startJournaledWrites(options: {
  readonly uri: string;
  readonly journal: string;
  readonly seed: number;
  readonly count: number;
  readonly depth: number;
}): JournaledWriter {
  const { uri, journal, seed, count, depth } = options;
  const before = acknowledgedCount(journal);
  const child = spawn(python, [script, 'write', uri, journal, `${seed}`, `${count}`, `${depth}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  let running = true;
  const ended = new Promise<{ code: number; output: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      running = false;
      resolve({ code: code ?? 128, output: Buffer.concat(output).toString('utf8') });
    });
  });
  return {
    journal,
    ended,
    acknowledged: (wanted) =>
      pollUntil(`${wanted} acknowledged writes in ${journal}`, () => {
        if (acknowledgedCount(journal) - before >= wanted) return true;
        if (running) return false;
        throw new Error(`the writer ended: ${Buffer.concat(output).toString('utf8')}`);
      }),
  };
}

/** Checks that every acknowledged write of the journal is there; gives what is wrong, or ''. */
export async function verifyJournal(uri: string, journal: string): Promise<string> {
  const result = await run(python, [script, 'verify', uri, journal]);
  return result.code === 0 ? '' : `${result.stdout}${result.stderr}`;
}
