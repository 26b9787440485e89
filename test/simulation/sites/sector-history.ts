/**
 * Is every sector of a volume a linearizable register? For sectors whose written values are all
 * different by zones (`core-linearizability.ts`); for those that were zeroed, of which a value can
 * come more than once, by what each read may have seen: a write that began before the read ended
 * and that no other write surely followed before the read began.
 */
import { checkLinearizable, type Operation } from '../core-linearizability.ts';
import { Violation } from './violation.ts';

export interface SectorOperation {
  readonly kind: 'read' | 'write';
  /** Written; 0: zeroes. */
  readonly value: number;
  readonly first: number;
  readonly count: number;
  readonly invoked: number;
  /** Undefined: never, or with an error; a write may then have happened or not, or may later. */
  answered: number | undefined;
  /** What was read, sector by sector. */
  readonly found: number[];
}

/** Throws a Violation if what was answered can't have happened in one order. */
export function checkSectors(
  volume: string,
  operations: readonly SectorOperation[],
  isDoubtful: (sector: number) => boolean,
): void {
  const sectors = new Map<number, Operation[]>();
  for (const operation of operations) {
    if (operation.kind === 'read' && operation.answered === undefined) continue;
    for (let index = 0; index < operation.count; index += 1) {
      const sector = operation.first + index;
      const list = sectors.get(sector) ?? [];
      sectors.set(sector, list);
      list.push({
        block: 0,
        kind: operation.kind,
        value: operation.kind === 'read' ? (operation.found[index] ?? 0) : operation.value,
        invokedMs: operation.invoked,
        respondedMs: operation.answered,
      });
    }
  }
  for (const [sector, list] of sectors) {
    if (isDoubtful(sector)) continue;
    const zeroed = list.some(({ kind, value }) => kind === 'write' && value === 0);
    try {
      if (zeroed) checkReads(list);
      else checkLinearizable(list, 1);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const text = `volume ${volume} sector ${sector}: ${error.message}\n${historyText(list)}`;
      throw new Violation('linearizability', text);
    }
  }
}

function checkReads(list: readonly Operation[]): void {
  const writes = list.filter(({ kind }) => kind === 'write');
  for (const read of list) {
    if (read.kind !== 'read' || read.respondedMs === undefined) continue;
    const overwritten = (responded: number): boolean =>
      writes.some(
        (later) => later.invokedMs > responded && (later.respondedMs ?? Infinity) < read.invokedMs,
      );
    const { respondedMs } = read;
    const seen = writes.some(
      (write) =>
        write.value === read.value &&
        write.invokedMs < respondedMs &&
        !overwritten(write.respondedMs ?? Infinity),
    );
    if (!seen && !(read.value === 0 && !overwritten(-1))) {
      throw new Error(`a read at ${read.invokedMs} saw ${read.value}, which it cannot have seen`);
    }
  }
}

/** The last operations, for whoever looks into a failing seed. */
function historyText(list: readonly Operation[]): string {
  return list
    .slice(-24)
    .map(({ kind, value, invokedMs, respondedMs }) => {
      return `    ${kind} ${value} from ${invokedMs} to ${respondedMs ?? 'never'}`;
    })
    .join('\n');
}
