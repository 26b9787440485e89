/**
 * `casemate demo`: two sites as two real daemon processes on loopback, with one volume, to look at
 * and to break. What it starts is what `casemate run` starts; only the configuration is made here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { formatSize } from '../config/sizes.ts';
import { CasemateError } from '../errors.ts';
import type { SiteStatus } from '../site-status.ts';

const volumeName = 'demo';
const volumeSizeBytes = 1024 * 1024 * 1024;
const statusLineMs = 1000;
const startMsMax = 60_000;
/** How long a site that was killed stays away. */
const reviveMs = 15_000;

interface DemoSite {
  readonly name: string;
  readonly directory: string;
  readonly apiUrl: string;
  readonly socketPath: string;
  readonly nbdAddress: string;
  readonly configPath: string;
  readonly logPath: string;
}

export interface DemoOptions {
  /** Where the two sites' data is kept; made if it is missing. */
  readonly directory: string;
  /** Path of the `casemate` command, which is run once for each site. */
  readonly commandPath: string;
  readonly write: (text: string) => void;
}

/** Runs the demonstration until Ctrl-C; resolves when both sites have stopped. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { write } = options;
  const [first, second] = prepare(resolve(options.directory));
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
  const processes = [first, second].map((site) => new DemoProcess(options.commandPath, site));
  try {
    write(`Starting ${first.name} and ${second.name}; their data is in ${options.directory}\n`);
    await ready(first, processes, stop.signal);
    await ready(second, processes, stop.signal);
    await makeVolume(first, stop.signal);
    write(usage(first, second));
    await watch(processes, stop.signal, write);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    write('\nStopping both sites …\n');
    await Promise.all(processes.map((each) => each.stop()));
    write('Stopped. Start again to go on where you left off.\n');
  }
}

function prepare(directory: string): [DemoSite, DemoSite] {
  const names = ['lux-1', 'lux-2'] as const;
  const sites = names.map((name, index) => {
    const own = join(directory, name);
    mkdirSync(own, { recursive: true });
    const site: DemoSite = {
      name,
      directory: own,
      apiUrl: `http://127.0.0.1:${9617 + index}`,
      socketPath: join(own, 'nbd.sock'),
      nbdAddress: `127.0.0.1:${10809 + index}`,
      configPath: join(own, 'casemate.toml'),
      logPath: join(own, 'daemon.log'),
    };
    const peer = names[1 - index] ?? names[0];
    if (!existsSync(site.configPath)) {
      writeFileSync(site.configPath, configuration(site, peer, index));
    }
    return site;
  });
  const [first, second] = sites;
  if (first === undefined || second === undefined) throw new Error('there are two sites');
  return [first, second];
}

function configuration(site: DemoSite, peer: string, index: number): string {
  return `# Written by \`casemate demo\`; edit it as you like, it is not written again.
cluster = "demo"
site = "${site.name}"
dataDirectory = "${site.directory}"

[peer]
site = "${peer}"
address = "127.0.0.1:${9627 + (1 - index)}"

[replication]
listen = "127.0.0.1:${9627 + index}"

[log]
sizeBytes = "1GiB"

[nbd]
unix = "${site.socketPath}"
listen = "${site.nbdAddress}"

[api]
listen = "${site.apiUrl.slice('http://'.length)}"
`;
}

/** One site's daemon. When it is killed, which is what a demonstration is for, it comes back. */
class DemoProcess {
  readonly #commandPath: string;
  readonly site: DemoSite;
  #child: ChildProcess;
  #endedAtMs: number | undefined;

  constructor(commandPath: string, site: DemoSite) {
    this.#commandPath = commandPath;
    this.site = site;
    this.#child = this.#start();
  }

  /** True if it does not run; whether it was killed or ended by itself makes no difference yet. */
  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** It ended by itself, with an error: its log says why, and another start would not help. */
  get failed(): boolean {
    return this.#child.exitCode !== null && this.#child.exitCode !== 0;
  }

