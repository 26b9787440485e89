/** Times a function: called in growing batches until a batch takes long enough, best of several. */

export interface MicroFigure {
  readonly name: string;
  readonly nanosecondsPerCall: number;
  /** Bytes that one call handles, for a rate; 0 where that means nothing. */
  readonly bytesPerCall: number;
}

/** What every micro-benchmark is given. */
export interface MicroContext {
  /** On the disk to be measured. */
  readonly directory: string;
  readonly quick: boolean;
  /** Times what needs the processor only. */
  time(name: string, bytesPerCall: number, call: () => void): MicroFigure;
}

export const timing = {
  /** Best of five batches of at least 100 ms. */
  full: { batchMs: 100, batches: 5 },
  quick: { batchMs: 20, batches: 3 },
} as const;

/** The best of the batches, after warming up by the batches that were too short. */
export function time(
  { batchMs, batches }: (typeof timing)[keyof typeof timing],
  { name, bytesPerCall }: { readonly name: string; readonly bytesPerCall: number },
  call: () => void,
): MicroFigure {
  let calls = 16;
  while (batch(calls, call) < batchMs) calls *= 2;
  let best = Number.POSITIVE_INFINITY;
  for (let index = 0; index < batches; index += 1) best = Math.min(best, batch(calls, call));
  return { name, nanosecondsPerCall: (best / calls) * 1e6, bytesPerCall };
}

function batch(calls: number, call: () => void): number {
  const before = performance.now();
  for (let index = 0; index < calls; index += 1) call();
  return performance.now() - before;
}
