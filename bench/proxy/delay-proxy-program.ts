/**
 * A program of its own that stands between the sites and lets every byte take a while:
 * `delay-proxy-program.js LISTEN-PORT=TARGET-PORT …`, all on loopback. It starts without delay;
 * each line of standard input is a new one-way delay in milliseconds, answered by a line. It ends
 * when its standard input does.
 */
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { DelayLine } from './delay-line.ts';
import { preciseWakeUps, Sleeper } from './sleeper.ts';

/** 16 ms of 4 GiB/s: more than a connection moves over any distance that is simulated here. */
const lineBytesMax = 64 * 2 ** 20;
const host = '127.0.0.1';

let delayMs = 0;

/** One direction of a connection. */
class Direction {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #line = new DelayLine(lineBytesMax);
  #ending = false;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => {
      this.#line.push(chunk, performance.now(), delayMs);
      if (this.#line.full) from.pause();
      this.deliver();
    });
    from.once('end', () => {
      this.#ending = true;
      this.deliver();
    });
    to.on('drain', () => this.deliver());
  }

  /** Passes on what is due, and has the sleeper come back for the rest. */
  deliver(): void {
    if (!this.#to.writableNeedDrain) this.#pass();
    if (this.#from.isPaused() && !this.#line.full) this.#from.resume();
    const dueMs = this.#line.nextDueMs;
    if (dueMs === undefined) {
      if (this.#ending && !this.#to.writableEnded) this.#to.end();
    } else if (!this.#to.writableNeedDrain) {
      sleeper.sleep(dueMs - performance.now());
    }
  }

  #pass(): void {
    const arrived = this.#line.take(performance.now());
    if (arrived.length === 0) return;
    this.#to.cork();
    for (const chunk of arrived) this.#to.write(chunk);
    this.#to.uncork();
  }
}

const directions = new Set<Direction>();
const sleeper = new Sleeper(() => {
  for (const direction of directions) direction.deliver();
});

function join(client: Socket, targetPort: number): void {
  const server = connect({ port: targetPort, host, noDelay: true, allowHalfOpen: true });
  const both = [new Direction(client, server), new Direction(server, client)] as const;
  for (const direction of both) directions.add(direction);
  const part = (): void => {
    client.destroy();
    server.destroy();
    for (const direction of both) directions.delete(direction);
  };
  for (const socket of [client, server]) {
    socket.on('error', part);
    socket.once('close', part);
  }
}

preciseWakeUps();
for (const route of process.argv.slice(2)) {
  const [listenPort, targetPort] = route.split('=').map(Number);
  if (listenPort === undefined || targetPort === undefined) throw new Error(`no route: ${route}`);
  createServer({ noDelay: true, allowHalfOpen: true }, (client) => join(client, targetPort)).listen(
    listenPort,
    host,
  );
}
createInterface({ input: process.stdin })
  .on('line', (line) => {
    delayMs = Number(line);
    process.stdout.write(`delay ${line}\n`);
  })
  .once('close', () => process.exit(0));
