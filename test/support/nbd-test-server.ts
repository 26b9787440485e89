/** A server on memory volumes for one test, closed with it, and raw clients of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NbdLimits } from '../../daemon/nbd/limits.ts';
import { NbdServer } from '../../daemon/nbd/server.ts';
import { MemoryDevice, type MemoryDeviceOptions, memoryExports } from './memory-device.ts';
import { RawClient } from './nbd-raw-client.ts';

interface Teardown {
  teardown(run: () => Promise<void>): void;
}

export interface NbdTestServer {
  readonly server: NbdServer;
  readonly device: MemoryDevice;
  readonly socketPath: string;
  /** What the server has logged. */
  readonly log: { readonly values: object; readonly message: string }[];
  connect(): Promise<RawClient>;
}

export const testVolumeBytes = 1024 * 1024;

/** Serves a volume "vol" of 1 MiB unless told otherwise, and `others` besides. */
export async function startNbdServer(
  t: Teardown,
  options: {
    readonly limits?: Partial<NbdLimits>;
    readonly device?: Partial<MemoryDeviceOptions>;
    readonly others?: readonly MemoryDevice[];
  } = {},
): Promise<NbdTestServer> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-nbd-'));
  const socketPath = join(directory, 'nbd.sock');
  const device = new MemoryDevice({ name: 'vol', sizeBytes: testVolumeBytes, ...options.device });
  const log: { values: object; message: string }[] = [];
  const note = (values: object, message: string): void => {
    log.push({ values, message });
  };
  const server = new NbdServer({
    exports: memoryExports(device, ...(options.others ?? [])),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    logger: { info: note, warn: note },
    nowMs: () => performance.now(),
  });
  await server.listenUnix(socketPath);
  const clients: RawClient[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    await server.close({ graceMs: 0 });
    rmSync(directory, { recursive: true });
  });
  const connect = async (): Promise<RawClient> => {
    const client = await RawClient.connect(socketPath);
    clients.push(client);
    return client;
  };
  return { server, device, socketPath, log, connect };
}
