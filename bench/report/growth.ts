/**
 * How figures grow: with queue depth, block size, volumes and distance, and the suite's plots.
 * Pure.
 */

import { boundName } from '../bound.ts';
import { casemateName } from '../casemate-names.ts';
import { jobs, steadyMirrors } from '../jobs.ts';
import { nbdkitFileSynced } from '../peers/nbdkit.ts';
import type { Results, SampleField } from '../results.ts';
import { distanceJobs, volumeJobs } from '../scenario-jobs.ts';
import { type Line, type LineChart, lineChart } from './line-chart.ts';
import { section } from './markup.ts';

interface Point {
  readonly job: string;
  readonly x: number;
}

export function growthSection(results: Results): string {
  const depth = sweep('depth');
  const block = sweep('block');
  const plots = results.plots.filter(({ group }) => group === 'growth');
  const charts = [
    over(results, depth, 'rate', '4 KiB random writes over queue depth', 'IOPS'),
    over(results, depth, 'p50', 'Median latency over queue depth', 'µs'),
    over(results, depth, 'p99', '99th percentile over queue depth', 'µs'),
    over(results, depth, 'cpu', 'CPU of all servers over queue depth', 'µs per write'),
    over(results, block, 'throughput', 'Random writes QD8 over block size', 'MiB/s', 'KiB'),
    over(results, block, 'p99', '99th percentile over block size', 'µs', 'KiB'),
    ...volumeCharts(results),
    ...distanceCharts(results),
    ...plots.map((plot) => lineChart({ ...plot, lines: namedLines(plot.lines) })),
  ].filter((chart) => chart !== '');
  if (charts.length === 0) return '';
  const notes = plots
    .filter(({ note }) => note !== '')
    .map(({ title, note }) => `<p class="soft">${title}: ${note}</p>`);
  return section(
    'growth',
    'How it grows',
    `<div class="charts">${charts.join('\n')}</div>${notes.join('')}`,
  );
}

const sweep = (name: 'depth' | 'block'): Point[] =>
  jobs
    .flatMap((job) => (job.sweep?.name === name ? [{ job: job.name, x: job.sweep.x }] : []))
    .sort((a, b) => a.x - b.x);

function over(
  results: Results,
  points: readonly Point[],
  field: SampleField,
  title: string,
  yTitle: string,
  xTitle = 'requests in flight',
): string {
  const lines = curves
    .map((target) => ({ name: target, points: measured(results, points, target, field) }))
    .filter((line) => line.points.length > 1);
  return lineChart({ title, xTitle, yTitle, logarithmic: true, lines });
}

/** Whose curves are drawn, always in the same colours: as many as there are, Casemate first. */
const curves = [casemateName, nbdkitFileSynced.name, ...steadyMirrors, boundName];

function measured(
  results: Results,
  points: readonly Point[],
  target: string,
  field: SampleField,
): [number, number][] {
  return points.flatMap(({ job, x }): [number, number][] => {
    const value = results.median(job, target, field);
    return value === undefined ? [] : [[x, value]];
  });
}

const namedLines = (lines: LineChartLines): Line[] =>
  Object.entries(lines)
    .map(([name, points]) => ({ name, points }))
    .filter(({ points }) => points.length > 1);
type LineChartLines = Readonly<Record<string, readonly (readonly [number, number])[]>>;

function volumeCharts(results: Results): string[] {
  const own = (field: SampleField): Line[] => [
    { name: casemateName, points: measured(results, volumeJobs, casemateName, field) },
  ];
  const base = { xTitle: 'volumes, one request in flight each', logarithmic: true };
  const charts: LineChart[] = [
    { ...base, title: '4 KiB random writes over volumes', yTitle: 'IOPS', lines: own('rate') },
    { ...base, title: 'CPU over volumes', yTitle: 'µs per write', lines: own('cpu') },
  ];
  return charts.filter(({ lines }) => (lines[0]?.points.length ?? 0) > 1).map(lineChart);
}

function distanceCharts(results: Results): string[] {
  const lines = (field: SampleField): Line[] =>
    distanceJobs
      .map(({ load, points }) => ({
        name: load,
        points: measured(results, points, casemateName, field),
      }))
      .filter(({ points }) => points.length > 1);
  const base = { xTitle: 'round trip between the sites, ms', logarithmic: false };
  const charts: LineChart[] = [
    { ...base, title: 'Writes over distance', yTitle: 'IOPS', lines: lines('rate') },
    { ...base, title: 'Median latency over distance', yTitle: 'µs', lines: lines('p50') },
  ];
  return charts.filter(({ lines }) => lines.length > 0).map(lineChart);
}
