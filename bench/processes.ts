/**
 * Server processes of the suite: started, watched through /proc, and ended by the process id that
 * was started and no other. What they print is kept (its end) for error messages.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { pollUntil } from '../test/support/poll.ts';

/** Of what a server prints, so much is kept. */
const outputCharactersMax = 16_384;
const stopMs = 10_000;
/** USER_HZ of Linux: /proc counts CPU time in hundredths of a second on every architecture. */
const clockTicksPerSecond = 100;

/** True if a command of this name is on the PATH (or in the places of system programs). */
export function hasCommand(name: string): boolean {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return places.some((place) => {
    try {
      accessSync(join(place, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export class ServerProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #output = '';
  #running = true;

  /** Starts the command; its standard input stays open (`send`). */
  constructor(command: string, parameters: readonly string[]) {
    this.#name = command;
    const child = spawn(command, parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => this.#ended(error.message, resolve));
      child.once('exit', (code, signal) => this.#ended(`exit ${signal ?? code}`, resolve));
    });
    const keep = (text: string): void => {
      this.#output = (this.#output + text).slice(-outputCharactersMax);
    };
    child.stdout?.setEncoding('utf8').on('data', keep);
    child.stderr?.setEncoding('utf8').on('data', keep);
    child.stdin?.on('error', () => {
      // The server may end while it is spoken to; `check` tells how.
    });
  }

  #ended(how: string, resolve: () => void): void {
    this.#running = false;
    this.#output += `\n(${how})`;
    resolve();
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} does not run: ${this.#output}`);
    return pid;
  }

  send(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Throws, with what the server printed, once it has ended. */
  check(): void {
    if (!this.#running) throw new Error(`${this.#name} has ended: ${this.#output}`);
  }

  /** Waits until something accepts connections at the address. */
  async listens(address: { path: string } | { port: number; host: string }): Promise<void> {
    await pollUntil(`${this.#name} accepts connections`, () => {
      this.check();
      return accepts(address);
    });
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#child.kill('SIGTERM');
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), stopMs);
    await this.#exited;
    clearTimeout(deadline);
  }
}

function accepts(address: { path: string } | { port: number; host: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Ends servers in the order given: clients of others first. */
export async function stopAll(servers: readonly ServerProcess[]): Promise<void> {
  for (const server of servers) await server.stop();
}

/** CPU time, user and system, that the processes have used so far, in seconds. */
export function cpuSeconds(processIds: readonly number[]): number {
  let ticks = 0;
  for (const pid of processIds) {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command's name in brackets and may hold anything; 14 and 15 are
    // utime and stime (proc(5)).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / clockTicksPerSecond;
}

/** Resident memory of a process now and its largest so far, in MiB. */
export function memoryMiB(pid: number): { nowMiB: number; peakMiB: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kibibytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  return { nowMiB: kibibytes('VmRSS') / 1024, peakMiB: kibibytes('VmHWM') / 1024 };
}
