/**
 * The program behind `npm run bench`: reads what is asked, runs it, prints the report and leaves
 * the figures and an HTML report in files. It ends with 1 when something could not be measured as
 * asked or copies differ; a mark that was missed is a finding, not a failure.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { micro, runMicro } from './micro/all.ts';
import { formatComparison } from './report/comparison.ts';
import { htmlReport } from './report/html-report.ts';
import { formatReport } from './report/text-report.ts';
import { documentVersion, machine, type Run, readRun, toDocument } from './run-document.ts';
import { runSuite, suiteNames, wantedNames } from './run-suite.ts';
import { Session } from './session.ts';
import { parseCommand, type Settings, UsageError, usage } from './settings.ts';

const resultsDirectory = fileURLToPath(new URL('../../results/', import.meta.url));
/** Volumes and logs that exist at once: some fourteen targets, most of them with two copies. */
const spaceOf = ({ volumeBytes, logBytes }: Settings): number => volumeBytes * 26 + logBytes * 8;

async function main(): Promise<number> {
  const names = [...suiteNames, ...Object.keys(micro)];
  const command = parseCommand(process.argv.slice(2), names);
  switch (command.kind) {
    case 'help':
      process.stdout.write(usage);
      return 0;
    case 'list':
      process.stdout.write(`${names.join('\n')}\n`);
      return 0;
    case 'compare':
      process.stdout.write(formatComparison(readRun(command.before), readRun(command.after)));
      return 0;
    case 'report':
      writeHtml(readRun(command.path), command.path);
      return 0;
    case 'run':
      return await run(command.settings);
  }
}

async function run(settings: Settings): Promise<number> {
  const wanted = wantedNames(settings);
  const head = { machine: machine(), settings: settingsKept(settings), wanted };
  const session = new Session(settings, wanted.length === 0 ? 0 : spaceOf(settings));
  const finished = (): Run => {
    const time = new Date().toISOString();
    const { elapsedSeconds, results } = session;
    return { head: { documentVersion, time, elapsedSeconds, ...head }, results };
  };
  const interrupted = (): void => {
    session.problem('interrupted: what follows is what there was until then');
    writeResults(finished(), settings.jsonPath);
    void session.close().finally(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    await runMicro(session, wanted);
    await runSuite(session, wanted);
  } finally {
    await session.close();
  }
  const done = finished();
  process.stdout.write(`\n${formatReport(done)}`);
  writeResults(done, settings.jsonPath);
  return done.results.problems.length === 0 ? 0 : 1;
}

function settingsKept({ quick, rounds, seconds, volumeBytes, logBytes }: Settings) {
  return { quick, rounds, seconds, volumeBytes, logBytes };
}

function writeResults(done: Run, jsonPath: string | undefined): void {
  const { time } = done.head;
  const path = jsonPath ?? join(resultsDirectory, `${time.replaceAll(':', '-')}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(toDocument(done), null, 2)}\n`);
  process.stdout.write(`\nFigures: ${path}\n`);
  writeHtml(done, path);
}

/** Writes the HTML report beside the figures. */
function writeHtml(done: Run, jsonPath: string): void {
  const path = `${jsonPath.replace(/\.json$/, '')}.html`;
  writeFileSync(path, htmlReport(done));
  process.stdout.write(`Report:  ${path}\n`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${usage}`);
  process.exitCode = 2;
}
