/**
 * One life of a simulated process: whatever is to happen to it happens through here, not any more
 * once it is dead, and later while it is paused. Its clock runs at a rate of its own (drift).
 */
import type { Clock } from '../../../replication/link/clock.ts';
import type { VirtualTime } from './virtual-time.ts';

export class ProcessLife {
  readonly machineName: string;
  alive = true;
  readonly clock: Clock;
  readonly #time: VirtualTime;
  #pausedUntilMs = 0;
  /** What would have happened during the pause, in order. */
  readonly #held = new Set<() => void>();

  constructor(options: {
    readonly machineName: string;
    readonly time: VirtualTime;
    /** What the process reads at true time 0. */
    readonly clockOffsetMs: number;
    /** Milliseconds of its clock for each true one: 0.9 to 1.1 (I4). */
    readonly clockRate: number;
  }) {
    const { machineName, time, clockOffsetMs, clockRate } = options;
    this.machineName = machineName;
    this.#time = time;
    this.clock = {
      nowMs: () => clockOffsetMs + time.nowMs * clockRate,
      setTimer: (delayMs, fire) => this.after(Math.max(0, delayMs) / clockRate, fire),
    };
  }

  get paused(): boolean {
    return this.#time.nowMs < this.#pausedUntilMs;
  }

  /** It does nothing until then (SIGSTOP, a long collection); its clock goes on. */
  pauseUntil(atMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, atMs);
  }

  /** It goes on before the time that it was paused for has passed. */
  resume(): void {
    this.#pausedUntilMs = 0;
    for (const goOn of [...this.#held]) goOn();
  }

  after(delayMs: number, run: () => void): () => void {
    let cancel = (): void => undefined;
    const fire = (): void => {
      if (!this.alive) return;
      if (!this.paused) {
        run();
        return;
      }
      const planned = this.#time.at(this.#pausedUntilMs, () => {
        this.#held.delete(goOn);
        fire();
      });
      const letGo = (): void => {
        planned();
        this.#held.delete(goOn);
      };
      const goOn = (): void => {
        letGo();
        cancel = this.#time.after(0, fire);
      };
      this.#held.add(goOn);
      cancel = letGo;
    };
    cancel = this.#time.after(delayMs, fire);
    return () => cancel();
  }
}
