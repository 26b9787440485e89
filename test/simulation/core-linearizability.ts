/**
 * Is every block a linearizable register? By zones: Gibbons and Korach, "Testing shared memories",
 * SIAM J. Comput. 26(4), 1997, for one register whose written values are all different.
 */
import { Violation } from './core-log.ts';

export interface Operation {
  readonly block: number;
  readonly kind: 'read' | 'write';
  /** Written, or read (0: never written). */
  value: number;
  readonly invokedMs: number;
  respondedMs: number | undefined;
}

interface Zone {
  /** Earliest response and latest invocation of the operations on one value. */
  readonly low: number;
  readonly high: number;
  readonly value: number;
}

/** Throws a Violation if the operations that were answered can't have happened in one order. */
export function checkLinearizable(operations: Iterable<Operation>, blocks: number): void {
  const all = [...operations];
  for (let block = 0; block < blocks; block += 1) {
    checkZones(block, zonesOf(all.filter((operation) => operation.block === block)));
  }
}

function zonesOf(operations: readonly Operation[]): readonly Zone[] {
  const writes = new Map(
    operations.filter(({ kind }) => kind === 'write').map((write) => [write.value, write]),
  );
  const byValue = new Map<number, Operation[]>([[0, []]]);
  for (const operation of operations) {
    const known = byValue.get(operation.value) ?? [];
    if (operation.respondedMs !== undefined) {
      byValue.set(operation.value, [...known, operation]);
    }
  }
  return [...byValue].map(([value, answered]) => zoneOf(value, answered, writes.get(value)));
}

function zoneOf(value: number, answered: readonly Operation[], write: Operation | undefined): Zone {
  const spans = answered
    .filter(({ kind }) => kind === 'read')
    .map((read) => ({ invoked: read.invokedMs, responded: read.respondedMs ?? 0 }));
  if (value === 0) {
    spans.push({ invoked: -1, responded: -1 });
  } else {
    if (write === undefined)
      throw new Violation(`read of a value that was never written: ${value}`);
    if (spans.some(({ responded }) => responded < write.invokedMs)) {
      throw new Violation(`value ${value} was read before it was written`);
    }
    const responded = write.respondedMs ?? Number.MAX_VALUE;
    spans.push({ invoked: write.invokedMs, responded });
  }
  return {
    low: Math.min(...spans.map(({ responded }) => responded)),
    high: Math.max(...spans.map(({ invoked }) => invoked)),
    value,
  };
}

function checkZones(block: number, zones: readonly Zone[]): void {
  const forward = zones.filter(({ low, high }) => low < high).sort((a, b) => a.low - b.low);
  forward.forEach((zone, index) => {
    const clash = forward.slice(index + 1).find(({ low }) => low < zone.high);
    if (clash !== undefined) {
      throw new Violation(
        `not linearizable: block ${block}, values ${zone.value} and ${clash.value} interleave`,
      );
    }
  });
  for (const { low, high, value } of zones.filter((zone) => zone.low >= zone.high)) {
    const around = forward.find((zone) => zone.low < high && low < zone.high);
    if (around !== undefined) {
      throw new Violation(
        `not linearizable: block ${block}, value ${value} inside the zone of ${around.value}`,
      );
    }
  }
}
