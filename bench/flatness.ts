/**
 * Whether something that should stay as it is has stayed: memory, descriptors, log, latency over a
 * long run with restarts. Pure.
 *
 * What belongs to a process begins anew with it, so only the longest life counts, without the part
 * in which it warms up; then the medians of its first and its last third are compared.
 */
import { median } from './statistics.ts';

export interface Observation {
  readonly seconds: number;
  readonly value: number;
  /** Counts the lives of the process; the same throughout for what outlives it. */
  readonly life: number;
}

export interface Allowance {
  /** The last third may be above the first by this factor, or by this much, whichever is more. */
  readonly factor: number;
  readonly amount: number;
}

export interface Flatness {
  readonly verdict: 'flat' | 'grows' | 'too short to tell';
  readonly first: number;
  readonly last: number;
}

/** Fewer observations of one life than this say nothing. */
export const observationsMin = 9;
const warmUpPart = 0.15;

export function flatness(observations: readonly Observation[], allowed: Allowance): Flatness {
  const longest = longestLife(observations);
  const settled = longest.slice(Math.floor(longest.length * warmUpPart));
  const third = Math.floor(settled.length / 3);
  const middleOf = (some: readonly Observation[]): number =>
    median(some.map(({ value }) => value)) ?? 0;
  const first = middleOf(settled.slice(0, third));
  const last = middleOf(settled.slice(settled.length - third));
  if (longest.length < observationsMin) return { verdict: 'too short to tell', first, last };
  const most = Math.max(first * allowed.factor, first + allowed.amount);
  return { verdict: last <= most ? 'flat' : 'grows', first, last };
}

function longestLife(observations: readonly Observation[]): Observation[] {
  const lives = new Map<number, Observation[]>();
  for (const each of observations) {
    const life = lives.get(each.life) ?? [];
    life.push(each);
    lives.set(each.life, life);
  }
  let longest: Observation[] = [];
  for (const life of lives.values()) if (life.length > longest.length) longest = life;
  return longest;
}
