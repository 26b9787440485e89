/** The program of the benchmarks as a whole, with the smallest thing that it can measure. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run } from '../support/run-command.ts';

const program = fileURLToPath(new URL('../../bench/main.js', import.meta.url));
const bench = (...parameters: string[]) => run(process.execPath, [program, ...parameters]);

t.test('a run leaves its figures and a report, which can be made anew and compared', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'a.json');
  const done = await bench('micro-nbd', '--quick', '--directory', directory, '--json', path);
  t.match(done, { code: 0, stdout: 'NBD parse' });
  const document = JSON.parse(readFileSync(path, 'utf8'));
  t.match(document, { wanted: ['micro-nbd'], problems: [], settings: { quick: true } });
  const html = readFileSync(join(directory, 'a.html'), 'utf8');
  t.match(html, /NBD parse.*<\/html>\n$/s);

  t.match(await bench('--report', path), { code: 0, stdout: 'a.html' });
  t.equal(readFileSync(join(directory, 'a.html'), 'utf8'), html);
  t.match(await bench('--compare', path, path), { code: 0, stdout: '1.00' });
});

t.test('what cannot be done is said, with how it is used', async (t) => {
  t.match(await bench('no-such-job'), { code: 2, stderr: /no job "no-such-job".*Usage:/s });
  t.match(await bench('--compare', '/no/file.json', '/no/file.json'), {
    code: 2,
    stderr: 'cannot be read',
  });
});
