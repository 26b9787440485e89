/**
 * Small plots of the last minutes, as inline SVG: points come from the page, which asks the daemon
 * every few seconds. Bounded: what is older than the plot is forgotten.
 */

const svgNamespace = 'http://www.w3.org/2000/svg';
const width = 440;
const height = 150;
const left = 64;
const right = 8;
const top = 10;
const bottom = 22;

/** So much of the past is shown. */
export const spanMs = 10 * 60_000;
/** Points that are kept, whatever their distance. */
const pointsMax = 600;

function svg(name, attributes, ...children) {
  const element = document.createElementNS(svgNamespace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** The next 1, 2 or 5 with zeros; for bytes the next power of two. */
function roundUp(value, isBytes) {
  if (isBytes) return 2 ** Math.ceil(Math.log2(Math.max(value, 1024)));
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.1)));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10);
}

/** Points over time, each with a value per line; a value that is not known breaks the line. */
export class History {
  points = [];

  add(atMs, values) {
    this.points.push({ atMs, values });
    const firstMs = atMs - spanMs;
    while (this.points.length > pointsMax || this.points[0].atMs < firstMs) this.points.shift();
  }
}

/** One plot: its figure, redrawn with `draw`. `lines`: [{key, name, class}]. */
export class Plot {
  #lines;
  #format;
  #isBytes;
  #title;
  #picture;
  #values = new Map();
  element;

  constructor({ title, lines, format, isBytes = false }) {
    this.#title = title;
    this.#lines = lines;
    this.#format = format;
    this.#isBytes = isBytes;
    this.#picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' });
    const caption = document.createElement('figcaption');
    caption.textContent = title;
    const key = document.createElement('ul');
    key.className = 'key';
    for (const line of lines) {
      const item = document.createElement('li');
      const value = document.createElement('span');
      const sample = svg('svg', { viewBox: '0 0 32 12', 'aria-hidden': 'true' });
      sample.append(svg('path', { class: line.class, d: 'M0 6H32' }));
      item.append(sample, value);
      key.append(item);
      this.#values.set(line.key, value);
    }
    this.element = document.createElement('figure');
    this.element.className = 'plot';
    this.element.append(caption, this.#picture, key);
  }

  draw({ points }, nowMs) {
    const known = points.flatMap(({ values }) =>
      this.#lines.map(({ key }) => values[key]).filter((value) => value !== undefined),
    );
    const ceiling = roundUp(Math.max(0, ...known), this.#isBytes);
    const x = (atMs) => left + (width - left - right) * (1 - (nowMs - atMs) / spanMs);
    const y = (value) => top + (height - top - bottom) * (1 - value / ceiling);
    const parts = [0, ceiling / 2, ceiling].flatMap((value) => [
      svg('path', { class: 'grid', d: `M${left} ${y(value)}H${width - right}` }),
      svg('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, this.#format(value)),
    ]);
    const minutes = spanMs / 60_000;
    for (const ago of [minutes, minutes / 2, 0]) {
      const anchor = ago === 0 ? 'end' : ago === minutes ? 'start' : 'middle';
      const label = ago === 0 ? 'now' : `${ago} min ago`;
      const at = { x: x(nowMs - ago * 60_000), y: height - 5, 'text-anchor': anchor };
      parts.push(svg('text', at, label));
    }
    const said = [];
    for (const { key, name, class: style } of this.#lines) {
      let path = '';
      let pen = 'M';
      for (const { atMs, values } of points) {
        const value = values[key];
        if (value === undefined || x(atMs) < left) {
          pen = 'M';
          continue;
        }
        path += `${pen}${x(atMs).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = 'L';
      }
      parts.push(svg('path', { class: style, d: path }));
      const last = points.at(-1)?.values[key];
      const text = last === undefined ? 'none' : this.#format(last);
      this.#values.get(key).textContent = `${name}: ${text}`;
      said.push(`${name} ${text}`);
    }
    this.#picture.setAttribute('aria-label', `${this.#title} now: ${said.join(', ')}`);
    this.#picture.replaceChildren(...parts);
  }
}
