/**
 * A Unix datagram socket that keeps what is sent to it, as systemd's for notifications: socat, as
 * Node.js has none. Each message ends with a line feed; what was heard is a list of its lines.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { pollUntil } from './poll.ts';

export class DatagramReceiver {
  readonly path: string;
  readonly lines: string[] = [];
  readonly #child: ChildProcess;

  private constructor(path: string) {
    this.path = path;
    const kind = path.startsWith('@') ? 'ABSTRACT-RECV' : 'UNIX-RECV';
    const address = `${kind}:${path.replace(/^@/, '')}`;
    const child = spawn('socat', ['-u', address, 'STDOUT'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    this.#child = child;
  }

  /** Starts to receive; ends with the test. */
  static async open(t: Test, path: string): Promise<DatagramReceiver> {
    const receiver = new DatagramReceiver(path);
    const ended = new Promise((resolve) => receiver.#child.once('exit', resolve));
    t.teardown(async () => {
      receiver.#child.kill();
      await ended;
    });
    // Every Unix socket of the machine is in this list, with its path.
    await pollUntil(`socat receives at ${path}`, () =>
      readFileSync('/proc/net/unix', 'utf8')
        .split('\n')
        .some((line) => line.endsWith(` ${path}`)),
    );
    return receiver;
  }

  /** Waits until a line has been heard, from the place `after` in the list; gives its place. */
  async heard(pattern: RegExp, after = 0): Promise<number> {
    const place = (): number => this.lines.findIndex((it, at) => at >= after && pattern.test(it));
    await pollUntil(`${pattern} is heard; so far: ${this.lines.slice(-20).join(' | ')}`, () => {
      return place() >= 0;
    });
    return place();
  }
}
