/**
 * What a daemon tells systemd, by the protocol of sd_notify(3): that it is ready, how it is in one
 * sentence, that its event loop turns, that it reloads or stops. Without a service manager, nobody
 * is told and nothing runs. Its messages are here; what they say of a site is in
 * `service-sentence.ts`.
 */
import type { Clock } from '../replication/link/clock.ts';

/** How often the sentence is looked at and the manager is told that the event loop turns. */
const beatMsMax = 1000;
/** The sentence is asked for at every so many beats once the daemon is ready. */
const sentenceBeats = 5;
/** A start or a stop may take long, but not without a sign of life for longer than this. */
const extensionMs = 60_000;
/** Messages that are kept for a manager that takes none; the oldest go. */
const unsentMax = 16;

export interface ServiceEnvironment {
  /** $NOTIFY_SOCKET: where to send; undefined if no manager wants to know. */
  readonly socket: string | undefined;
  /** How often the manager wants to hear of the event loop; undefined if it does not watch. */
  readonly watchdogMs: number | undefined;
}

export interface ServicePorts {
  readonly clock: Clock;
  /** Sends one datagram; gives the error's code, or undefined when it is sent. */
  readonly send: (socket: string, text: string) => string | undefined;
  readonly warn: (text: string) => void;
}

/** What the manager is told of a daemon that has started. */
export interface ServiceState {
  /** True once the daemon does what it is for. */
  readonly isReady: () => boolean;
  /** It is called ready after so long anyway: what it waits for may need an operator. */
  readonly readyWithinMs: number;
  /** One sentence for `systemctl status`. */
  readonly sentence: () => Promise<string>;
}

/** Reads what a service manager gave this process: $NOTIFY_SOCKET and $WATCHDOG_USEC. */
export function serviceEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
  pid: number,
): ServiceEnvironment {
  const socket = variables['NOTIFY_SOCKET'];
  const isPath = socket?.startsWith('/') === true || socket?.startsWith('@') === true;
  const watchedPid = variables['WATCHDOG_PID'];
  const microseconds = Number(variables['WATCHDOG_USEC']);
  const isWatched = watchedPid === undefined || watchedPid === String(pid);
  const watchdogMs = isWatched && microseconds > 0 ? microseconds / 1000 : undefined;
  return isPath ? { socket, watchdogMs } : { socket: undefined, watchdogMs: undefined };
}

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #beatMs: number;
  readonly #ports: ServicePorts;
  #phase: 'starting' | 'serving' | 'stopping' = 'starting';
  #state: ServiceState | undefined;
  #readyByMs = 0;
  #beats = 0;
  #asking = false;
  #sentence = '';
  #watchdogDueMs = 0;
  #unsent: string[] = [];
  #warned = false;
  #cancelBeat: () => void = () => undefined;

  constructor({ socket, watchdogMs }: ServiceEnvironment, ports: ServicePorts) {
    this.#socket = socket;
    this.#watchdogMs = watchdogMs;
    this.#beatMs = Math.min(beatMsMax, (watchdogMs ?? Number.POSITIVE_INFINITY) / 2);
    this.#ports = ports;
  }

  /** The daemon has begun to start: a manager waits as long as the event loop turns. */
  starting(sentence: string): void {
    if (this.#socket === undefined) return;
    this.#say(sentence);
    this.#beat();
  }

  /** The daemon has started: tells the manager when it is ready, and how it is from then on. */
  started(state: ServiceState): void {
    if (this.#socket === undefined) return;
    this.#state = state;
    this.#readyByMs = this.#ports.clock.nowMs() + state.readyWithinMs;
    this.#lookAtReadiness();
    void this.#ask();
  }

  stopping(sentence: string): void {
    if (this.#socket === undefined || this.#phase === 'stopping') return;
    this.#phase = 'stopping';
    this.#say(sentence, 'STOPPING=1\n');
    this.#extend();
  }

  /** Tells the manager that a reload has begun, does it, and that it is over. */
  async reload(run: () => Promise<string> | string): Promise<void> {
    // The manager recognises the reload that it asked for by the time of it.
    const microseconds = Math.round(this.#ports.clock.nowMs() * 1000);
    this.#queue(`RELOADING=1\nMONOTONIC_USEC=${microseconds}`);
    const outcome = await run();
    if (this.#phase === 'serving') this.#say(outcome, 'READY=1\n');
  }

  /** The last word; a manager hears no more of this process. */
  close(): void {
    this.#cancelBeat();
    this.#flush();
  }

  #beat(): void {
    this.#cancelBeat = this.#ports.clock.setTimer(this.#beatMs, () => this.#beat());
    this.#beats += 1;
    this.#flush();
    this.#feedWatchdog();
    if (this.#phase !== 'serving') this.#extend();
    if (this.#phase === 'starting') this.#lookAtReadiness();
    if (this.#phase === 'starting' || this.#beats % sentenceBeats === 0) void this.#ask();
  }

  /** Never later than after half the time that the manager waits (sd_watchdog_enabled(3)). */
  #feedWatchdog(): void {
    if (this.#watchdogMs === undefined) return;
    const nowMs = this.#ports.clock.nowMs();
    if (nowMs + this.#beatMs <= this.#watchdogDueMs) return;
    this.#watchdogDueMs = nowMs + this.#watchdogMs / 2;
    // Not kept when it can't be sent: the next one says the same.
    this.#send('WATCHDOG=1');
  }

  /** A recovery or a last checkpoint may take minutes; a manager must not end it. */
  #extend(): void {
    this.#send(`EXTEND_TIMEOUT_USEC=${extensionMs * 1000}`);
  }

  #lookAtReadiness(): void {
    if (this.#phase !== 'starting' || this.#state === undefined) return;
    const late = this.#ports.clock.nowMs() >= this.#readyByMs;
    if (!late && !this.#state.isReady()) return;
    this.#phase = 'serving';
    this.#queue('READY=1');
  }

  /** Asks for the sentence, one question at a time: its answer may wait for the disk. */
  async #ask(): Promise<void> {
    if (this.#state === undefined || this.#asking || this.#phase === 'stopping') return;
    this.#asking = true;
    try {
      const sentence = await this.#state.sentence();
      if (this.#mayTell() && sentence !== this.#sentence) this.#say(sentence);
    } catch (error) {
      this.#ports.warn(`no sentence for the service manager: ${String(error)}`);
    } finally {
      this.#asking = false;
    }
  }

  /** What was asked for before it began to stop is not news any more. */
  #mayTell(): boolean {
    return this.#phase !== 'stopping';
  }

  #say(sentence: string, before = ''): void {
    this.#sentence = sentence;
    this.#queue(`${before}STATUS=${sentence.replaceAll('\n', ' ')}`);
  }

  #queue(message: string): void {
    if (this.#socket === undefined) return;
    this.#unsent.push(message);
    if (this.#unsent.length > unsentMax) this.#unsent.shift();
    this.#flush();
  }

  #flush(): void {
    while (this.#unsent[0] !== undefined && this.#send(this.#unsent[0])) this.#unsent.shift();
  }

  /** False when the manager has no room now. Any other failure is not worth a repetition. */
  #send(message: string): boolean {
    if (this.#socket === undefined) return true;
    const code = this.#ports.send(this.#socket, `${message}\n`);
    if (code === 'EAGAIN' || code === 'ENOBUFS') return false;
    if (code !== undefined && !this.#warned) {
      this.#warned = true;
      this.#ports.warn(`the service manager can't be told at ${this.#socket}: ${code}`);
    }
    return true;
  }
}
