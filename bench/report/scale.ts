/** Axes: where round numbers stand and where values go, linear or logarithmic. Pure. */

export interface Scale {
  /** Place of a value, 0 (start of the axis) to 1 (its end); beyond that outside of it. */
  at(value: number): number;
  readonly ticks: readonly number[];
}

const steps = [1, 2, 2.5, 5, 10];

/** From 0 to at least `max`, with about `count` ticks at round numbers. */
export function linearScale(max: number, count = 5): Scale {
  const top = max > 0 ? max : 1;
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = (steps.find((each) => each * power >= rough * 0.999) ?? 10) * power;
  const tickCount = Math.ceil(top / step - 1e-9);
  const end = tickCount * step;
  const ticks = Array.from({ length: tickCount + 1 }, (_, index) => index * step);
  return { at: (value) => value / end, ticks };
}

/** From the least to the largest of the values, which are its ticks too; all have to be above 0. */
export function logarithmicScale(values: readonly number[]): Scale {
  const ticks = [...new Set(values)].filter((value) => value > 0).sort((a, b) => a - b);
  const first = ticks[0] ?? 1;
  const width = Math.log(ticks.at(-1) ?? first) - Math.log(first);
  return {
    at: (value) =>
      width === 0 ? 0.5 : (Math.log(Math.max(value, first)) - Math.log(first)) / width,
    ticks,
  };
}

/** An axis begins at 0 when its values do nearly. */
const fromZeroBelow = 0.2;

/** From the least to the largest value, for a time axis that need not begin at 0. */
export function rangeScale(values: readonly number[]): Scale {
  const least = Math.min(...values);
  const first = least > 0 && least < Math.max(...values) * fromZeroBelow ? 0 : least;
  const width = Math.max(...values) - first;
  const plain = linearScale(width > 0 ? width : 1);
  return {
    at: (value) => plain.at(value - first),
    ticks: plain.ticks.map((tick) => tick + first),
  };
}
