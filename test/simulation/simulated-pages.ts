/**
 * The content of one simulated file: what programs see (the page cache) and what a power loss may
 * leave (the device). Content is kept in 4 KiB pages, changes in 512-byte sectors: a sector is
 * written wholly or not at all, and of everything not yet synced any subset may survive, in any
 * order, so a sector may come back with any content it had since the last sync.
 */
import type { SeededRandom } from './seeded-random.ts';

export const pageSizeBytes = 4096;
export const sectorSizeBytes = 512;

/** Content that a run of sectors of one page was given and that no sync has covered yet. */
interface Change {
  readonly id: number;
  readonly startBytes: number;
  readonly endBytes: number;
  /** Of [start, end); undefined: the sectors were freed. */
  readonly data: Buffer | undefined;
  /** A sync that covered it failed: no later sync makes it durable, yet it may survive. */
  lost: boolean;
}

interface Page {
  current: Buffer | undefined;
  durable: Buffer | undefined;
  changes: Change[];
}

/** How much of what was not synced a power loss leaves. */
export type Survival = 'nothing' | 'latest' | 'any';

export class SimulatedPages {
  readonly #pages = new Map<number, Page>();
  readonly #dirty = new Set<Page>();
  sizeBytes = 0;
  #durableSizeBytes = 0;
  #sizes: { readonly id: number; readonly sizeBytes: number }[] = [];

  read(target: Buffer, offsetBytes: number): void {
    forEachPagePart(offsetBytes, target.length, (index, start, end, doneBytes) => {
      const page = this.#pages.get(index)?.current;
      const pageOffset = index * pageSizeBytes;
      const visibleEnd = Math.max(start, Math.min(end, this.sizeBytes - pageOffset));
      if (page === undefined) target.fill(0, doneBytes, doneBytes + end - start);
      else {
        page.copy(target, doneBytes, start, visibleEnd);
        target.fill(0, doneBytes + visibleEnd - start, doneBytes + end - start);
      }
    });
  }

  /** Writes into the page cache; `id` orders changes for `makeDurable`. */
  write(data: Buffer, offsetBytes: number, id: number): void {
    if (offsetBytes + data.length > this.sizeBytes) this.#setSize(offsetBytes + data.length, id);
    forEachPagePart(offsetBytes, data.length, (index, start, end, doneBytes) => {
      const page = this.#writablePage(index);
      data.copy(page.current, start, doneBytes, doneBytes + end - start);
      this.#note(page, start, end, id);
    });
  }

  /** Frees whole pages and zeroes parts of pages. */
  punch(offsetBytes: number, lengthBytes: number, id: number): void {
    forEachPagePart(offsetBytes, lengthBytes, (index, start, end) => {
      const page = this.#pages.get(index);
      if (page?.current === undefined) return;
      if (end - start === pageSizeBytes) {
        page.current = undefined;
        page.changes.push({
          id,
          startBytes: 0,
          endBytes: pageSizeBytes,
          data: undefined,
          lost: false,
        });
        this.#dirty.add(page);
        return;
      }
      const writable = this.#writablePage(index);
      writable.current.fill(0, start, end);
      this.#note(writable, start, end, id);
    });
  }

  resize(sizeBytes: number, id: number): void {
    if (sizeBytes < this.sizeBytes) {
      const lastPageEnd = Math.ceil(this.sizeBytes / pageSizeBytes) * pageSizeBytes;
      this.punch(sizeBytes, lastPageEnd - sizeBytes, id);
    }
    this.#setSize(sizeBytes, id);
  }

  /** Changes up to and with `id` are on the device now. */
  makeDurable(id: number): void {
    for (const page of this.#dirty) {
      if (page.changes.some((change) => change.lost || change.id > id)) {
        makePartDurable(page, id);
      } else {
        page.durable = page.current;
        page.changes = [];
      }
      if (page.changes.length === 0) this.#dirty.delete(page);
    }
    for (const size of this.#sizes) if (size.id <= id) this.#durableSizeBytes = size.sizeBytes;
    this.#sizes = this.#sizes.filter((size) => size.id > id);
  }

  /** The device took one write (O_DSYNC), without anything else that is not synced. */
  makeWriteDurable(data: Buffer, offsetBytes: number, id: number): void {
    forEachPagePart(offsetBytes, data.length, (index) => {
      const page = this.#pages.get(index);
      if (page === undefined) return;
      makePartDurable(page, id, id);
      if (page.changes.length === 0) this.#dirty.delete(page);
    });
    this.#durableSizeBytes = Math.max(this.#durableSizeBytes, offsetBytes + data.length);
  }

  /** A sync of the changes up to `id` failed: the page cache calls them clean, nobody knows. */
  loseTrack(id: number): void {
    for (const page of this.#dirty) {
      for (const change of page.changes) if (change.id <= id) change.lost = true;
    }
  }

  /** The file after a power loss. */
  survive(random: SeededRandom, survival: Survival): SimulatedPages {
    const survivor = new SimulatedPages();
    const sizes = [this.#durableSizeBytes, ...this.#sizes.map((size) => size.sizeBytes)];
    survivor.sizeBytes = pickVersion(random, survival, sizes);
    survivor.#durableSizeBytes = survivor.sizeBytes;
    for (const [index, page] of this.#pages) {
      if (index * pageSizeBytes >= survivor.sizeBytes) continue;
      const content =
        page.changes.length === 0 ? page.durable : survivingPage(page, random, survival);
      if (content === undefined) continue;
      const visibleBytes = survivor.sizeBytes - index * pageSizeBytes;
      const cut =
        visibleBytes < pageSizeBytes ? Buffer.from(content).fill(0, visibleBytes) : content;
      survivor.#pages.set(index, { current: cut, durable: cut, changes: [] });
    }
    return survivor;
  }

  /** Flips bits on the device and in the cache alike. */
  corrupt(offsetBytes: number, mask: number): void {
    const page = this.#writablePage(Math.floor(offsetBytes / pageSizeBytes));
    const position = offsetBytes % pageSizeBytes;
    page.current[position] = (page.current[position] ?? 0) ^ mask;
    if (page.changes.length === 0) page.durable = page.current;
  }

  isAllocated(pageIndex: number): boolean {
    return this.#pages.get(pageIndex)?.current !== undefined;
  }

  allocatedBytes(): number {
    let pages = 0;
    for (const page of this.#pages.values()) if (page.current !== undefined) pages += 1;
    return pages * pageSizeBytes;
  }

  #setSize(sizeBytes: number, id: number): void {
    this.sizeBytes = sizeBytes;
    this.#sizes.push({ id, sizeBytes });
  }

  /** The page with a `current` that may be changed: not shared with what is durable. */
  #writablePage(index: number): Page & { current: Buffer } {
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = { current: undefined, durable: undefined, changes: [] };
      this.#pages.set(index, page);
    }
    if (page.current === undefined) page.current = Buffer.alloc(pageSizeBytes);
    else if (page.current === page.durable) page.current = Buffer.from(page.current);
    return page as Page & { current: Buffer }; // `current` was just set
  }

