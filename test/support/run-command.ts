/** Runs a command to its end and gives what it printed. */
import { spawn } from 'node:child_process';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Resolves with the exit code, also when that is not 0; rejects only if it can't be started. */
export function run(
  command: string,
  parameters: readonly string[],
  options: { readonly input?: string; readonly environment?: NodeJS.ProcessEnv } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve({
        code: code ?? (signal === null ? 1 : 128),
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      });
    });
    child.stdin.on('error', () => {
      // The command may end without reading its input.
    });
    child.stdin.end(options.input ?? '');
  });
}

/** Like `run`, but throws, with what it printed, unless the command succeeds. */
export async function runOk(
  command: string,
  parameters: readonly string[],
  options: { readonly input?: string; readonly environment?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const result = await run(command, parameters, options);
  if (result.code !== 0) {
    throw new Error(`${command} ${parameters.join(' ')} failed (${result.code}): ${result.stderr}`);
  }
  return result.stdout;
}
