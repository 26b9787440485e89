/**
 * Watches whether the log waits for room (I9): everything in it is still needed, because the data
 * files lag, so writes of all groups wait. Said in status, metrics and events; it ends by itself.
 */
import type { Log } from '../wal/log.ts';
import type { Group } from './volume/group.ts';

/** A shorter wait is none that anybody has to hear of. */
const toldAfterMs = 200;

export interface LogRoomHost {
  readonly log: Pick<Log, 'waitsForRoom'>;
  readonly groups: () => Iterable<Group>;
  readonly limitBytes: number;
  wallMs(): number;
  event(level: 'info' | 'error', code: string, text: string): void;
}

export class LogRoom {
  readonly #host: LogRoomHost;
  #sinceMs: number | undefined;
  #told = false;

  constructor(host: LogRoomHost) {
    this.#host = host;
  }

  /** To be called often. `nowMs` is monotonic. */
  tick(nowMs: number): void {
    if (!this.#host.log.waitsForRoom) {
      if (this.#told) this.#over();
      this.#sinceMs = undefined;
      return;
    }
    this.#sinceMs ??= nowMs;
    if (!this.#told && nowMs - this.#sinceMs >= toldAfterMs) this.#tell(nowMs - this.#sinceMs);
  }

  #tell(waitedMs: number): void {
    const { event, wallMs, limitBytes } = this.#host;
    const mebibytes = Math.round(limitBytes / 1024 / 1024);
    const text =
      `the log is at its limit of ${mebibytes} MiB and all of it is needed until the data files ` +
      'have taken more of it; writes wait';
    this.#told = true;
    event('error', 'log-full', text);
    this.#mark({ text, sinceMs: wallMs() - waitedMs });
  }

  #over(): void {
    this.#told = false;
    this.#host.event('info', 'log-room', 'the log has room again');
    this.#mark(undefined);
  }

  #mark(logFull: Group['counters']['logFull']): void {
    for (const group of this.#host.groups()) group.counters.logFull = logFull;
  }
}
