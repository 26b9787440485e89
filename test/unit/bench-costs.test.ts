/** Costs of a run out of readings, metrics texts, and the judgement of a soak. */
import t from 'tap';
import { costsBetween, cpuUsPerOperation, type Reading } from '../../bench/costs.ts';
import type { RunFigures } from '../../bench/fio.ts';
import { flatness, type Observation } from '../../bench/flatness.ts';
import { growth, meanBetween, sumMetrics } from '../../bench/metrics-text.ts';

t.test('metrics are summed over their labels; comments and no numbers are left out', async (t) => {
  const sums = sumMetrics(
    ['# HELP a text', 'a{x="1"} 2', 'a{x="2"} 3.5', 'b 1e3', 'c NaN', '', 'd{le="+Inf"} 4'].join(
      '\n',
    ),
  );
  t.same(
    [...sums],
    [
      ['a', 5.5],
      ['b', 1000],
      ['d', 4],
    ],
  );
});

t.test('between two scrapes counters grow and histograms have means', async (t) => {
  const before = sumMetrics('n 5\nh_sum 10\nh_count 2');
  const after = sumMetrics('n 8\nh_sum 16\nh_count 4');
  t.equal(growth(before, after, 'n'), 3);
  t.equal(growth(before, after, 'unknown'), 0);
  t.equal(meanBetween(before, after, 'h'), 3);
  t.equal(meanBetween(after, after, 'h'), undefined);
});

const figures: RunFigures = {
  operations: 1000,
  writeOperations: 500,
  writtenBytes: 2_048_000,
  operationsPerSecond: 1,
  mebibytesPerSecond: 1,
  latency: { p50Us: 1, p99Us: 1, p999Us: 1, maxUs: 1 },
};

const reading = (cpu: readonly [number, number], metrics: readonly string[]): Reading => ({
  processes: [
    { role: 'primary', pid: process.pid, cpuSeconds: cpu[0] },
    { role: 'secondary', pid: process.pid, cpuSeconds: cpu[1] },
  ],
  metrics: metrics.map(sumMetrics),
});

t.test('costs are what was used between two readings, by operation or write', async (t) => {
  const before = reading([1, 2], ['casemate_log_syncs_total 10', 'casemate_log_syncs_total 20']);
  const after = reading(
    [1.03, 2.02],
    [
      'casemate_log_syncs_total 110\nnodejs_eventloop_lag_p99_seconds 0.012',
      'casemate_log_syncs_total 170\nnodejs_eventloop_lag_p99_seconds 0.02',
    ],
  );
  t.equal(Math.round(cpuUsPerOperation(before, after, 1000)), 50);
  const costs = costsBetween(before, after, { ...figures, diskBytes: 8_192_000 });
  t.equal(Math.round(costs.cpuUsPerOperation['primary'] ?? 0), 30);
  t.equal(Math.round(costs.cpuUsPerOperation['secondary'] ?? 0), 20);
  t.equal(costs.diskBytesPerByte, 4);
  t.equal(costs.syncsPerWrite, 0.5, 'syncs of both sites');
  t.equal(costs.loopDelayP99Ms, 20, 'of the worse of both');
  t.equal(costs.split, undefined, 'there were no histograms');
});

t.test('what cannot be known is left open: no writes, no disk, no daemon', async (t) => {
  const peer = reading([1, 1], []);
  const costs = costsBetween(peer, peer, { ...figures, diskBytes: undefined });
  t.equal(costs.diskBytesPerByte, undefined);
  t.equal(costs.syncsPerWrite, undefined);
  const reads = { ...figures, writeOperations: 0, writtenBytes: 0, diskBytes: 4096 };
  const daemon = reading([1, 1], ['casemate_log_syncs_total 1']);
  t.equal(costsBetween(daemon, daemon, reads).diskBytesPerByte, undefined);
  t.equal(costsBetween(daemon, daemon, reads).syncsPerWrite, undefined);
});

const observed = (values: readonly number[], life = 0): Observation[] =>
  values.map((value, index) => ({ seconds: index, value, life }));
const allowed = { factor: 1.2, amount: 10 };
const steady = Array.from({ length: 30 }, (_, index) => 100 + (index % 3));

t.test('what wavers is flat, what climbs is not', async (t) => {
  t.equal(flatness(observed(steady), allowed).verdict, 'flat');
  const climbing = steady.map((value, index) => value + index * 2);
  t.equal(flatness(observed(climbing), allowed).verdict, 'grows');
  t.equal(flatness(observed(steady.slice(0, 5)), allowed).verdict, 'too short to tell');
});

t.test('warming up is no growth, nor is a small amount', async (t) => {
  t.equal(flatness(observed([10, 20, 30, 40, 50, 60, 70, 80, ...steady]), allowed).verdict, 'flat');
  const few = [...Array(15).fill(5), ...Array(15).fill(14)];
  t.equal(flatness(observed(few), allowed).verdict, 'flat', '9 more of 10 that are allowed');
});

t.test('a life that begins anew hides no growth of the longest one', async (t) => {
  const climbing = steady.map((value, index) => value + index * 2);
  const lives = [...observed(climbing, 1), ...observed(steady.slice(0, 12), 2)];
  t.equal(flatness(lives, allowed).verdict, 'grows');
});
