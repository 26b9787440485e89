/** The suite's reports: outcomes of what is asked, comparisons, HTML, from made-up figures. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { compareRuns } from '../../bench/compare.ts';
import type { Sample } from '../../bench/jobs.ts';
import { formatComparison } from '../../bench/report/comparison.ts';
import { htmlReport } from '../../bench/report/html-report.ts';
import { lineChart } from '../../bench/report/line-chart.ts';
import { linearScale, logarithmicScale } from '../../bench/report/scale.ts';
import { formatReport } from '../../bench/report/text-report.ts';
import { Results } from '../../bench/results.ts';
import { documentVersion, type Run, readRun, toDocument } from '../../bench/run-document.ts';
import { UsageError } from '../../bench/settings.ts';
import { durabilities } from '../../bench/target.ts';
import { answers } from '../../bench/targets.ts';

const quorum = 'QEMU quorum, directsync, unix';

const sample = (operationsPerSecond: number): Sample => ({
  operations: 1000,
  writeOperations: 1000,
  writtenBytes: 4_096_000,
  operationsPerSecond,
  mebibytesPerSecond: 1,
  latency: { p50Us: 1e6 / operationsPerSecond, p99Us: 2, p999Us: 3, maxUs: 4 },
  cpuUsPerOperation: 50,
  costs: {
    cpuUsPerOperation: { primary: 30, secondary: 20 },
    memoryMiB: { primary: 100, secondary: 90 },
    diskBytesPerByte: 4.5,
    syncsPerWrite: 2,
    writesPerCommit: 1,
    loopDelayP99Ms: 11,
    split: { localLogUs: 100, peerUs: 200, commitUs: 210, answerUs: 250 },
  },
});

function runOf(rates: Readonly<Record<string, readonly number[]>>): Run {
  const results = new Results();
  results.setTarget('Casemate', { copies: 2, durability: durabilities.everyCopy });
  results.setTarget(quorum, { copies: 2, durability: durabilities.everyCopy });
  for (const [target, each] of Object.entries(rates)) {
    for (const rate of each) results.add('write-qd1', target, sample(rate));
  }
  return {
    head: {
      documentVersion,
      time: '2026-01-02T03:04:05.678Z',
      elapsedSeconds: 60,
      machine: { processor: '2 x A', memory: '1 GiB', node: 'v20', load: '0.1 0.1 0.1' },
      settings: { quick: false, rounds: 3, seconds: 3, volumeBytes: 2 ** 30, logBytes: 2 ** 30 },
      wanted: ['write-qd1'],
    },
    results,
  };
}

t.test(
  'an outcome names the highest mark that was met, with the range over the rounds',
  async (t) => {
    const { results } = runOf({
      Casemate: [300, 200, 250],
      'physical limit': [400, 400, 400],
      [quorum]: [300, 300, 300],
    });
    t.same(
      answers(results, ['write-qd1']).map(({ measured, range, outcome }) => [
        measured,
        range,
        outcome,
      ]),
      [
        [0.625, [0.5, 0.75], 'first'],
        [250 / 300, [200 / 300, 1], 'missed'],
      ],
    );
    t.same(
      answers(results, ['restart']).map(({ outcome }) => outcome),
      ['not measured'],
    );
  },
);

const findingOf = (before: Run, after: Run): string | undefined =>
  compareRuns(before.results, after.results).find(({ field }) => field === 'rate')?.finding;

t.test('a difference counts when the repetitions of both runs lie apart', async (t) => {
  const before = runOf({ Casemate: [100, 110, 105] });
  t.equal(findingOf(before, runOf({ Casemate: [130, 120, 125] })), 'better');
  t.equal(findingOf(before, runOf({ Casemate: [80, 90, 85] })), 'worse');
  t.equal(findingOf(before, runOf({ Casemate: [109, 120, 125] })), 'noise');
  t.equal(findingOf(before, runOf({ Casemate: [130] })), 'unknown');
});

t.test('a difference that the other targets show too is the machine', async (t) => {
  const before = runOf({ Casemate: [100, 110, 105], [quorum]: [50, 50, 50] });
  const faster = { Casemate: [120, 130, 125] };
  t.equal(findingOf(before, runOf({ ...faster, [quorum]: [70, 70, 70] })), 'machine');
  t.equal(findingOf(before, runOf({ ...faster, [quorum]: [51, 51, 51] })), 'better');
  t.equal(findingOf(before, runOf({ ...faster, [quorum]: [30, 30, 30] })), 'better');
});

t.test('for latency less is better', async (t) => {
  const before = runOf({ Casemate: [100, 110, 105] });
  const found = compareRuns(before.results, runOf({ Casemate: [200, 210, 205] }).results);
  t.equal(found.find(({ field }) => field === 'p50')?.finding, 'better');
});

t.test(
  'a comparison says in words what has changed, and that runs were not made alike',
  async (t) => {
    const before = runOf({ Casemate: [100, 110, 105] });
    const after = runOf({ Casemate: [200, 210, 205] });
    const text = formatComparison(before, after);
    t.match(text, /Better beyond the noise:\n {2}write-qd1 IOPS x 1\.95/);
    t.notMatch(text, /NOT ALIKE/);
    const other: Run = { ...after, head: { ...after.head, machine: { processor: '64 x B' } } };
    t.match(formatComparison(before, other), /NOT ALIKE[\s\S]*processor: 2 x A \/ 64 x B/);
  },
);

t.test('a run read back from its file gives the same reports', async (t) => {
  const run = runOf({ Casemate: [100, 110], [quorum]: [90, 95], 'physical limit': [300, 310] });
  run.results.setValue('restart', { title: 'r', unit: 's', value: 1, note: 'n' });
  const plot = {
    group: 'growth',
    title: 'p',
    xTitle: 'x',
    yTitle: 'y',
    logarithmic: false,
    note: '',
  } as const;
  run.results.addPoint('p', plot, { line: 'a', x: 1, y: 2 });
  run.results.addPoint('p', plot, { line: 'a', x: 2, y: 3 });
  const directory = mkdtempSync(join(tmpdir(), 'casemate-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'a.json');
  writeFileSync(path, JSON.stringify(toDocument(run)));
  const again = readRun(path);
  t.equal(htmlReport(again), htmlReport(run));
  t.equal(formatReport(again), formatReport(run));
  for (const text of [
    '{}',
    'no JSON',
    JSON.stringify({ ...toDocument(run), documentVersion: 1 }),
  ]) {
    writeFileSync(path, text);
    t.throws(() => readRun(path), UsageError);
  }
});

t.test('the HTML report stands by itself, begins with the verdict and escapes texts', async (t) => {
  const run = runOf({ Casemate: [100, 110], [quorum]: [90, 95], 'physical limit': [300, 310] });
  run.results.problems.push('<b>"broken" & worse</b>');
  run.results.absent.push({ name: 'nbdkit file', reason: 'needs nbdkit' });
  const html = htmlReport(run);
  t.notMatch(html, /(?:src|href)="(?!#)|@import|url\(/, 'nothing is loaded from anywhere');
  t.ok(html.indexOf('id="verdict"') < html.indexOf('id="side-by-side"'));
  t.match(html, '&lt;b&gt;&quot;broken&quot; &amp; worse&lt;/b&gt;');
  t.notMatch(html, '<b>"broken"');
  t.match(html, 'needs nbdkit');
  t.match(html, 'prefers-color-scheme: dark');
  t.notMatch(html, /NaN|undefined|Infinity/);
  for (const tag of ['svg', 'table', 'section', 'figure', 'div']) {
    const opened = html.match(new RegExp(`<${tag}[ >]`, 'g'))?.length;
    t.equal(opened, html.match(new RegExp(`</${tag}>`, 'g'))?.length, `every ${tag} is closed`);
  }
});

t.test('a run in which nothing could be measured still gives reports', async (t) => {
  const run = runOf({});
  t.match(htmlReport(run), 'not measured');
  t.match(formatReport(run), 'not measured');
});

t.test('axes end at or above the largest value, with round ticks', async (t) => {
  t.same(linearScale(87).ticks, [0, 20, 40, 60, 80, 100]);
  t.same(linearScale(100).ticks, [0, 20, 40, 60, 80, 100]);
  t.same(linearScale(0.5).at(0.25), 0.5);
  t.same(linearScale(0).ticks.length > 1, true);
  const depth = logarithmicScale([1, 4, 16, 4]);
  t.same(depth.ticks, [1, 4, 16]);
  t.same(depth.ticks.map(depth.at), [0, 0.5, 1]);
  t.equal(logarithmicScale([8]).at(8), 0.5);
});

t.test('a chart of nothing is nothing', async (t) => {
  const chart = { title: 't', xTitle: 'x', yTitle: 'y', logarithmic: true, lines: [] };
  t.equal(lineChart(chart), '');
});
