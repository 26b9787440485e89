/**
 * Reads what a test file printed: counts its outermost test points and collects what a person needs
 * to see of the failed ones. TAP nests a test's own points by four spaces each.
 */

export interface FileOutput {
  readonly name: string;
  readonly tap: string;
  readonly errorOutput: string;
  /** How the process ended, if not well. */
  readonly ending: string | undefined;
  readonly durationMs: number;
}

export interface FileResult {
  readonly name: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly durationMs: number;
  /** Lines to print below the file's name. */
  readonly details: readonly string[];
}

const detailLinesMax = 400;
const errorLinesMax = 40;

/** Gives the counts of one file. One that ends badly without a failed point has failed once. */
export function readResult(output: FileOutput): FileResult {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let planned: number | undefined;
  let points = 0;
  for (const line of output.tap.split('\n')) {
    const plan = /^1\.\.(\d+)/.exec(line);
    if (plan !== null) planned = Number(plan[1]);
    const kind = pointKind(line);
    if (kind === undefined) continue;
    points += 1;
    counts[kind] += 1;
  }
  const problem = problemOf(output, { planned, points, ...counts });
  if (problem !== undefined && counts.failed === 0) counts.failed = 1;
  const details = problem === undefined ? [] : [problem];
  if (counts.failed > 0) details.push(...failedPoints(output.tap), ...lastErrors(output));
  return { name: output.name, durationMs: output.durationMs, details, ...counts };
}

function pointKind(line: string): 'passed' | 'failed' | 'skipped' | undefined {
  const point = /^(not )?ok\b/.exec(line);
  if (point === null) return undefined;
  if (/ # (skip|todo)\b/i.test(line)) return 'skipped';
  return point[1] === undefined ? 'passed' : 'failed';
}

function problemOf(
  output: FileOutput,
  seen: { planned: number | undefined; points: number; failed: number; skipped: number },
): string | undefined {
  if (output.ending !== undefined) return `the file ${output.ending}`;
  if (/^Bail out!/m.test(output.tap)) return 'the file bailed out';
  if (seen.planned === undefined) return 'the file ended before it gave its plan';
  if (seen.planned !== seen.points) {
    return `the file planned ${seen.planned} tests and ran ${seen.points}`;
  }
  if (seen.points === 0 && !/^1\.\.0 # skip/im.test(output.tap)) return 'the file ran no test';
  return undefined;
}

/** The failed points at every depth, each with the diagnostics that follow it. */
function failedPoints(tap: string): string[] {
  const kept: string[] = [];
  let indent: string | undefined;
  let inDiagnostics = false;
  for (const line of tap.split('\n')) {
    const failure = /^( *)not ok\b/.exec(line);
    if (inDiagnostics) {
      if (line.trim() !== '') kept.push(line);
      inDiagnostics = line !== `${indent}  ...`;
    } else if (failure !== null && !/ # (skip|todo)\b/i.test(line)) {
      indent = failure[1] ?? '';
      kept.push(line);
    } else {
      inDiagnostics = indent !== undefined && line === `${indent}  ---`;
      if (inDiagnostics) kept.push(line);
      indent = inDiagnostics ? indent : undefined;
    }
  }
  if (kept.length <= detailLinesMax) return kept;
  return [...kept.slice(0, detailLinesMax), `… ${kept.length - detailLinesMax} lines more`];
}

function lastErrors(output: FileOutput): string[] {
  const lines = output.errorOutput.split('\n').filter((line) => line !== '');
  return lines.slice(-errorLinesMax);
}
