/**
 * A program that serves one memory volume by the daemon's NBD server until it is ended:
 * `memory-site.js <socket path> <export name> <size in bytes>`. It prints the TCP port when it is
 * ready, and on SIGTERM closes as the daemon does.
 */
import { NbdServer } from '../../daemon/nbd/server.ts';
import { MemoryDevice, memoryExports } from './memory-device.ts';

const [socketPath, exportName, size] = process.argv.slice(2);
if (socketPath === undefined || exportName === undefined || size === undefined) {
  process.stderr.write('usage: memory-site <socket path> <export name> <size in bytes>\n');
  process.exit(2);
}
const device = new MemoryDevice({ name: exportName, sizeBytes: Number(size) });
const server = new NbdServer({
  exports: memoryExports(device),
  nowMs: () => performance.now(),
});
await server.listenUnix(socketPath);
const port = await server.listenTcp('127.0.0.1', 0);
process.once('SIGTERM', () => {
  void server.close({ graceMs: 5_000 });
});
process.stdout.write(`${port}\n`);
