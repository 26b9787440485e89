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
  const processes = [first, second].map((site) => startSite(options.commandPath, site));
  try {
    write(`Starting ${first.name} and ${second.name}; their data is in ${options.directory}\n`);
    await ready(first, processes, stop.signal);
    await ready(second, processes, stop.signal);
    await makeVolume(first, stop.signal);
    write(usage(first, second));
    await watch([first, second], processes, stop.signal, write);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    write('\nStopping both sites …\n');
    await Promise.all(processes.map(stopProcess));
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

function startSite(commandPath: string, site: DemoSite): ChildProcess {
  const log = openSync(site.logPath, 'a');
  // A process group of its own: Ctrl-C comes to this process alone, which stops both in order.
  const child = spawn(process.execPath, [commandPath, 'run', '--config', site.configPath], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  return child;
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}

function assertRunning(processes: readonly ChildProcess[]): void {
  if (processes.every((child) => child.exitCode === null && child.signalCode === null)) return;
  throw new CasemateError('ERR_DEMO_SITE_ENDED', 'one of the two sites has ended by itself', {
    hint: 'Its daemon.log, next to its data, says why.',
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
  processes: readonly ChildProcess[],
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
  sites: readonly DemoSite[],
  processes: readonly ChildProcess[],
  signal: AbortSignal,
  write: (text: string) => void,
): Promise<void> {
  let before: { readonly writes: number; readonly atMs: number } | undefined;
  while (!signal.aborted) {
    assertRunning(processes);
    const statuses = await Promise.all(sites.map(fetchStatus));
    const words = statuses.map((status, index) => siteWords(sites[index]?.name ?? '', status));
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

function siteWords(name: string, status: SiteStatus | undefined): string {
  if (status === undefined) return `${name}: does not answer`;
  const [group] = status.groups;
  if (group === undefined) return `${name}: no volume`;
  const copies = group.inSync ? 'in sync' : group.peer.text;
  const state = group.serves ? `${group.role}, ${copies}` : (group.wait?.text ?? 'waits');
  return `${name}: ${state}`;
}
