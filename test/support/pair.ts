/**
 * A real pair for tests: two daemon processes on loopback with data in a directory of the test,
 * started, killed and restarted at will, and watched through their HTTP API. Nothing is mocked.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GroupStatus, SiteStatus } from '../../daemon/site-status.ts';
import { ask } from './http-ask.ts';
import { pollUntil } from './poll.ts';
import { run } from './run-command.ts';
import { TestWitness } from './witness.ts';

const commandPath = fileURLToPath(new URL('../../daemon/cli/casemate.cjs', import.meta.url));

export interface SiteOptions {
  readonly name: string;
  readonly directory: string;
  readonly replicationPort: number;
  readonly apiPort: number;
  readonly nbdPort: number;
  readonly peer: { readonly name: string; readonly port: number };
  /** More lines of TOML by table, such as {log: ['sizeBytes = "256MiB"']}. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
}

/** One daemon process and what a test does to it. */
export class TestSite {
  readonly name: string;
  readonly directory: string;
  readonly dataDirectory: string;
  readonly configPath: string;
  readonly apiUrl: string;
  readonly socketPath: string;
  readonly nbdPort: number;
  readonly #options: SiteOptions;
  #process: ChildProcess | undefined;
  #exited: Promise<number | string> = Promise.resolve(0);

  constructor(options: SiteOptions) {
    this.name = options.name;
    this.directory = join(options.directory, options.name);
    this.dataDirectory = join(this.directory, 'data');
    this.configPath = join(this.directory, 'casemate.toml');
    this.apiUrl = `http://127.0.0.1:${options.apiPort}`;
    this.socketPath = join(this.directory, 'nbd.sock');
    this.nbdPort = options.nbdPort;
    this.#options = options;
    mkdirSync(this.directory, { recursive: true });
    this.configure(options.tables);
  }

