/** What is bounded, and by what: clients that send too much, or never take their replies (I9). */
import t from 'tap';
import { nbdLimits } from '../../daemon/nbd/limits.ts';
import { MemoryDevice } from '../support/memory-device.ts';
import { encodeRequest } from '../support/nbd-raw-client.ts';
import { startNbdServer } from '../support/nbd-test-server.ts';
import { pollUntil } from '../support/poll.ts';

const read = 0;
const write = 1;
const flush = 3;
const writeZeroes = 6;
const noHole = 2;
const mebibyte = 1024 * 1024;

/** Resolves when a client's bytes are stuck: the server has stopped to read its socket. */
async function untilStuck(bytesWritten: () => number, slowedDown: () => number): Promise<void> {
  await pollUntil('the server slows the client down', () => slowedDown() > 0);
  let last = -1;
  let same = 0;
  await pollUntil('nothing more goes out', () => {
    same = bytesWritten() === last ? same + 1 : 0;
    last = bytesWritten();
    return same >= 5;
  });
}

t.test('a client that never takes its replies is not read on, and memory stays', async (t) => {
  const { connect, server, device } = await startNbdServer(t, {
    limits: { replyQueueBytesMax: mebibyte },
  });
  device.data.fill(1);
  const client = await connect();
  await client.go('vol');
  client.socket.pause();
  const before = process.memoryUsage();
  // Answers of 4 GiB, if they were all made.
  const request = encodeRequest({ type: read, length: 65_536 });
  const requests = Buffer.concat(Array.from({ length: 65_536 }, () => request));
  client.send(requests);
  await pollUntil('the server slows down', () => server.stats().slowedDown > 0);
  const other = await connect();
  await other.go('vol');
  for (let index = 0; index < 100; index += 1) await other.ask({ type: flush });
  t.ok(server.stats().bytesInFlight <= mebibyte + 65_536 + 16, 'replies are bounded');
  t.ok(device.readNowCount < 200, `${device.readNowCount} reads were done for nothing`);
  const after = process.memoryUsage();
  t.ok(after.arrayBuffers - before.arrayBuffers < 24 * mebibyte, 'so is memory');
  client.socket.resume();
  for (let index = 0; index < 500; index += 1) {
    const reply = await client.reply(65_536);
    if (reply.error !== 0 || reply.data[65_535] !== 1) t.fail('a wrong reply');
  }
  t.ok(device.readNowCount >= 500, 'it is served on when it takes replies again');
});

t.test('large answers that are not taken are bounded as well', async (t) => {
  const { connect, server, device } = await startNbdServer(t, {
    limits: { replyQueueBytesMax: mebibyte },
    device: { sizeBytes: 4 * mebibyte, answers: 'shuffled' },
  });
  device.data.fill(2);
  const client = await connect();
  await client.go('vol', { structured: true });
  client.socket.pause();
  for (let index = 0; index < 200; index += 1) {
    client.request({ type: read, length: 4 * mebibyte, cookie: BigInt(index) });
  }
  await pollUntil('the server slows down', () => server.stats().slowedDown > 0);
  await pollUntil('requests are answered', () => device.held.length === 0);
  t.ok(device.submittedCount <= 20, `${device.submittedCount} reads were taken`);
  client.socket.resume();
  for (let index = 0; index < 200; index += 1) {
    const reply = await client.reply();
    if (reply.cookie !== BigInt(index) && reply.data.length !== 8 + 4 * mebibyte) t.fail('wrong');
  }
  t.equal(device.submittedCount, 200);
});

for (const [limit, limits] of [
  ['requests', { requestsInFlightMax: 10 }],
  ['bytes', { bytesInFlightMax: 10 * 4096 }],
  ['bytes of all connections', { bytesInFlightTotalMax: 10 * 4096 }],
] as const) {
  t.test(`the limit on ${limit} in flight holds, and nothing is lost`, async (t) => {
    const { connect, server, device } = await startNbdServer(t, {
      limits,
      device: { answers: 'held' },
    });
    const client = await connect();
    await client.go('vol');
    const count = 2000;
    for (let index = 0; index < count; index += 1) {
      const offset = (index % 256) * 4096;
      const payload = Buffer.alloc(4096, index);
      client.request({ type: write, offset, payload, cookie: BigInt(index) });
    }
    await untilStuck(
      () => client.socket.bytesWritten - client.socket.writableLength,
      () => server.stats().slowedDown,
    );
    t.ok(device.held.length >= 10 && device.held.length <= 11, `${device.held.length} are held`);
    for (let index = 0; index < count; index += 1) {
      await pollUntil('the next is held', () => device.held.length > 0);
      device.answer();
      const reply = await client.reply();
      if (reply.cookie !== BigInt(index) || reply.error !== 0) t.fail(`reply ${index} is wrong`);
      if (device.held.length > 11) t.fail(`${device.held.length} are held`);
    }
    await pollUntil('nothing is in flight', () => server.stats().bytesInFlight === 0);
  });
}

