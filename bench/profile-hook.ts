/**
 * Loaded into a daemon before its own program (`--import`): samples its main thread from start to
 * end and leaves the profile in CASEMATE_BENCH_PROFILES when the process ends by itself.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const intervalUs = 500;

const directory = process.env['CASEMATE_BENCH_PROFILES'];
if (directory !== undefined) {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: intervalUs });
  session.post('Profiler.start');
  process.once('exit', () => {
    session.post('Profiler.stop', (error, result) => {
      if (error !== null) return;
      writeFileSync(join(directory, `${process.pid}.cpuprofile`), JSON.stringify(result.profile));
    });
  });
}