  /** Writes the configuration anew, with these tables besides those that every site has. */
  configure(tables: SiteOptions['tables']): void {
    writeFileSync(this.configPath, this.#configuration({ ...this.#options, tables }));
  }

  /** The export as a client is given it. */
  unixUri(volume: string): string {
    return `nbd+unix:///${volume}?socket=${this.socketPath}`;
  }

  tcpUri(volume: string): string {
    return `nbd://127.0.0.1:${this.nbdPort}/${volume}`;
  }

  get logPath(): string {
    return join(this.directory, 'daemon.log');
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** Starts the daemon and waits until its API answers. */
  async start(): Promise<void> {
    const output = openSync(this.logPath, 'a');
    const child = spawn(process.execPath, [commandPath, 'run', '--config', this.configPath], {
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    this.#process = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? code ?? 0));
    });
    let ended: number | string | undefined;
    void this.#exited.then((how) => {
      ended = how;
    });
    await pollUntil(`${this.name} answers`, async () => {
      if (ended !== undefined) {
        throw new Error(`${this.name} ended (${ended}):\n${this.log().slice(-4000)}`);
      }
      return (await this.tryStatus()) !== undefined;
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

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Ends the daemon if it runs, however it is. */
  async stop(): Promise<void> {
    if (this.#process === undefined) return;
    const child = this.#process;
    this.#process = undefined;
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await this.#exited;
    clearTimeout(deadline);
  }

  log(): string {
    try {
      return readFileSync(this.logPath, 'utf8');
    } catch {
      return '';
    }
  }

  /** At the Unix socket, which asks for no token. */
  async tryStatus(): Promise<SiteStatus | undefined> {
    const socketPath = join(this.dataDirectory, 'api.sock');
    try {
      const url = 'http://localhost/v1/status';
      const { status, text } = await ask({ url, socketPath, timeout: 5000 });
      return status === 200 ? (JSON.parse(text) as SiteStatus) : undefined;
    } catch {
      return undefined;
    }
  }

  async status(): Promise<SiteStatus> {
    const status = await this.tryStatus();
    if (status === undefined) throw new Error(`${this.name} does not answer`);
    return status;
  }

  async group(volume: string): Promise<GroupStatus> {
    const status = await this.status();
    const group = status.groups.find((each) => each.volumes.some(({ name }) => name === volume));
    if (group === undefined) throw new Error(`${this.name} has no volume ${volume}`);
    return group;
  }

  /** Waits until the volume's group is as the test wants it; the state is in the error if not. */
  async until(
    volume: string,
    what: string,
    condition: (group: GroupStatus) => boolean,
  ): Promise<GroupStatus> {
    let last: GroupStatus | undefined;
    try {
      await pollUntil(`${this.name}: ${volume} ${what}`, async () => {
        const status = await this.tryStatus();
        last = status?.groups.find((each) => each.volumes.some(({ name }) => name === volume));
        return last !== undefined && condition(last);
      });
    } catch (cause) {
      throw new Error(
        `${this.name}: ${volume} never ${what}\n${JSON.stringify(last, null, 2)}\n` +
          this.log().slice(-6000),
        { cause },
      );
    }
    if (last === undefined) throw new Error('no state seen');
    return last;
  }

  /** Runs `casemate …` against this site; gives its standard output, throws on failure. */
  async cli(...parameters: string[]): Promise<string> {
    const result = await this.tryCli(...parameters);
    if (result.code !== 0) {
      throw new Error(`casemate ${parameters.join(' ')}: ${result.stderr}${result.stdout}`);
    }
    return result.stdout;
  }

  tryCli(...parameters: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return run(process.execPath, [commandPath, ...parameters, '--config', this.configPath]);
  }

  #configuration(options: SiteOptions): string {
    const tables: Record<string, string[]> = {
      peer: [`site = "${options.peer.name}"`, `address = "127.0.0.1:${options.peer.port}"`],
      replication: [`listen = "127.0.0.1:${options.replicationPort}"`],
      nbd: [`unix = "${this.socketPath}"`, `listen = "127.0.0.1:${options.nbdPort}"`],
      api: [`listen = "127.0.0.1:${options.apiPort}"`],
      log: ['sizeBytes = "256MiB"', 'segmentBytes = "16MiB"', 'checkpointBytes = "64MiB"'],
    };
    for (const [table, lines] of Object.entries(options.tables)) {
      const names = lines.map((line) => line.split('=')[0]?.trim());
      const kept = (tables[table] ?? []).filter(
        (line) => !names.includes(line.split('=')[0]?.trim()),
      );
      tables[table] = [...kept, ...lines];
    }
    const head = [
      'cluster = "test"',
      `site = "${options.name}"`,
      `dataDirectory = "${this.dataDirectory}"`,
    ];
    const body = Object.entries(tables).map(
      ([table, lines]) => `[${table}]\n${lines.join('\n')}\n`,
    );
    return `${head.join('\n')}\n\n${body.join('\n')}`;
  }
}

export interface PairOptions {
  readonly directory: string;
  readonly tables?: Readonly<Record<string, readonly string[]>>;
  /** Runs a witness as well, which both sites name. */
  readonly witness?: boolean;
  /** Lines of the table `tls`, by the name of who has it. */
  readonly tls?: (name: string) => readonly string[];
  /** Port that each site dials instead of its peer's own: a proxy's. */
  readonly via?: { readonly a?: number; readonly b?: number };
  /** Likewise instead of the witness's. */
  readonly witnessVia?: { readonly a: number; readonly b: number };
}

/** Two sites, `lux-1` and `lux-2`. */
export class TestPair {
  readonly a: TestSite;
  readonly b: TestSite;
  readonly #witness: TestWitness | undefined;
  readonly ports: { readonly a: number; readonly b: number };

  private constructor(
    a: TestSite,
    b: TestSite,
    ports: { a: number; b: number },
    witness: TestWitness | undefined,
  ) {
    this.a = a;
    this.b = b;
    this.ports = ports;
    this.#witness = witness;
  }

  get witness(): TestWitness {
    if (this.#witness === undefined) throw new Error('this pair has no witness');
    return this.#witness;
  }

  /** Writes both configurations; starts nothing yet. */
  static async make(options: PairOptions): Promise<TestPair> {
    const ports = await freePorts(8);
    const [replicationA, replicationB, apiA, apiB, nbdA, nbdB, witnessPort, witnessApi] = ports;
    if (
      replicationA === undefined ||
      replicationB === undefined ||
      apiA === undefined ||
      apiB === undefined ||
      nbdA === undefined ||
      nbdB === undefined ||
      witnessPort === undefined ||
      witnessApi === undefined
    ) {
      throw new Error('no free ports');
    }
    const witness =
      options.witness === true
        ? new TestWitness({
            directory: options.directory,
            name: 'lux-w',
            port: witnessPort,
            apiPort: witnessApi,
            tls: options.tls?.('lux-w'),
          })
        : undefined;
    const tables = (name: string, via?: number): Record<string, readonly string[]> => ({
      ...witness?.siteTables(via),
      ...(options.tls === undefined ? {} : { tls: options.tls(name) }),
      ...options.tables,
    });
    const a = new TestSite({
      name: 'lux-1',
      directory: options.directory,
      replicationPort: replicationA,
      apiPort: apiA,
      nbdPort: nbdA,
      peer: { name: 'lux-2', port: options.via?.a ?? replicationB },
      tables: tables('lux-1', options.witnessVia?.a),
    });
    const b = new TestSite({
      name: 'lux-2',
      directory: options.directory,
      replicationPort: replicationB,
      apiPort: apiB,
      nbdPort: nbdB,
      peer: { name: 'lux-1', port: options.via?.b ?? replicationA },
      tables: tables('lux-2', options.witnessVia?.b),
    });
    return new TestPair(a, b, { a: replicationA, b: replicationB }, witness);
  }

  /** Both daemons run and see each other, and their witness if they have one. */
  async start(): Promise<void> {
    await Promise.all([this.#witness?.start(), this.a.start(), this.b.start()]);
    await this.connected();
  }

  async connected(): Promise<void> {
    for (const site of [this.a, this.b]) {
      await pollUntil(`${site.name} is connected to its peer`, async () => {
        return (await site.tryStatus())?.peer.connected === true;
      });
      if (this.#witness === undefined) continue;
      await pollUntil(`${site.name} is connected to its witness`, async () => {
        return (await site.tryStatus())?.witness?.connected === true;
      });
    }
  }

  /** In sync, and the witness votes on it. */
  async guarded(volume: string): Promise<void> {
    await this.inSync(volume);
    for (const site of [this.a, this.b]) {
      await site.until(volume, 'has three voters', ({ voters }) => voters.length === 3);
    }
  }

  async inSync(volume: string): Promise<void> {
    const inSync = (group: GroupStatus): boolean =>
      group.serves && group.inSync && group.inSyncSites.length === 2;
    for (const site of [this.a, this.b]) await site.until(volume, 'is in sync', inSync);
  }

  /** In sync, and both data files have every record: what is compared at rest is the same. */
  async settled(volume: string): Promise<void> {
    await this.inSync(volume);
    const { end } = await this.a.group(volume);
    for (const site of [this.a, this.b]) {
      await site.until(volume, `has applied record ${end.sequence}`, (group) => {
        return group.applied >= end.sequence && group.applied === group.end.sequence;
      });
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.a.stop(), this.b.stop(), this.#witness?.stop()]);
  }
}

/**
 * Below the ports that the system gives to outgoing connections, so none is taken meanwhile; and
 * each of the files that `test/run-tests.ts` runs at the same time has ports of its own, since
 * those of a site that was killed are free until it is started again.
 */
const portRange = { first: 20_000 + 6000 * Number(process.env['TEST_LANE'] ?? 0), count: 6000 };

/** Ports of loopback that nothing listens on. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = portRange.first + Math.floor(Math.random() * portRange.count);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
