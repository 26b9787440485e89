/** What the delaying proxy itself does to a connection: its round trip and its throughput. */
import { connect, createServer, type Socket } from 'node:net';
import { freePorts } from '../../test/support/pair.ts';
import { latencyOf } from '../statistics.ts';
import { DelayProxy } from './delay-proxy.ts';

const host = '127.0.0.1';
const pings = 300;
const streamBytes = 256 * 2 ** 20;
const chunk = Buffer.alloc(256 * 1024, 0x3c);

export interface ProxyFigures {
  readonly roundTripP50Us: number;
  readonly mebibytesPerSecond: number;
}

/** Measures a proxy of its own against an echo, then a sink, at this round trip. */
export async function measureProxy(roundTripMs: number): Promise<ProxyFigures> {
  const [listenPort, targetPort] = await freePorts(2);
  if (listenPort === undefined || targetPort === undefined) throw new Error('no free port');
  let received = 0;
  let arrived: (() => void) | undefined;
  const target = createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => {
      received += data.length;
      if (data.length === 1) socket.write(data);
      if (received >= streamBytes) arrived?.();
    });
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => target.listen(targetPort, host, resolve));
  const proxy = await DelayProxy.start([{ listenPort, targetPort }]);
  try {
    await proxy.setRoundTrip(roundTripMs);
    const client = connect({ port: listenPort, host, noDelay: true });
    const roundTripP50Us = await pingTimes(client);
    received = 0;
    const startedMs = performance.now();
    const done = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    await stream(client);
    await done;
    const seconds = (performance.now() - startedMs) / 1000;
    client.destroy();
    return { roundTripP50Us, mebibytesPerSecond: streamBytes / 2 ** 20 / seconds };
  } finally {
    await proxy.stop();
    target.close();
  }
}

/** The median of single bytes there and back, one at a time. */
async function pingTimes(client: Socket): Promise<number> {
  const samplesUs: number[] = [];
  for (let count = 0; count < pings; count += 1) {
    const before = performance.now();
    const back = new Promise<void>((resolve, reject) => {
      client.once('data', () => resolve());
      client.once('error', reject);
    });
    client.write('x');
    await back;
    client.removeAllListeners('error');
    samplesUs.push((performance.now() - before) * 1000);
  }
  client.on('error', () => client.destroy());
  return latencyOf(samplesUs).p50Us;
}

async function stream(client: Socket): Promise<void> {
  for (let sent = 0; sent < streamBytes; sent += chunk.length) {
    if (client.write(chunk)) continue;
    await new Promise<void>((resolve) => client.once('drain', () => resolve()));
  }
}
