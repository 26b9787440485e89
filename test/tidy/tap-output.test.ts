/** What the test runner makes of a test file's output. */
import t from 'tap';
import { readResult } from '../tap-output.ts';

function read(tap: string, options: { errorOutput?: string; ending?: string } = {}) {
  const { errorOutput = '', ending } = options;
  return readResult({ name: 'test/unit/a.test.ts', tap, errorOutput, ending, durationMs: 1 });
}

t.test('counts the outermost points only', async (t) => {
  const result = read('# Subtest: a\n    ok 1 - x\n    1..1\nok 1 - a\nok 2 - b # SKIP no\n1..2\n');
  t.match(result, { passed: 1, failed: 0, skipped: 1, details: [] });
});

t.test('shows a failed point at every depth with its diagnostics', async (t) => {
  const result = read(
    '    not ok 1 - x\n      ---\n      found: 2\n      ...\n    ok 2\n    1..2\nnot ok 1 - a\n1..1\n',
    { ending: 'ended with code 1', errorOutput: 'warning\n' },
  );
  t.match(result, { passed: 0, failed: 1, skipped: 0 });
  t.same(result.details, [
    'the file ended with code 1',
    '    not ok 1 - x',
    '      ---',
    '      found: 2',
    '      ...',
    'not ok 1 - a',
    'warning',
  ]);
});

t.test('a file that dies, stops early or runs nothing has failed', async (t) => {
  const cases: [string, string | undefined, string][] = [
    ['ok 1\n1..1\n', 'was ended by SIGKILL', 'the file was ended by SIGKILL'],
    ['ok 1\n', undefined, 'the file ended before it gave its plan'],
    ['ok 1\n1..2\n', undefined, 'the file planned 2 tests and ran 1'],
    ['1..0\n', undefined, 'the file ran no test'],
    ['ok 1\nBail out! no disk\n', undefined, 'the file bailed out'],
  ];
  for (const [tap, ending, problem] of cases) {
    const result = read(tap, ending === undefined ? {} : { ending });
    t.equal(result.failed, 1, problem);
    t.equal(result.details[0], problem);
  }
});

t.test('a file skipped as a whole has not failed', async (t) => {
  t.match(read('1..0 # Skipped: needs root\n'), { passed: 0, failed: 0 });
});
