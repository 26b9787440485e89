/**
 * Sizes as people write them ("1GiB") and as the program counts them (bytes). Binary units only: a
 * disk of "1GB" is a matter of opinion, one of "1GiB" is not.
 */

const unitBytes = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
} as const;

type Unit = keyof typeof unitBytes;

const sizePattern = /^([0-9]+) ?(B|KiB|MiB|GiB|TiB)?$/;

function isUnit(text: string): text is Unit {
  return Object.hasOwn(unitBytes, text);
}

/** What a size looks like, for messages about one that does not. */
export const sizeForm = 'a whole number of bytes, or with a binary unit such as "64KiB" or "1GiB"';

/** Bytes of "512MiB", "64KiB" or "4096"; undefined if the text is no size or too large to count. */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text.trim());
  if (match === null) return undefined;
  const unit = match[2] ?? 'B';
  if (!isUnit(unit)) return undefined;
  const bytes = Number(match[1]) * unitBytes[unit];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes in the largest unit that shows them exactly: what `parseSize` reads back. */
export function formatSizeExactly(bytes: number): string {
  if (bytes === 0) return '0';
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    if (bytes % unitBytes[unit] === 0) return `${bytes / unitBytes[unit]}${unit}`;
  }
  return `${bytes}`;
}

/** Bytes for a person to read, rounded to one decimal: "1.5 GiB". */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    if (bytes >= unitBytes[unit]) {
      const rounded = Math.round((bytes / unitBytes[unit]) * 10) / 10;
      return `${rounded} ${unit}`;
    }
  }
  return `${bytes} B`;
}
