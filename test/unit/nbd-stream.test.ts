/** Requests as a stream: fragments, pipelines, replies out of order, and seeded garbage. */
import t, { type Test } from 'tap';
import { encodeRequest, type RawClient, type Reply } from '../support/nbd-raw-client.ts';
import { startNbdServer, testVolumeBytes } from '../support/nbd-test-server.ts';
import { pollUntil } from '../support/poll.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const read = 0;
const write = 1;
const flush = 3;

t.test('requests come one byte at a time', async (t) => {
  const { connect, device } = await startNbdServer(t);
  const client = await connect();
  await client.go('vol', { structured: true });
  const payload = new SeededRandom(3).bytes(100);
  const bytes = Buffer.concat([
    encodeRequest({ type: write, offset: 4090, payload, cookie: 1n }),
    encodeRequest({ type: write, offset: testVolumeBytes, payload, cookie: 2n }),
    encodeRequest({ type: read, offset: 4090, length: 100, cookie: 3n }),
    encodeRequest({ type: flush, cookie: 4n }),
  ]);
  for (const byte of bytes) {
    client.send(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same([(await client.reply()).cookie, (await client.reply()).error], [1n, 28]);
  const reply = await client.reply();
  t.ok(reply.data.subarray(8).equals(payload));
  t.equal((await client.reply()).cookie, 4n);
  t.ok(device.data.subarray(4090, 4190).equals(payload));
});

/** Random requests that all succeed, in flight at the same time on ranges of their own. */
async function pipeline(
  t: Test,
  connect: () => Promise<RawClient>,
  seed: number,
  cut: (random: SeededRandom, bytes: Buffer) => Buffer[],
): Promise<Buffer> {
  const random = new SeededRandom(seed);
  const client = await connect();
  await client.go('vol');
  const image = Buffer.alloc(testVolumeBytes);
  const count = 128;
  const rangeBytes = testVolumeBytes / count;
  const requests: Buffer[] = [];
  const reads = new Map<bigint, Buffer>();
  for (let index = 0; index < count; index += 1) {
    const length = 1 + random.below(rangeBytes);
    const offset = index * rangeBytes + random.below(rangeBytes - length + 1);
    const payload = random.bytes(length);
    payload.copy(image, offset);
    requests.push(encodeRequest({ type: write, offset, payload, cookie: BigInt(index) }));
  }
  for (const piece of cut(random, Buffer.concat(requests))) client.send(piece);
  const cookies = new Set<bigint>();
  for (let index = 0; index < count; index += 1) {
    const reply = await client.reply();
    if (reply.error !== 0) t.fail(`write failed with ${reply.error}`);
    cookies.add(reply.cookie);
  }
  t.equal(cookies.size, count, 'each write was answered once');
  for (let index = 0; index < count; index += 1) {
    const offset = index * rangeBytes;
    reads.set(BigInt(index), image.subarray(offset, offset + rangeBytes));
    client.request({ type: read, offset, length: rangeBytes, cookie: BigInt(index) });
  }
  for (let index = 0; index < count; index += 1) {
    const reply: Reply = await client.reply(rangeBytes);
    const expected = reads.get(reply.cookie);
    reads.delete(reply.cookie);
    if (expected?.equals(reply.data) !== true) t.fail(`read ${reply.cookie} differs`);
  }
  t.equal(reads.size, 0, 'each read was answered once');
  return image;
}

t.test('a pipeline of requests in one piece', async (t) => {
  const { connect, device } = await startNbdServer(t);
  const image = await pipeline(t, connect, 11, (_, bytes) => [bytes]);
  t.ok(device.data.equals(image));
});

t.test('a pipeline cut anywhere, answered out of order, within small limits', async (t) => {
  const { connect, device, server } = await startNbdServer(t, {
    device: { answers: 'shuffled', heldMax: 7 },
    limits: { requestsInFlightMax: 5, bytesInFlightMax: 20_000, bytesInFlightTotalMax: 20_000 },
  });
  const image = await pipeline(t, connect, 12, (random, bytes) => {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + random.below(2000);
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    return pieces;
  });
  t.ok(device.data.equals(image));
  t.ok(server.stats().slowedDown > 0);
  await pollUntil('nothing is counted as in flight', () => server.stats().bytesInFlight === 0);
});

t.test('many connections share one volume', async (t) => {
  const { connect, device, server } = await startNbdServer(t, { device: { answers: 'shuffled' } });
  const clients = await Promise.all(Array.from({ length: 16 }, () => connect()));
  await Promise.all(clients.map((client) => client.go('vol')));
  t.equal(server.connectionCount('vol'), 16);
  const share = testVolumeBytes / clients.length;
  await Promise.all(
    clients.map(async (client, index) => {
      for (let at = 0; at < share; at += 4096) {
        const payload = Buffer.alloc(4096, index + 1);
        client.request({ type: write, offset: index * share + at, payload });
      }
      for (let at = 0; at < share; at += 4096) await client.reply();
    }),
  );
  const [first] = clients;
  const reply = await first?.ask({ type: read, length: testVolumeBytes });
  t.ok(reply?.data.equals(device.data), 'each sees what the others wrote');
  t.ok(device.data.every((byte, at) => byte === Math.floor(at / share) + 1));
});

t.test('payloads stay as they were received while more is received', async (t) => {
  const { connect, device } = await startNbdServer(t, { device: { answers: 'held' } });
  const client = await connect();
  await client.go('vol');
  for (let index = 0; index < 200; index += 1) {
    client.request({ type: write, offset: index * 4096, payload: Buffer.alloc(4096, index) });
    client.request({ type: read, offset: 0, length: 512 });
  }
  await pollUntil('all are held', () => device.held.length === 400);
  device.answerAll();
  t.ok(
    device.data.subarray(0, 200 * 4096).every((byte, at) => byte === Math.floor(at / 4096) % 256),
  );
});

t.test('garbage never harms the server or other clients', async (t) => {
  const { connect, server } = await startNbdServer(t, { limits: { lingerMs: 1000 } });
  const good = await connect();
  await good.go('vol', { structured: true });
  for (let seed = 1; seed <= 150; seed += 1) {
    const random = new SeededRandom(seed);
    const client = await connect();
    const stage = random.below(3);
    if (stage === 1) await client.greet();
    if (stage === 2) await client.go('vol', { structured: random.below(2) === 1 });
    for (let count = random.below(20); count >= 0; count -= 1) {
      client.send(garbage(random, stage));
    }
    client.socket.end();
    if (random.below(4) === 0) client.destroy();
    else await client.rest();
    const reply = await good.ask({ type: flush, cookie: BigInt(seed) });
    if (reply.error !== 0 || reply.cookie !== BigInt(seed)) t.fail(`seed ${seed} broke the server`);
  }
  await pollUntil('all of them are gone', () => server.connectionCount() === 1);
  await pollUntil('nothing is counted as in flight', () => server.stats().bytesInFlight === 0);
  t.equal(server.connectionCount('vol'), 1);
});

/** Pure noise, or messages that are nearly right. */
function garbage(random: SeededRandom, stage: number): Buffer {
  const noise = random.bytes(random.below(100));
  if (random.below(5) === 0) return noise;
  if (stage < 2) {
    const header = Buffer.alloc(16);
    header.write('IHAVEOPT');
    header.writeUInt32BE(random.below(12), 8);
    header.writeUInt32BE(random.below(3) === 0 ? random.below(2 ** 31) : noise.length, 12);
    return Buffer.concat([header, noise]);
  }
  return Buffer.concat([
    encodeRequest({
      type: random.below(10),
      flags: random.below(3) === 0 ? random.below(65_536) : 0,
      offset:
        random.below(2) === 0 ? random.below(testVolumeBytes) : random.below(2 ** 31) * 2 ** 31,
      length: random.below(4) === 0 ? random.below(2 ** 31) : noise.length,
      cookie: BigInt(random.below(1000)),
    }),
    noise,
  ]);
}
