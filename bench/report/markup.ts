/** Text made safe for HTML and SVG, and the few elements that every section is made of. Pure. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

/** A cell: text, or markup that is passed on as it is. */
export type Cell = string | { readonly markup: string };

export interface TableColumn {
  readonly title: string;
  readonly numeric?: boolean;
}

/** A table with its header; rows named in `marked` stand out. */
export function table(
  columns: readonly TableColumn[],
  rows: readonly (readonly Cell[])[],
  marked: (row: number) => string = () => '',
): string {
  const kind = (index: number): string => (columns[index]?.numeric === true ? ' class="n"' : '');
  const head = columns
    .map(({ title }, index) => `<th${kind(index)}>${escapeText(title)}</th>`)
    .join('');
  const body = rows.map((row, number) => {
    const cells = row.map((cell, index) => `<td${kind(index)}>${cellMarkup(cell)}</td>`).join('');
    const mark = marked(number);
    return `<tr${mark === '' ? '' : ` class="${mark}"`}>${cells}</tr>`;
  });
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`;
}

function cellMarkup(cell: Cell): string {
  return typeof cell === 'string' ? escapeText(cell) : cell.markup;
}

/** A section with an anchor. */
export function section(id: string, title: string, body: string): string {
  return `<section id="${id}"><h2>${escapeText(title)}</h2>\n${body}\n</section>`;
}
