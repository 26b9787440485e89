/**
 * Runs the simulator in a process of its own: a test runner that follows every promise would slow
 * it down many times, and mutations need modules that nobody else has loaded.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('./simulate.js', import.meta.url));

/** Runs it with these arguments (options of node, a mutation); gives what it printed. */
export function simulate(
  args: readonly string[],
  execArgv: readonly string[] = ['--enable-source-maps'],
  mutation?: string,
): Promise<{ readonly failed: boolean; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [...args], {
      execArgv: [...execArgv],
      stdio: 'pipe',
      env: { ...process.env, CASEMATE_MUTATION: mutation },
    });
    let text = '';
    const add = (chunk: Buffer): void => {
      text += chunk.toString();
    };
    child.stdout?.on('data', add);
    child.stderr?.on('data', add);
    child.on('error', reject);
    child.on('close', (code) => resolve({ failed: code !== 0, text: text.trim() }));
  });
}