  /** Starts it again some time after it was killed. Gives the seconds until then, 0 if it runs. */
  revive(): number {
    if (!this.ended) {
      this.#endedAtMs = undefined;
      return 0;
    }
    this.#endedAtMs ??= performance.now();
    const waitMs = reviveMs - (performance.now() - this.#endedAtMs);
    if (waitMs > 0) return Math.ceil(waitMs / 1000);
    this.#child = this.#start();
    return 0;
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await exited;
  }

  #start(): ChildProcess {
    const { configPath, logPath } = this.site;
    const log = openSync(logPath, 'a');
    // A process group of its own: Ctrl-C comes to this process alone, which stops both in order.
    const child = spawn(process.execPath, [this.#commandPath, 'run', '--config', configPath], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    return child;
  }
}

function assertRunning(processes: readonly DemoProcess[]): void {
  const failed = processes.find((each) => each.failed);
  if (failed === undefined) return;
  throw new CasemateError('ERR_DEMO_SITE_ENDED', `${failed.site.name} has ended by itself`, {
    hint: `${failed.site.logPath} says why.`,
  });
}

async function fetchStatus(site: DemoSite): Promise<SiteStatus | undefined> {
  try {
    const answer = await fetch(`${site.apiUrl}/v1/status`);
    if (!answer.ok) return undefined;
    // The answer of our own daemon, of the same build as this process.
    return (await answer.json()) as SiteStatus;
  } catch {
    return undefined;
  }
}

async function ready(
  site: DemoSite,
  processes: readonly DemoProcess[],
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + startMsMax;
  while ((await fetchStatus(site))?.peer.connected !== true) {
    assertRunning(processes);
    if (performance.now() > deadline) {
      throw new CasemateError('ERR_DEMO_START', `${site.name} did not come up in time`, {
        hint: `${site.logPath} says why.`,
      });
    }
    await delay(100, undefined, { signal });
  }
}

async function makeVolume(site: DemoSite, signal: AbortSignal): Promise<void> {
  const status = await fetchStatus(site);
  const volumes = status?.groups.flatMap((group) => group.volumes) ?? [];
  if (volumes.some(({ name }) => name === volumeName)) return;
  const answer = await fetch(`${site.apiUrl}/v1/volumes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: volumeName, sizeBytes: volumeSizeBytes }),
    signal,
  });
  if (answer.ok) return;
  throw new CasemateError('ERR_DEMO_VOLUME', `no volume: ${await answer.text()}`);
}

function usage(first: DemoSite, second: DemoSite): string {
  const unix = `nbd+unix:///${volumeName}?socket=${first.socketPath}`;
  const tcp = `nbd://${second.nbdAddress}/${volumeName}`;
  return `
Volume "${volumeName}" (${formatSize(volumeSizeBytes)}) is on both sites. Either site serves it:

  nbdinfo '${unix}'
  qemu-io -f raw -c 'write -P 7 0 1M' -c 'read -P 7 0 1M' '${unix}'
  qemu-io -f raw -c 'read -P 7 0 1M' '${tcp}'
  curl -s ${first.apiUrl}/metrics | grep casemate_
  npx casemate status --api ${first.apiUrl}
  npx casemate switchover ${volumeName} --api ${first.apiUrl}

Ctrl-C stops both sites; the data stays.

`;
}

async function watch(
  processes: readonly DemoProcess[],
  signal: AbortSignal,
  write: (text: string) => void,
): Promise<void> {
  let before: { readonly writes: number; readonly atMs: number } | undefined;
  while (!signal.aborted) {
    assertRunning(processes);
    const waits = processes.map((each) => each.revive());
    const statuses = await Promise.all(processes.map(({ site }) => fetchStatus(site)));
    const words = statuses.map((status, index) =>
      siteWords(processes[index]?.site.name ?? '', status, waits[index] ?? 0),
    );
    const writes = statuses[0]?.groups.reduce((sum, group) => sum + group.commit, 0) ?? 0;
    const atMs = performance.now();
    const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1000;
    const rate = before === undefined ? 0 : Math.round((writes - before.writes) / seconds);
    before = { writes, atMs };
    const line = `${words.join('   ')}   ${rate} writes/s`;
    write(process.stdout.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
    await delay(process.stdout.isTTY ? statusLineMs : statusLineMs * 10, undefined, { signal });
  }
}

function siteWords(name: string, status: SiteStatus | undefined, waitSeconds: number): string {
  if (waitSeconds > 0) return `${name}: was killed; started again in ${waitSeconds} s`;
  if (status === undefined) return `${name}: does not answer`;
  const [group] = status.groups;
  if (group === undefined) return `${name}: no volume`;
  const copies = group.inSync ? 'in sync' : group.peer.text;
  const state = group.serves ? `${group.role}, ${copies}` : (group.wait?.text ?? 'waits');
  return `${name}: ${state}`;
}
