/**
 * `casemate demo`: two sites and a witness as three real processes on loopback, with one volume, to
 * look at and to break. What it starts is what `casemate run` and `casemate witness` start; only
 * their configuration is made here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { formatSize } from '../config/sizes.ts';
import { CasemateError } from '../errors.ts';
import type { SiteStatus } from '../site-status.ts';

const volumeName = 'demo';
const volumeSizeBytes = 1024 * 1024 * 1024;
const statusLineMs = 1000;
const startMsMax = 60_000;
/** How long a process that was killed stays away. */
const reviveMs = 15_000;

/** One of the three: what is run, and where it writes. */
interface DemoPart {
  readonly name: string;
  readonly command: 'run' | 'witness';
  readonly configPath: string;
  readonly logPath: string;
}

interface DemoSite extends DemoPart {
  readonly apiUrl: string;
  readonly socketPath: string;
  readonly nbdAddress: string;
}

export interface DemoOptions {
  /** Where the data of all three is kept; made if it is missing. */
  readonly directory: string;
  /** Path of the `casemate` command, which is run once for each of the three. */
  readonly commandPath: string;
  readonly write: (text: string) => void;
}

/** Runs the demonstration until Ctrl-C; resolves when all three processes have stopped. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { write } = options;
  const directory = resolve(options.directory);
  const [first, second] = prepareSites(directory);
  const witness = prepareWitness(directory);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  const start = <Part extends DemoPart>(part: Part) => new DemoProcess(options.commandPath, part);
  const sites = [start(first), start(second)];
  const processes = [...sites, start(witness)];
  try {
    write(
      `Starting ${first.name}, ${second.name} and the witness ${witness.name}; ` +
        `their data is in ${options.directory}\n`,
    );
    await ready(first, processes, stop.signal);
    await ready(second, processes, stop.signal);
    await makeVolume(first, stop.signal);
    write(usage(first, second));
    await watch(sites, processes, stop.signal, write);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    write('\nStopping all three …\n');
    await Promise.all(processes.map((each) => each.stop()));
    write('Stopped. Start again to go on where you left off.\n');
  }
}

const siteNames = ['lux-1', 'lux-2'] as const;
const witnessName = 'lux-w';
const witnessPort = 9629;
const witnessApi = '127.0.0.1:9619';

function prepareSites(directory: string): [DemoSite, DemoSite] {
  const names = siteNames;
  const sites = names.map((name, index) => {
    const own = join(directory, name);
    mkdirSync(own, { recursive: true });
    const site: DemoSite = {
      name,
      command: 'run',
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

function prepareWitness(directory: string): DemoPart {
  const own = join(directory, witnessName);
  mkdirSync(own, { recursive: true });
  const configPath = join(own, 'witness.toml');
  if (!existsSync(configPath)) writeFileSync(configPath, witnessConfiguration(own));
  return { name: witnessName, command: 'witness', configPath, logPath: join(own, 'witness.log') };
}

function witnessConfiguration(directory: string): string {
  return `# Written by \`casemate demo\`; edit it as you like, it is not written again.
name = "${witnessName}"
dataDirectory = "${directory}"
listen = "127.0.0.1:${witnessPort}"

[clusters.demo]
sites = ["${siteNames.join('", "')}"]

[api]
listen = "${witnessApi}"
`;
}

function configuration(site: DemoSite, peer: string, index: number): string {
  return `# Written by \`casemate demo\`; edit it as you like, it is not written again.
cluster = "demo"
site = "${site.name}"
dataDirectory = "${dirname(site.configPath)}"

[peer]
site = "${peer}"
address = "127.0.0.1:${9627 + (1 - index)}"

[witness]
name = "${witnessName}"
address = "127.0.0.1:${witnessPort}"

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

/** One process. When it is killed, which is what a demonstration is for, it comes back. */
class DemoProcess<Part extends DemoPart> {
  readonly #commandPath: string;
  readonly part: Part;
  #child: ChildProcess;
  #endedAtMs: number | undefined;

  constructor(commandPath: string, part: Part) {
    this.#commandPath = commandPath;
    this.part = part;
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
    const { command, configPath, logPath } = this.part;
    const log = openSync(logPath, 'a');
    // A process group of its own: Ctrl-C comes to this process alone, which stops all in order.
    const child = spawn(process.execPath, [this.#commandPath, command, '--config', configPath], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    return child;
  }
}

function assertRunning(processes: readonly DemoProcess<DemoPart>[]): void {
  const failed = processes.find((each) => each.failed);
  if (failed === undefined) return;
  throw new CasemateError('ERR_DEMO_SITE_ENDED', `${failed.part.name} has ended by itself`, {
    hint: `${failed.part.logPath} says why.`,
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
  processes: readonly DemoProcess<DemoPart>[],
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + startMsMax;
  for (;;) {
    const status = await fetchStatus(site);
    // Data of an older demonstration may know no witness.
    const alone = status?.witness?.connected === false;
    if (status?.peer.connected === true && !alone) return;
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
  curl -s http://${witnessApi}/v1/status

Kill any of the three, and the others go on; it comes back after ${reviveMs / 1000} seconds:

  pkill -9 -f ${first.configPath}

Ctrl-C stops all three; the data stays.

`;
}

async function watch(
  sites: readonly DemoProcess<DemoSite>[],
  processes: readonly DemoProcess<DemoPart>[],
  signal: AbortSignal,
  write: (text: string) => void,
): Promise<void> {
  let before: { readonly writes: number; readonly atMs: number } | undefined;
  while (!signal.aborted) {
    assertRunning(processes);
    const waits = processes.map((each) => each.revive());
    const statuses = await Promise.all(sites.map(({ part }) => fetchStatus(part)));
    const words = statuses.map((status, index) =>
      siteWords(sites[index]?.part.name ?? '', status, waits[index] ?? 0),
    );
    if ((waits[sites.length] ?? 0) > 0) {
      words.push(`${witnessName}: was killed; started again in ${waits[sites.length]} s`);
    }
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
