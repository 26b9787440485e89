/** A real witness for tests: one process, started and killed at will, watched through its API. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask } from './http-ask.ts';
import { pollUntil } from './poll.ts';

const commandPath = fileURLToPath(new URL('../../daemon/cli/casemate.cjs', import.meta.url));

export interface TestWitnessOptions {
  readonly directory: string;
  readonly name: string;
  readonly port: number;
  readonly apiPort: number;
  /** Its pairs; the cluster "test" of `TestPair` if absent. */
  readonly clusters?: Readonly<Record<string, readonly [string, string]>>;
  /** Lines of the table `tls`. */
  readonly tls?: readonly string[] | undefined;
}

export class TestWitness {
  readonly name: string;
  readonly port: number;
  readonly apiUrl: string;
  readonly configPath: string;
  readonly dataDirectory: string;
  readonly logPath: string;
  #process: ChildProcess | undefined;
  #exited: Promise<number | string> = Promise.resolve(0);

  constructor(options: TestWitnessOptions) {
    const { name, port, apiPort, clusters = { test: ['lux-1', 'lux-2'] } } = options;
    const directory = join(options.directory, name);
    this.name = name;
    this.port = port;
    this.apiUrl = `http://127.0.0.1:${apiPort}`;
    this.dataDirectory = join(directory, 'data');
    this.configPath = join(directory, 'witness.toml');
    this.logPath = join(directory, 'witness.log');
    mkdirSync(directory, { recursive: true });
    const tables = Object.entries(clusters).map(
      ([cluster, sites]) => `[clusters.${cluster}]\nsites = ${JSON.stringify(sites)}\n`,
    );
    writeFileSync(
      this.configPath,
      `name = "${name}"\ndataDirectory = "${this.dataDirectory}"\n` +
        `listen = "127.0.0.1:${port}"\n\n${tables.join('\n')}\n` +
        `${options.tls === undefined ? '' : `[tls]\n${options.tls.join('\n')}\n`}` +
        `[api]\nlisten = "127.0.0.1:${apiPort}"\n`,
    );
  }

  /** What both sites have to have in their configuration. */
  /** What a site needs to name it, reached at a port that may be a proxy's. */
  siteTables(port = this.port): Record<string, readonly string[]> {
    return { witness: [`name = "${this.name}"`, `address = "127.0.0.1:${port}"`] };
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** Starts it and waits until its API answers. */
  async start(): Promise<void> {
    const output = openSync(this.logPath, 'a');
    const parameters = [commandPath, 'witness', '--config', this.configPath];
    const child = spawn(process.execPath, parameters, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#process = child;
    let ended: number | string | undefined;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        ended = signal ?? code ?? 0;
        resolve(ended);
      });
    });
    await pollUntil(`${this.name} answers`, async () => {
      if (ended !== undefined) {
        const log = readFileSync(this.logPath, 'utf8').slice(-4000);
        throw new Error(`${this.name} ended (${ended}):\n${log}`);
      }
      const socketPath = join(this.dataDirectory, 'api.sock');
      return await ask({ url: 'http://localhost/readyz', socketPath, timeout: 5000 }).then(
        ({ status }) => status === 200,
        () => false,
      );
    });
  }

  /** Sends a signal; for SIGKILL and SIGTERM waits until the process has gone. */
  async signal(
    signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT' | 'SIGHUP',
  ): Promise<number | string> {
    process.kill(this.pid, signal);
    if (signal !== 'SIGKILL' && signal !== 'SIGTERM') return 0;
    const how = await this.#exited;
    this.#process = undefined;
    return how;
  }

  /** Ends it if it runs, however it is. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#process = undefined;
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const deadline = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await this.#exited;
    clearTimeout(deadline);
  }
}