t.test(
  'zeroes that are to be written count in flight for one connection, not for all',
  async (t) => {
    const { connect, server, device } = await startNbdServer(t, {
      limits: { bytesInFlightMax: 10 * 4096, bytesInFlightTotalMax: 12 * 4096 },
      device: { answers: 'held' },
    });
    const [client, other] = await Promise.all([connect(), connect()]);
    await Promise.all([client.go('vol'), other.go('vol')]);
    const count = 200;
    for (let index = 0; index < count; index += 1) {
      client.request({ type: writeZeroes, flags: noHole, length: 4096, cookie: BigInt(index) });
    }
    await pollUntil('the client is slowed down', () => server.stats().slowedDown > 0);
    t.equal(device.held.length, 10);
    t.equal(server.stats().bytesInFlight, 0, 'they take no memory');
    for (let index = 0; index < count; index += 1) {
      await pollUntil('the next is held', () => device.held.length > 0);
      device.answer();
      if ((await client.reply()).cookie !== BigInt(index)) t.fail(`reply ${index} is wrong`);
      if (device.held.length > 10) t.fail(`${device.held.length} are held`);
    }
    for (let index = 0; index < 20; index += 1) other.request({ type: writeZeroes, length: 4096 });
    await pollUntil('holes are not counted', () => device.held.length === 20);
    device.answerAll();
    for (let index = 0; index < 20; index += 1) t.equal((await other.reply()).error, 0);
  },
);

t.test('what one device holds for ever does not keep the clients of another waiting', async (t) => {
  const other = new MemoryDevice({ name: 'other', sizeBytes: mebibyte, answers: 'shuffled' });
  const { connect, server, device } = await startNbdServer(t, {
    limits: { bytesInFlightTotalMax: 10 * 4096 },
    device: { answers: 'held' },
    others: [other],
  });
  const [holding, ...clients] = await Promise.all([connect(), connect(), connect()]);
  await holding.go('vol');
  for (const client of clients) await client.go('other');
  for (let index = 0; index < 100; index += 1) {
    holding.request({ type: write, payload: Buffer.alloc(4096) });
  }
  await pollUntil('its device holds all there is', () => device.held.length >= 10);
  const count = 200;
  for (const client of clients) {
    for (let index = 0; index < count; index += 1) {
      client.request({ type: write, payload: Buffer.alloc(4096), cookie: BigInt(index) });
    }
  }
  let answered = 0;
  const takeAll = clients.map(async (client) => {
    for (let index = 0; index < count; index += 1) {
      const reply = await client.reply();
      if (reply.cookie !== BigInt(index) || reply.error !== 0) t.fail(`reply ${index} is wrong`);
      answered += 1;
      if (server.stats().bytesInFlight > 14 * 4096) t.fail('more than one request each');
    }
  });
  await pollUntil('the others are served', () => answered === clients.length * count);
  await Promise.all(takeAll);
  t.ok(device.held.length <= 11, 'nothing more is taken where it would be held');
});

t.test('a congested device is given nothing until it has room', async (t) => {
  const { connect, device } = await startNbdServer(t, {
    device: { answers: 'held', heldMax: 3 },
  });
  const clients = await Promise.all([connect(), connect()]);
  await Promise.all(clients.map((client) => client.go('vol')));
  for (const client of clients) {
    for (let index = 0; index < 100; index += 1) client.request({ type: flush });
  }
  await pollUntil('the device is congested', () => device.congested);
  for (let answered = 0; answered < 200; answered += 1) {
    await pollUntil('one is held', () => device.held.length > 0);
    // Each connection may have been asking at the same time.
    if (device.held.length > 4) t.fail(`${device.held.length} are held`);
    device.answer(device.held.length - 1);
  }
  for (const client of clients) {
    for (let index = 0; index < 100; index += 1) t.equal((await client.reply()).error, 0);
  }
});

t.test('a payload is received to its end though the limit is reached meanwhile', async (t) => {
  const { connect, device } = await startNbdServer(t, {
    device: { answers: 'held', heldMax: 1 },
  });
  const client = await connect();
  const other = await connect();
  await Promise.all([client.go('vol'), other.go('vol')]);
  const request = encodeRequest({ type: write, payload: Buffer.alloc(300_000, 4) });
  client.send(request.subarray(0, 1000));
  other.request({ type: flush });
  await pollUntil('the device is congested', () => device.congested);
  client.send(request.subarray(1000));
  await pollUntil('the write is there nevertheless', () => device.held.length === 2);
  device.answerAll();
  t.equal((await client.reply()).error, 0);
  t.equal((await other.reply()).error, 0);
});

t.test('limits that contradict each other are refused', async (t) => {
  t.throws(() => nbdLimits({ requestsInFlightMax: 0 }));
  t.throws(() => nbdLimits({ optionDataBytesMax: 100 }));
  t.throws(() => nbdLimits({ readNowBytesMax: mebibyte }));
  t.throws(() => nbdLimits({ optionSkipBytesMax: 9000 }));
  t.equal(nbdLimits({ lingerMs: 7 }).lingerMs, 7);
});
