/**
 * Which faults and steps the randomized model mixes, how often, and which rules it can break on
 * purpose. Every seed has its own mix, so that some runs meet few kinds of faults and many of each.
 */
import type { RandomNumbers } from './core-random-numbers.ts';

export type Mode = 'witness' | 'suspend' | 'preferred';
export type Mutation =
  | 'none'
  | 'reads-without-lease'
  | 'reads-before-epoch-start'
  | 'acks-before-sync'
  | 'cut-not-kept'
  | 'forgets-grace'
  | 'short-grace'
  | 'answers-without-waiting'
  | 'answers-while-dropping'
  | 'applies-uncommitted'
  | 'assumes-swaps-won'
  | 'blank-under-old-name'
  | 'solo-tail-is-committed'
  | 'never-reads-register';

const actions = [
  'deliver',
  'sync',
  'timers',
  'send',
  'client',
  'inbox',
  'register',
  'apply',
  'checkpoint',
  'crash',
  'restart',
  'pause',
  'resume',
  'break',
  'connect',
  'cutLink',
  'heal',
  'stale',
  'lose',
  'witness',
  'switch',
  'blank',
  'voters',
] as const;
export type Action = (typeof actions)[number];
export type Weights = Record<Action, number>;

export const quietWeights: Weights = {
  deliver: 30,
  sync: 12,
  timers: 14,
  send: 12,
  client: 0,
  inbox: 8,
  register: 10,
  apply: 3,
  checkpoint: 1,
  crash: 0,
  restart: 0,
  pause: 0,
  resume: 0,
  break: 0,
  connect: 4,
  cutLink: 0,
  heal: 0,
  stale: 1,
  lose: 0,
  witness: 0,
  switch: 0,
  blank: 0,
  voters: 0,
};

/** Faults that a mutation needs more of to show itself soon. */
export const focus: Partial<Record<Mutation, Partial<Weights>>> = {
  'forgets-grace': { crash: 1, restart: 60, pause: 0, cutLink: 0.5 },
};

export function mixOf(random: RandomNumbers): Weights {
  return {
    deliver: 60,
    sync: random.of([3, 8, 20]),
    timers: 16,
    send: 24,
    client: random.of([4, 10]),
    inbox: 14,
    register: random.of([4, 20]),
    apply: 3,
    checkpoint: random.of([0, 1]),
    crash: random.of([0, 0.2, 0.6, 1.5]),
    restart: random.of([8, 40]),
    pause: random.of([0, 0.2, 0.8]),
    resume: random.of([2, 8]),
    break: random.of([0, 0.3, 1]),
    connect: 20,
    cutLink: random.of([0, 0.1, 0.4]),
    heal: random.of([2, 8]),
    stale: random.of([1, 8]),
    lose: random.of([0, 0.5, 2]),
    witness: random.of([0, 0.2]),
    switch: random.of([0, 1, 4]),
    blank: random.of([0, 0, 0.15]),
    voters: random.of([0, 0, 1]),
  };
}

/** Pauses and reads, little else. */
export function huntingMix(random: RandomNumbers): Partial<Weights> {
  return {
    pause: 1,
    resume: 4,
    crash: random.of([0, 0.3]),
    client: 6,
    inbox: 20,
    blank: 0,
    cutLink: 0,
    witness: 0,
    break: 0.1,
    switch: random.of([0, 0.5]),
  };
}