  #note(page: Page & { current: Buffer }, start: number, end: number, id: number): void {
    const startBytes = Math.floor(start / sectorSizeBytes) * sectorSizeBytes;
    const endBytes = Math.ceil(end / sectorSizeBytes) * sectorSizeBytes;
    const data = Buffer.from(page.current.subarray(startBytes, endBytes));
    page.changes.push({ id, startBytes, endBytes, data, lost: false });
    this.#dirty.add(page);
  }
}

/** Makes the changes from `firstId` up to `id` durable, in order, and forgets them. */
function makePartDurable(page: Page, id: number, firstId = 0): void {
  const kept: Change[] = [];
  for (const change of page.changes) {
    if (change.lost || change.id > id || change.id < firstId) {
      kept.push(change);
      continue;
    }
    page.durable = withChange(page.durable, change);
    removeOlder(kept, change);
  }
  page.changes = kept;
}

/** Takes from older changes the sectors that `durable` replaced: they can't come back any more. */
function removeOlder(kept: Change[], durable: Change): void {
  for (let index = kept.length - 1; index >= 0; index -= 1) {
    const older = kept[index];
    if (older === undefined || older.id > durable.id) continue;
    const before = part(older, older.startBytes, Math.min(older.endBytes, durable.startBytes));
    const after = part(older, Math.max(older.startBytes, durable.endBytes), older.endBytes);
    kept.splice(index, 1, ...before, ...after);
  }
}

function part(change: Change, startBytes: number, endBytes: number): Change[] {
  if (startBytes >= endBytes) return [];
  const from = startBytes - change.startBytes;
  const data = change.data?.subarray(from, from + endBytes - startBytes);
  return [{ ...change, startBytes, endBytes, data }];
}

function withChange(content: Buffer | undefined, change: Change): Buffer | undefined {
  if (change.data === undefined) return undefined;
  const result = content === undefined ? Buffer.alloc(pageSizeBytes) : Buffer.from(content);
  change.data.copy(result, change.startBytes);
  return result;
}

function survivingPage(page: Page, random: SeededRandom, survival: Survival): Buffer | undefined {
  if (survival === 'nothing') return page.durable;
  if (survival === 'latest') return page.current;
  const content = page.durable === undefined ? undefined : Buffer.from(page.durable);
  let result = content;
  for (let start = 0; start < pageSizeBytes; start += sectorSizeBytes) {
    const versions = page.changes.filter(
      (change) => change.startBytes <= start && start < change.endBytes,
    );
    const picked = random.below(versions.length + 1);
    const change = versions[picked];
    if (change === undefined) continue;
    result ??= Buffer.alloc(pageSizeBytes);
    if (change.data === undefined) result.fill(0, start, start + sectorSizeBytes);
    else
      change.data.copy(result, start, start - change.startBytes, start - change.startBytes + 512);
  }
  return result;
}

function pickVersion(
  random: SeededRandom,
  survival: Survival,
  versions: readonly number[],
): number {
  if (survival === 'any') return random.pick(versions);
  return (survival === 'nothing' ? versions[0] : versions.at(-1)) ?? 0;
}

/** Calls with each page's index, the range within the page, and how many bytes came before. */
function forEachPagePart(
  offsetBytes: number,
  lengthBytes: number,
  visit: (index: number, start: number, end: number, doneBytes: number) => void,
): void {
  let doneBytes = 0;
  while (doneBytes < lengthBytes) {
    const position = offsetBytes + doneBytes;
    const start = position % pageSizeBytes;
    const end = Math.min(pageSizeBytes, start + lengthBytes - doneBytes);
    visit(Math.floor(position / pageSizeBytes), start, end, doneBytes);
    doneBytes += end - start;
  }
}
