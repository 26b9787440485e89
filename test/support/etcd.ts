/**
 * Real etcd members for tests: Debian's `etcd` on loopback, with data in a directory of the test,
 * started, killed and started again at will.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemHttp } from '../../daemon/system-http.ts';
import { freePorts } from './pair.ts';
import { pollUntil } from './poll.ts';

export interface EtcdOptions {
  readonly directory: string;
  /** Members of the cluster. */
  readonly count?: number;
  /** PEM files; then members serve TLS and want a certificate of this authority from clients. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

interface EtcdMember {
  readonly name: string;
  readonly url: string;
  readonly parameters: readonly string[];
  child: ChildProcess | undefined;
}

export class EtcdCluster {
  readonly #members: readonly EtcdMember[];
  readonly #options: EtcdOptions;

  private constructor(options: EtcdOptions, members: readonly EtcdMember[]) {
    this.#options = options;
    this.#members = members;
  }

  /** Starts all members; they are ended when the test is done. */
  static async start(
    t: { teardown(callback: () => void): void },
    options: EtcdOptions,
  ): Promise<EtcdCluster> {
    const { directory, count = 1, tls } = options;
    const ports = await freePorts(2 * count);
    const names = Array.from({ length: count }, (_, index) => `member${index + 1}`);
    const peerUrl = (index: number): string => `http://127.0.0.1:${ports[count + index]}`;
    const all = names.map((name, index) => `${name}=${peerUrl(index)}`).join(',');
    const security =
      tls === undefined
        ? []
        : ['--cert-file', tls.cert, '--key-file', tls.key, '--trusted-ca-file', tls.ca];
    const members = names.map((name, index): EtcdMember => {
      const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${ports[index]}`;
      const own = ['--name', name, '--data-dir', join(directory, name)];
      const clients = ['--listen-client-urls', url, '--advertise-client-urls', url];
      const peers = ['--listen-peer-urls', peerUrl(index)];
      const cluster = ['--initial-advertise-peer-urls', peerUrl(index), '--initial-cluster', all];
      const wants = tls === undefined ? [] : ['--client-cert-auth'];
      const parameters = [...own, ...clients, ...peers, ...cluster, ...security, ...wants];
      return { name, url, parameters, child: undefined };
    });
    const etcd = new EtcdCluster(options, members);
    t.teardown(() => etcd.stop());
    for (const name of names) etcd.startMember(name);
    await etcd.answers();
    return etcd;
  }

  get endpoints(): readonly string[] {
    return this.#members.map(({ url }) => url);
  }

  get names(): readonly string[] {
    return this.#members.map(({ name }) => name);
  }

  startMember(name: string): void {
    const member = this.#member(name);
    const output = openSync(this.#logPath(name), 'a');
    member.child = spawn('etcd', [...member.parameters], { stdio: ['ignore', output, output] });
    closeSync(output);
  }

  /** Ends a member as a power cut would; resolves when it is gone. */
  async kill(name: string): Promise<void> {
    const { child } = this.#member(name);
    if (child === undefined) throw new Error(`${name} does not run`);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    this.#member(name).child = undefined;
  }

  /** Resolves when the cluster answers a linearizable read at every member that runs. */
  async answers(): Promise<void> {
    const identity = this.#identity();
    const http = new SystemHttp(identity);
    try {
      for (const { name, url, child } of this.#members) {
        if (child === undefined) continue;
        const request = { url: `${url}/v3/kv/range`, headers: {}, body: '{"key":"YQ=="}' };
        await pollUntil(`etcd ${name} answers`, async () => {
          if (child.exitCode !== null) throw new Error(`etcd ended:\n${this.#log(name)}`);
          try {
            return (await http.post({ ...request, timeoutMs: 2000 })).status === 200;
          } catch {
            return false;
          }
        });
      }
    } finally {
      http.close();
    }
  }

  /** Asks the first member; throws unless it does what is asked. */
  async post(path: string, body: object): Promise<void> {
    const http = new SystemHttp(this.#identity());
    try {
      const url = `${this.endpoints[0]}${path}`;
      const request = { url, headers: {}, body: JSON.stringify(body), timeoutMs: 10_000 };
      const answer = await http.post(request);
      if (answer.status !== 200) throw new Error(`${path}: ${answer.body}`);
    } finally {
      http.close();
    }
  }

  stop(): void {
    for (const { child } of this.#members) child?.kill('SIGKILL');
  }

  #identity(): { ca?: string; cert?: string; key?: string } {
    const { tls } = this.#options;
    if (tls === undefined) return {};
    const [ca, cert, key] = [tls.ca, tls.cert, tls.key].map((path) => readFileSync(path, 'utf8'));
    return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  }

  #member(name: string): EtcdMember {
    const found = this.#members.find((member) => member.name === name);
    if (found === undefined) throw new Error(`there is no member ${name}`);
    return found;
  }

  #logPath(name: string): string {
    return join(this.#options.directory, `${name}.log`);
  }

  #log(name: string): string {
    return readFileSync(this.#logPath(name), 'utf8').slice(-4000);
  }
}
