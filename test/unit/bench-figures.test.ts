import t from 'tap';
import type { Sample } from '../../bench/jobs.ts';
import { selfTimes } from '../../bench/profile.ts';
import { Results } from '../../bench/results.ts';
import { parseCommand, UsageError } from '../../bench/settings.ts';
import { largest, latencyOf, median, percentile, ratio, spread } from '../../bench/statistics.ts';
import { formatNumber, formatTable } from '../../bench/table.ts';
import { judge, type Mark } from '../../bench/targets.ts';

const sample = (operationsPerSecond: number): Sample => ({
  operations: 1,
  writeOperations: 1,
  writtenBytes: 4096,
  operationsPerSecond,
  mebibytesPerSecond: 1,
  latency: { p50Us: 1, p99Us: 2, p999Us: 3, maxUs: 4 },
  cpuUsPerOperation: undefined,
});

t.test('a median is the middle value, of two middles their mean, of none undefined', async (t) => {
  t.equal(median([30, 10, 20]), 20);
  t.equal(median([40, 10, 20, 30]), 25);
  t.equal(median([]), undefined);
});

t.test('the spread is the range of the values in parts of their median', async (t) => {
  t.equal(spread([90, 100, 120]), 0.3);
  t.equal(spread([100]), 0);
  t.equal(spread([]), 0);
});

t.test('percentiles are values that occurred, by nearest rank', async (t) => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  t.equal(percentile(hundred, 0.5), 50);
  t.equal(percentile(hundred, 0.99), 99);
  t.equal(percentile(hundred, 0.999), 100);
  t.equal(percentile(hundred, 0), 1);
  t.equal(percentile([], 0.5), undefined);
  t.same(latencyOf([3, 1, 2]), { p50Us: 2, p99Us: 3, p999Us: 3, maxUs: 3 });
});

t.test('a ratio with a missing or empty side is missing, never infinite', async (t) => {
  t.equal(ratio(3, 2), 1.5);
  t.equal(ratio(undefined, 2), undefined);
  t.equal(ratio(3, undefined), undefined);
  t.equal(ratio(3, 0), undefined);
  t.equal(largest([undefined, 2, 5, undefined]), 5);
  t.equal(largest([undefined]), undefined);
});

t.test('results give medians over repetitions, and nothing for what was not run', async (t) => {
  const results = new Results();
  for (const rate of [100, 300, 200]) results.add('job', 'target', sample(rate));
  t.equal(results.median('job', 'target', 'rate'), 200);
  t.equal(results.spread('job', 'target', 'rate'), 1);
  t.equal(results.median('job', 'target', 'cpu'), undefined);
  t.equal(results.median('job', 'another', 'rate'), undefined);
  t.same(results.targetsOf('job'), ['target']);
});

t.test('a mark is met, missed or not measured', async (t) => {
  const mark = { job: 'job', level: 'first', formula: '', asked: 2 } as const;
  const marks: Mark[] = [
    { ...mark, comparison: 'at least', measured: () => 2 },
    { ...mark, comparison: 'at least', measured: () => 1.9 },
    { ...mark, comparison: 'at most', measured: () => 2 },
    { ...mark, comparison: 'at most', measured: () => 2.1 },
    { ...mark, comparison: 'at least', measured: () => undefined },
  ];
  t.same(
    judge(new Results(), marks).map(({ verdict }) => verdict),
    ['met', 'missed', 'met', 'missed', 'not measured'],
  );
});

t.test('marks compare Casemate with the best of its rivals in the same job', async (t) => {
  const results = new Results();
  results.add('write-qd1', 'Casemate', sample(3000));
  results.add('write-qd1', 'physical limit', sample(6000));
  results.add('write-qd1', 'QEMU quorum, directsync, unix', sample(1500));
  results.add('write-qd1', 'QEMU quorum, directsync, tcp', sample(2000));
  const judged = judge(results).filter(({ mark }) => mark.job === 'write-qd1');
  t.same(
    judged.map(({ mark, measured, verdict }) => [mark.level, measured, verdict]),
    [
      ['first', 0.5, 'met'],
      ['goal', 0.5, 'missed'],
      ['first', 1.5, 'met'],
      ['goal', 1.5, 'met'],
    ],
  );
});

t.test('a table has columns as wide as their longest cell', async (t) => {
  const columns = [
    { title: 'name', align: 'left' },
    { title: 'n', align: 'right' },
  ] as const;
  t.equal(
    formatTable(columns, [['a', '100'], ['longer']]),
    ['name      n', '------  ---', 'a       100', 'longer'].join('\n'),
  );
  t.same([0.12345, 4.214, 38.46, 12345.6, undefined].map(formatNumber), [
    '0.123',
    '4.21',
    '38.5',
    '12,346',
    '-',
  ]);
});

t.test('self time is summed by function within the time of a job only', async (t) => {
  const node = (id: number, functionName: string) => ({
    id,
    callFrame: { functionName, url: 'file:///x/dist/wal/log.js', lineNumber: 9 },
  });
  const profile = {
    nodes: [node(1, 'idle'), node(2, 'append')],
    startTime: 1000,
    samples: [1, 2, 2, 1],
    timeDeltas: [0, 10, 10, 10],
  };
  t.same(
    selfTimes(profile, [{ fromUs: 1005, toUs: 1030 }]).map(({ place, microseconds }) => [
      place,
      microseconds,
    ]),
    [['append dist/wal/log.js:10', 20]],
  );
});

t.test('the command line is checked before anything runs', async (t) => {
  const run = parseCommand(['write-qd1', '--quick', '--seconds', '2'], ['write-qd1']);
  t.match(run, {
    kind: 'run',
    settings: { quick: true, seconds: 2, rounds: 1, names: ['write-qd1'] },
  });
  t.match(parseCommand(['soak', '--minutes', '7'], ['soak']), { settings: { minutes: 7 } });
  t.same(parseCommand(['--help'], []), { kind: 'help' });
  t.same(parseCommand(['--compare', '/a.json', '/b.json'], []), {
    kind: 'compare',
    before: '/a.json',
    after: '/b.json',
  });
  const wrong = ['nothing', '--seconds 0', '--rounds x', '--unknown', '--compare a', '--report'];
  for (const text of wrong) {
    t.throws(() => parseCommand(text.split(' '), ['write-qd1']), UsageError);
  }
});
