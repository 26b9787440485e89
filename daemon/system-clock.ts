/**
 * Real time and real randomness: the only file that reads clocks, starts timers for the protocol
 * and draws random ids. Everything that decides gets them as ports, so that the simulator can stand
 * in for all of it.
 */
import { randomBytes } from 'node:crypto';
import type { Clock, Random } from '../replication/link/clock.ts';

export const systemClock: Clock = {
  /** CLOCK_MONOTONIC, read at each call (R19, H12: never the event loop's cached time). */
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, Math.max(0, Math.ceil(delayMs)));
    return () => clearTimeout(timer);
  },
};

/** Wall clock, milliseconds since 1970: for people and recovery points, never for decisions. */
export function wallClockMs(): number {
  return Date.now();
}

/** Evenly spread over [0, 1); for jitter, not for ids. */
export const systemRandom: Random = { fraction: () => Math.random() };

/** 128 random bits as 32 hex digits: ids of stores, groups, epochs and lives of a process. */
export function randomId(): string {
  return randomBytes(16).toString('hex');
}

/** 64 random bits, not 0: the life of a process as records name it. */
export function randomBoot(): bigint {
  const boot = randomBytes(8).readBigUInt64LE();
  return boot === 0n ? 1n : boot;
}
