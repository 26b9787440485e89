/**
 * Watches whether the log waits for room (I9): everything in it is still needed, because the data
 * files lag, so writes of all groups wait. Said in status, metrics and events; it ends by itself.
 */
import type { Log } from '../wal/log.ts';
import type { Group } from './volume/group.ts';

/** A shorter wait is none that anybody has to hear of. */
const toldAfterMs = 200;

export interface LogRoomHost {
  readonly log: Pick<Log, 'waitsForRoom' | 'heldBy'>;
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
    const text = `the log is at its limit of ${mebibytes} MiB; writes wait until ${this.#what()}`;
    this.#told = true;
    event('error', 'log-full', text);
    this.#mark({ text, sinceMs: wallMs() - waitedMs });
  }

  /** A group that waits itself, for its peer or its disk, holds everything after its records. */
  #what(): string {
    const { log, groups } = this.#host;
    const holders = [...groups()].filter(({ groupId }) => log.heldBy.includes(groupId));
    const waiting = holders.filter(({ view }) => view.waitReason !== undefined);
    if (waiting.length === 0) return 'the data files have taken more of it';
    const names = waiting.map(({ groupName }) => `"${groupName}"`).join(', ');
    return `${names} can go on, whose records hold the oldest part of it`;
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
