/**
 * Sleeps to within some ten microseconds, which the event loop's own timers, counted in whole
 * milliseconds, cannot: `usleep` of libc on a thread of the pool. How late it usually is (the way
 * to that thread and back) is learned and taken off; what is left over is spent in the event loop.
 */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const usleep = libc.func('int usleep(unsigned int microseconds)');
const prctl = libc.func('int prctl(int option, unsigned long value)');

/** PR_SET_TIMERSLACK: by default the kernel may wake a thread 50 µs late to save power. */
const setTimerSlack = 29;
const lateMsMax = 0.3;
/** Weight of the newest sleep in what is known of lateness. */
const learning = 0.1;

/** Called once, before the pool has threads: they inherit the slack of the one that makes them. */
export function preciseWakeUps(): void {
  prctl(setTimerSlack, 1);
}

export class Sleeper {
  readonly #wake: () => void;
  #sleeping = false;
  #lateMs = 0;

  /** `wake` is called when a sleep ends, possibly early: whoever is not due yet sleeps again. */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  /** Sleeps unless it already does: what is due earlier than that sleep ends waits for its end. */
  sleep(forMs: number): void {
    if (this.#sleeping) return;
    this.#sleeping = true;
    const untilMs = performance.now() + forMs;
    const sleepMs = forMs - this.#lateMs;
    if (sleepMs <= 0) {
      setImmediate(() => this.#awake());
      return;
    }
    usleep.async(Math.max(1, Math.round(sleepMs * 1000)), () => {
      const lateMs = performance.now() - untilMs + (forMs - sleepMs);
      this.#lateMs += (Math.min(lateMs, lateMsMax) - this.#lateMs) * learning;
      this.#awake();
    });
  }

  #awake(): void {
    this.#sleeping = false;
    this.#wake();
  }
}
