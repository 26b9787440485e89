/** Curves as inline SVG: one colour for each line, points with their values as tooltips. Pure. */
import { formatNumber } from '../table.ts';
import { escapeText } from './markup.ts';
import { linearScale, logarithmicScale, rangeScale, type Scale } from './scale.ts';

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface LineChart {
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly logarithmic: boolean;
  readonly lines: readonly Line[];
}

const size = { width: 440, height: 270 };
const margin = { left: 58, right: 14, top: 12, bottom: 44 };
const plot = {
  width: size.width - margin.left - margin.right,
  height: size.height - margin.top - margin.bottom,
};
/** As many colours as the style sheet has. */
const coloursMax = 6;
/** More points than this are a line without dots. */
const dotsMax = 40;

/** The chart with its title and legend; empty when there is nothing to draw. */
export function lineChart(chart: LineChart): string {
  const points = chart.lines.flatMap((line) => line.points);
  if (points.length === 0) return '';
  const xs = points.map(([x]) => x);
  const y = linearScale(Math.max(...points.map(([, value]) => value)));
  const x = chart.logarithmic ? logarithmicScale(xs) : rangeScale(xs);
  const body = [
    ...yAxis(y),
    ...xAxis(x),
    `<text class="axis" x="${margin.left + plot.width / 2}" y="${size.height - 6}" text-anchor="middle">${escapeText(chart.xTitle)}</text>`,
    ...chart.lines.map((line, index) => drawn(line, index % coloursMax, x, y)),
  ];
  const legend = chart.lines.map(
    ({ name }, index) => `<span class="key k${index % coloursMax}">${escapeText(name)}</span>`,
  );
  return `<figure><figcaption>${escapeText(chart.title)} <small>${escapeText(chart.yTitle)}</small></figcaption>
<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeText(chart.title)}">${body.join('\n')}</svg>
<div class="legend">${legend.join(' ')}</div></figure>`;
}

const across = (place: number): number => Math.round((margin.left + place * plot.width) * 10) / 10;
const up = (place: number): number =>
  Math.round((margin.top + (1 - place) * plot.height) * 10) / 10;

function yAxis(scale: Scale): string[] {
  return scale.ticks.map((tick) => {
    const at = up(scale.at(tick));
    return `<line class="grid" x1="${margin.left}" x2="${size.width - margin.right}" y1="${at}" y2="${at}"/><text class="tick" x="${margin.left - 6}" y="${at + 4}" text-anchor="end">${escapeText(tickText(tick))}</text>`;
  });
}

function xAxis(scale: Scale): string[] {
  return scale.ticks
    .filter((tick) => scale.at(tick) <= 1.001)
    .map(
      (tick) =>
        `<text class="tick" x="${across(scale.at(tick))}" y="${size.height - margin.bottom + 16}" text-anchor="middle">${escapeText(tickText(tick))}</text>`,
    );
}

/** Ticks are round, so few digits tell them: 0.5, 20, 1,500, 20k. */
function tickText(value: number): string {
  if (Math.abs(value) >= 10_000) return `${Number((value / 1000).toFixed(1))}k`;
  return Number(value.toPrecision(4)).toLocaleString('en-US');
}

function drawn({ name, points }: Line, colour: number, x: Scale, y: Scale): string {
  const placed = points.map(([a, b]) => [across(x.at(a)), up(y.at(b))] as const);
  const path = placed.map(([a, b]) => `${a},${b}`).join(' ');
  const dots = points.length > dotsMax ? [] : placed;
  const titled = dots.map(([a, b], index) => {
    const [xValue, yValue] = points[index] ?? [0, 0];
    const text = `${name}: ${formatNumber(yValue)} at ${tickText(xValue)}`;
    return `<circle cx="${a}" cy="${b}" r="3.5"><title>${escapeText(text)}</title></circle>`;
  });
  return `<g class="line c${colour}"><polyline points="${path}"/>${titled.join('')}</g>`;
}
