/**
 * The physical limit of a write that is durable on two sites, on this machine: two processes, each
 * with a preallocated log file, joined by one loopback TCP connection. The first sends the payload
 * and writes and syncs its own file; the second receives it, writes and syncs its own file and
 * acknowledges; the write is done when both are. Nothing else happens: no checksum, no format, no
 * protocol, no event loop (the processes block in read, write and fdatasync). Its two parts are
 * measured by themselves as well: one process's bare write and sync, and the loopback round trip.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RunFigures } from './fio.ts';
import { latencyOf } from './statistics.ts';

const sitePath = fileURLToPath(new URL('./bound-site.js', import.meta.url));
const limitMs = 60_000;

export const boundName = 'physical limit';
export const bareSyncName = 'bare write and fdatasync, 1 copy';
export const roundTripName = 'loopback round trip, nothing stored';
export const boundNames = [boundName, bareSyncName, roundTripName] as const;
export type BoundName = (typeof boundNames)[number];

export interface BoundOptions {
  readonly name: BoundName;
  readonly directory: string;
  /** Bytes that go into one write and sync: 4 KiB, or 32 of them for a group commit. */
  readonly commitBytes: number;
  readonly seconds: number;
}

/** Runs one of the bounds; operations are 4 KiB writes, latencies those of a commit. */
export async function runBound(options: BoundOptions): Promise<RunFigures> {
  const paths = [join(options.directory, 'bound-1'), join(options.directory, 'bound-2')] as const;
  const parameters = [String(options.commitBytes), String(options.seconds)];
  try {
    const output =
      options.name === bareSyncName
        ? await runSite(['alone', paths[0], ...parameters], undefined)
        : await runPair(options.name === boundName ? '' : '-echo', paths, parameters);
    const samplesUs = toNumbers(JSON.parse(output));
    const writes = (samplesUs.length * options.commitBytes) / 4096;
    const seconds = samplesUs.reduce((sum, each) => sum + each, 0) / 1e6;
    return {
      operations: writes,
      writeOperations: writes,
      writtenBytes: writes * 4096,
      operationsPerSecond: writes / seconds,
      mebibytesPerSecond: (samplesUs.length * options.commitBytes) / 2 ** 20 / seconds,
      latency: latencyOf(samplesUs),
    };
  } finally {
    for (const path of paths) rmSync(path, { force: true });
  }
}

/** Both processes, joined by loopback; gives what the first printed. */
async function runPair(
  suffix: '' | '-echo',
  paths: readonly [string, string],
  parameters: readonly string[],
): Promise<string> {
  const { client, server } = await loopbackPair();
  const [output] = await Promise.all([
    runSite([`primary${suffix}`, paths[0], ...parameters], client),
    runSite([`secondary${suffix}`, paths[1], ...parameters], server),
  ]);
  return output;
}

/** MiB/s of one file written in 1 MiB pieces one after the other, synced every 32 of them. */
export async function runSequential(directory: string, seconds: number): Promise<number> {
  const path = join(directory, 'sequential');
  try {
    const output = await runSite(['sequential', path, String(2 ** 20), String(seconds)], undefined);
    const samplesUs = toNumbers(JSON.parse(output));
    const totalSeconds = samplesUs.reduce((sum, each) => sum + each, 0) / 1e6;
    return (samplesUs.length * 32) / totalSeconds;
  } finally {
    rmSync(path, { force: true });
  }
}

function toNumbers(value: unknown): number[] {
  if (Array.isArray(value) && value.every((each) => typeof each === 'number') && value.length > 0) {
    return value;
  }
  throw new Error('the bound gave no samples');
}

/** Both ends of a loopback TCP connection that nobody has read from. */
async function loopbackPair(): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => listener.once('connection', resolve));
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no loopback port');
  const client = connect(address.port, '127.0.0.1');
  client.pause();
  const server = await accepted;
  listener.close();
  for (const socket of [client, server]) socket.setNoDelay(true);
  return { client, server };
}

/**
 * Runs one process. The socket becomes its standard input, which Node.js hands over in blocking
 * mode: the process can then use it with plain readSync and writeSync.
 */
function runSite(parameters: readonly string[], socket: Socket | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [sitePath, ...parameters], {
      stdio: [socket ?? 'ignore', 'pipe', 'pipe'],
    });
    child.once('spawn', () => socket?.destroy());
    const deadline = setTimeout(() => child.kill('SIGKILL'), limitMs);
    let output = '';
    let problem = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      problem += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(deadline);
      if (code === 0) resolve(output);
      else reject(new Error(`bound ${parameters[0]}: exit ${code}: ${problem}`));
    });
  });
}
