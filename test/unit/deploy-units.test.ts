/** The systemd units, as systemd itself judges them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run, runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const folder = fileURLToPath(new URL('../../../deploy/systemd/', import.meta.url));
const units = ['casemate.service', 'casemate-witness.service'];
/** Of 10, where less is better; systemd says "OK" up to 4.9. */
const exposureMax = 1.4;

t.test('systemd understands every line of the units', async (t) => {
  const directory = scratchDirectory(t);
  for (const unit of units) {
    const text = readFileSync(join(folder, unit), 'utf8');
    // The command need not be installed where this is tested.
    const path = join(directory, unit);
    writeFileSync(path, text.replace('ExecStart=/usr/bin/casemate', 'ExecStart=/bin/true'));
    const verified = await run('systemd-analyze', ['verify', '--man=no', path]);
    t.same(verified, { code: 0, stdout: '', stderr: '' }, unit);
    writeFileSync(path, text.replace('WatchdogSec=', 'WatchedSec='));
    t.match((await run('systemd-analyze', ['verify', path])).stderr, /WatchedSec/, 'it can fail');
  }
});

t.test('systemd rates their exposure as OK', async (t) => {
  for (const unit of units) {
    const path = join(folder, unit);
    const report = await runOk('systemd-analyze', [
      'security',
      '--offline=true',
      '--no-pager',
      path,
    ]);
    const [, score, rating] = /exposure level for \S+: ([\d.]+) (\w+)/.exec(report) ?? [];
    t.equal(rating, 'OK', `${unit}: ${score}`);
    t.ok(Number(score) <= exposureMax, `${unit}: ${score}`);
  }
});
