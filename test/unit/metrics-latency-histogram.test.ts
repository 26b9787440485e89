import t from 'tap';
import { LatencyHistogram } from '../../wal/latency-histogram.ts';

const { boundsMs } = LatencyHistogram;

t.test('the bounds rise', async (t) => {
  t.same(
    [...boundsMs].sort((left, right) => left - right),
    boundsMs,
  );
  t.equal(new Set(boundsMs).size, boundsMs.length);
});

t.test('a duration counts below the first bound that is not smaller', async (t) => {
  for (const [index, bound] of boundsMs.entries()) {
    const histogram = new LatencyHistogram();
    histogram.observe(bound);
    histogram.observe(bound * 1.001);
    const { counts } = histogram.snapshot();
    t.equal(counts[index], 1, `${bound} ms`);
    t.equal(counts[index + 1], 1, `just above ${bound} ms`);
  }
});

t.test('count and sum are those of what was observed', async (t) => {
  const histogram = new LatencyHistogram();
  for (const ms of [0, 0.5, 3, 1_000_000]) histogram.observe(ms);
  const { count, sumMs, counts } = histogram.snapshot();
  t.equal(count, 4);
  t.equal(sumMs, 1_000_003.5);
  t.equal(counts.length, boundsMs.length + 1);
  t.equal(counts[boundsMs.length], 1, 'above all bounds');
});

t.test('a duration below zero counts as zero', async (t) => {
  const histogram = new LatencyHistogram();
  histogram.observe(-5);
  t.match(histogram.snapshot(), { count: 1, sumMs: 0 });
  t.equal(histogram.snapshot().counts[0], 1);
});
