/** Horizontal bars as inline SVG, with a whisker over the repetitions' range. Pure. */
import { formatNumber } from '../table.ts';
import { escapeText } from './markup.ts';

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Least and largest of the repetitions, where there were several. */
  readonly range: readonly [number, number] | undefined;
  /** Class of the style sheet: `own`, `bound`, `same` or `weaker`. */
  readonly kind: string;
  /** What follows the value. */
  readonly note: string;
}

const width = 860;
const labelWidth = 270;
const noteWidth = 170;
const rowHeight = 24;
const barHeight = 14;
const barWidth = width - labelWidth - noteWidth;

/** The bars one below the other, all on one scale from 0. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  if (bars.length === 0) return '';
  const max = Math.max(...bars.map(({ value, range }) => Math.max(value, range?.[1] ?? 0)), 1e-9);
  const height = bars.length * rowHeight + 4;
  const rows = bars.map((bar, index) => row(bar, index * rowHeight + 2, max, unit));
  return `<figure class="wide"><figcaption>${escapeText(title)} <small>${escapeText(unit)}</small></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}">${rows.join('\n')}</svg></figure>`;
}

const rounded = (value: number): number => Math.round(value * 10) / 10;

function row(
  { label, value, range, kind, note }: Bar,
  top: number,
  max: number,
  unit: string,
): string {
  const scale = (each: number): number => rounded((each / max) * barWidth);
  const middle = top + rowHeight / 2;
  const parts = [
    `<text class="label ${kind}" x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escapeText(label)}</text>`,
    `<rect class="bar ${kind}" x="${labelWidth}" y="${middle - barHeight / 2}" width="${Math.max(scale(value), 1)}" height="${barHeight}" rx="2"><title>${escapeText(`${label}: ${formatNumber(value)} ${unit}`)}</title></rect>`,
  ];
  if (range !== undefined) {
    const [low, high] = range;
    parts.push(
      `<path class="whisker" d="M${labelWidth + scale(low)} ${middle}H${labelWidth + scale(high)}"/>`,
    );
  }
  const end = labelWidth + scale(Math.max(value, range?.[1] ?? 0));
  parts.push(
    `<text class="value" x="${end + 6}" y="${middle + 4}">${escapeText(formatNumber(value))}${note === '' ? '' : ` <tspan class="note">${escapeText(note)}</tspan>`}</text>`,
  );
  return `<g>${parts.join('')}</g>`;
}
