/**
 * Runs the compiled test files two at a time, those under test/faults last. Arguments are parts of
 * paths; only files that contain one of them run.
 *
 * Every file is a program of its own that prints TAP. Counted are its outermost test points; a file
 * that dies, hangs or runs no test counts as a failure. The last line is always
 * "N passed, N failed"; skipped tests have a line of their own before it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FileResult, readResult } from './tap-output.ts';

const outputDirectory = fileURLToPath(new URL('..', import.meta.url));
const repositoryDirectory = fileURLToPath(new URL('../..', import.meta.url));

/** Fault tests take minutes; any other file that takes three hangs. */
const timeoutSeconds = { faults: 420, others: 180 };
/** tap reports what was under way at the limit; a file that cannot even do that is killed. */
const killAfterMs = 20_000;
const outputBytesMax = 32 * 1024 * 1024;

const running = new Set<ChildProcess>();

function findTests(filters: readonly string[]): string[] {
  return readdirSync(join(outputDirectory, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .map((path) => join(outputDirectory, 'test', path))
    .filter((path) => {
      const source = sourceName(path);
      return filters.length === 0 || filters.some((filter) => source.includes(filter));
    })
    .sort();
}

/** The name that a person knows a compiled file by. */
function sourceName(path: string): string {
  return relative(outputDirectory, path).replace(/\.js$/, '.ts');
}

function isFault(path: string): boolean {
  return sourceName(path).startsWith('test/faults/');
}

/** Ends a test file together with every process that it started. */
function endGroup(child: ChildProcess, signal: NodeJS.Signals): boolean {
  if (child.pid === undefined) return false;
  try {
    process.kill(-child.pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** `lane`: which of the files that run at the same time this is; `freePorts` looks at it. */
async function runFile(path: string, lane: number): Promise<FileResult> {
  const startedAtMs = performance.now();
  const limitSeconds = isFault(path) ? timeoutSeconds.faults : timeoutSeconds.others;
  const child = spawn(process.execPath, ['--enable-source-maps', path], {
    cwd: repositoryDirectory,
    env: { ...process.env, TAP_TIMEOUT: String(limitSeconds), TEST_LANE: String(lane) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  running.add(child);
  let timedOut = false;
  const limit = setTimeout(
    () => {
      timedOut = true;
      endGroup(child, 'SIGKILL');
    },
    limitSeconds * 1000 + killAfterMs,
  );
  const chunks: { out: string; error: string } = { out: '', error: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (chunks.out.length < outputBytesMax) chunks.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    chunks.error = (chunks.error + text).slice(-64 * 1024);
  });
  const ending = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(`could not be started: ${error.message}`));
    child.on('exit', () => endGroup(child, 'SIGKILL'));
    child.on('close', (code, signal) => {
      if (timedOut) resolve(`did not end within ${limitSeconds} s`);
      else if (signal !== null) resolve(`was ended by ${signal}`);
      else resolve(code === 0 ? undefined : `ended with code ${code}`);
    });
  });
  clearTimeout(limit);
  running.delete(child);
  return readResult({
    name: sourceName(path),
    tap: chunks.out,
    errorOutput: chunks.error,
    ending,
    durationMs: performance.now() - startedAtMs,
  });
}

function report(result: FileResult): void {
  const counts = `${result.passed} passed, ${result.failed} failed`;
  const seconds = (result.durationMs / 1000).toFixed(1);
  const mark = result.failed === 0 ? 'ok  ' : 'FAIL';
  process.stdout.write(`${mark} ${result.name}: ${counts} (${seconds} s)\n`);
  for (const line of result.details) process.stdout.write(`     ${line}\n`);
}

/** Runs the files with at most `jobs` at the same time, reporting each when it ends. */
async function runAll(paths: readonly string[], jobs: number): Promise<FileResult[]> {
  const waiting = [...paths];
  const results: FileResult[] = [];
  const work = async (_: unknown, lane: number): Promise<void> => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      const result = await runFile(path, lane);
      report(result);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results;
}

function stopOn(signal: NodeJS.Signals): void {
  process.on(signal, () => {
    for (const child of running) endGroup(child, 'SIGKILL');
    process.exit(1);
  });
}

stopOn('SIGINT');
stopOn('SIGTERM');

const filters = process.argv.slice(2).map((filter) => filter.replace(/^\.\//, ''));
const paths = findTests(filters);
const jobs = Math.min(2, availableParallelism());
const ordered = [...paths.filter((path) => !isFault(path)), ...paths.filter(isFault)];
const results = await runAll(ordered, jobs);

let passed = 0;
let failed = 0;
let skipped = 0;
for (const result of results) {
  passed += result.passed;
  failed += result.failed;
  skipped += result.skipped;
}
if (paths.length === 0) process.stdout.write(`No test file matches: ${filters.join(' ')}\n`);
const broken = results.filter((result) => result.failed > 0);
for (const result of broken) process.stdout.write(`failed: ${result.name}\n`);
if (skipped > 0) process.stdout.write(`${skipped} skipped\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = passed === 0 || failed > 0 ? 1 : 0;
