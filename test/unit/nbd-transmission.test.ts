/** Every command of the transmission phase, and the error of every bad request, byte by byte. */
import t from 'tap';
import { blockError } from '../../daemon/nbd/block-device.ts';
import { encodeRequest, type RawClient, type RequestFields } from '../support/nbd-raw-client.ts';
import { startNbdServer, testVolumeBytes } from '../support/nbd-test-server.ts';
import { pollUntil } from '../support/poll.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const read = 0;
const write = 1;
const disconnect = 2;
const flush = 3;
const trim = 4;
const cache = 5;
const writeZeroes = 6;
const blockStatus = 7;
const forceUnitAccess = 1;
const noHole = 2;
const dontFragment = 4;
const requestOne = 8;
const fastZero = 16;
const end = testVolumeBytes;

/** The connection is in step: another request is answered as it should be. */
async function inStep(client: RawClient): Promise<boolean> {
  const reply = await client.ask({ type: flush, cookie: 0xfeedfacecafebeefn });
  return reply.error === 0 && reply.cookie === 0xfeedfacecafebeefn;
}

for (const structured of [false, true]) {
  const style = structured ? 'structured' : 'simple';

  t.test(`${style}: what is written is read, at any offset and length`, async (t) => {
    const { connect, device } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    const random = new SeededRandom(7);
    const expected = Buffer.alloc(end);
    for (const length of [1, 27, 512, 4096, 5000, 65_536, 65_537, 300_000]) {
      const offset = random.below(end - length);
      const payload = random.bytes(length);
      payload[0] = 1;
      payload.copy(expected, offset);
      const written = await client.ask({ type: write, cookie: 5n, offset, payload });
      t.same([written.error, written.cookie], [0, 5n]);
      const reply = await client.ask({ type: read, cookie: 6n, offset, length });
      t.same([reply.error, reply.cookie, reply.done], [0, 6n, true]);
      t.equal(reply.type, structured ? 1 : undefined);
      if (structured) t.equal(reply.data.readBigUInt64BE(0), BigInt(offset));
      t.ok(reply.data.subarray(structured ? 8 : 0).equals(payload), `${length} bytes`);
    }
    t.ok(device.data.equals(expected), 'nothing else was written');
  });

  t.test(`${style}: reads that the device answers later`, async (t) => {
    const { connect, device } = await startNbdServer(t, { device: { answers: 'shuffled' } });
    new SeededRandom(1).bytes(end).copy(device.data);
    const client = await connect();
    await client.go('vol', { structured });
    for (const length of [1, 4096, 8192, 8193, 200_000]) {
      const reply = await client.ask({ type: read, offset: 99, length });
      t.ok(
        reply.data.subarray(structured ? 8 : 0).equals(device.data.subarray(99, 99 + length)),
        `${length} bytes`,
      );
    }
    t.equal(device.readNowCount, 0);
  });

  t.test(`${style}: FUA is taken with every command`, async (t) => {
    const { connect } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured, context: structured });
    const requests: RequestFields[] = [
      { type: read, length: 512 },
      { type: write, payload: Buffer.alloc(512) },
      { type: flush },
      { type: trim, length: 512 },
      { type: cache, length: 512 },
      { type: writeZeroes, length: 512 },
    ];
    if (structured) requests.push({ type: blockStatus, length: 512 });
    for (const request of requests) {
      const reply = await client.ask({ ...request, flags: forceUnitAccess });
      t.equal(reply.error, 0, `command ${request.type}`);
    }
  });

  t.test(`${style}: bad requests get their error and the stream stays in step`, async (t) => {
    const { connect, device } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    const payload = Buffer.alloc(512, 9);
    const huge = 2n ** 64n - 1n;
    const cases: [string, RequestFields, number][] = [
      ['read beyond the end', { type: read, offset: end - 1, length: 2 }, 22],
      ['read far beyond', { type: read, offset: huge, length: 1 }, 22],
      ['read at 2^53', { type: read, offset: 2n ** 53n, length: 1 }, 22],
      ['empty read beyond the end', { type: read, offset: end + 1, length: 0 }, 22],
      ['write beyond the end', { type: write, offset: end - 1, payload }, 28],
      ['write far beyond', { type: write, offset: huge, payload }, 28],
      ['zeroes beyond the end', { type: writeZeroes, offset: end, length: 1 }, 28],
      ['zeroes too long', { type: writeZeroes, length: 0xffffffff }, 28],
      ['trim beyond the end', { type: trim, offset: end, length: 1 }, 22],
      ['cache beyond the end', { type: cache, offset: end, length: 1 }, 22],
      ['block status without context', { type: blockStatus, length: 512 }, 22],
      ['flush of a range', { type: flush, length: 512 }, 22],
      ['unknown command', { type: 8 }, 22],
      ['unknown command', { type: 0xffff, length: 100 }, 22],
      ['unknown flag on read', { type: read, length: 1, flags: 0x8000 }, 22],
      ['NO_HOLE on read', { type: read, length: 1, flags: noHole }, 22],
      ['FAST_ZERO on write', { type: write, payload, flags: fastZero }, 22],
      ['NO_HOLE on write', { type: write, payload, flags: noHole }, 22],
      ['DF on write', { type: write, payload, flags: dontFragment }, 22],
      ['NO_HOLE on trim', { type: trim, length: 1, flags: noHole }, 22],
      ['DF on flush', { type: flush, flags: dontFragment }, 22],
      ['REQ_ONE on cache', { type: cache, length: 1, flags: requestOne }, 22],
      ['DF on zeroes', { type: writeZeroes, length: 1, flags: dontFragment }, 22],
    ];
    if (!structured) {
      cases.push(['DF not negotiated', { type: read, length: 1, flags: dontFragment }, 22]);
    }
    for (const [name, request, error] of cases) {
      const reply = await client.ask({ ...request, cookie: 77n });
      t.same([reply.error, reply.cookie], [error, 77n], name);
      t.equal(reply.type, structured ? 0x8001 : undefined, name);
      if (structured) {
        const messageLength = reply.data.readUInt16BE(4);
        t.ok(messageLength > 0 && reply.data.length === 6 + messageLength, `${name}: a message`);
      }
      t.ok(await inStep(client), name);
    }
    t.ok(
      device.data.every((byte) => byte === 0),
      'nothing was written',
    );
  });

  t.test(`${style}: empty requests succeed without the device`, async (t) => {
    const { connect, device } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    for (const type of [read, write, trim, cache, writeZeroes]) {
      for (const offset of [0, end]) {
        const reply = await client.ask({ type, offset, length: 0 });
        t.same([reply.error, reply.data.length, reply.done], [0, 0, true], `command ${type}`);
        t.equal(reply.type, structured && type === read ? 0 : undefined);
      }
    }
    t.equal(device.submittedCount, 0);
    t.ok(await inStep(client));
  });

  t.test(`${style}: errors of the device reach the client`, async (t) => {
    const { connect, device } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    const errors = Object.values(blockError).filter((error) => error !== blockError.none);
    for (const error of errors) {
      device.failure = error;
      const request = { offset: 4096, cookie: 3n };
      const reply = await client.ask({ ...request, type: read, length: 512 });
      t.same([reply.error, reply.cookie], [error, 3n]);
      if (structured) {
        t.equal(reply.type, 0x8002, 'with the offset');
        const messageLength = reply.data.readUInt16BE(4);
        t.equal(reply.data.readBigUInt64BE(6 + messageLength), 4096n);
        t.equal(reply.data.length, 14 + messageLength);
      }
      const written = await client.ask({ ...request, type: write, payload: Buffer.alloc(512) });
      t.equal(written.error, error);
      t.equal((await client.ask({ type: flush })).error, error);
    }
    device.failure = undefined;
    t.ok(await inStep(client));
  });

  t.test(`${style}: zeroing and trimming`, async (t) => {
    const { connect, device } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    for (const flags of [0, noHole, fastZero, noHole | fastZero, forceUnitAccess]) {
      device.data.fill(1);
      const reply = await client.ask({ type: writeZeroes, offset: 4096, length: 8192, flags });
      t.equal(reply.error, 0);
      t.ok(device.data.subarray(4096, 12_288).every((byte) => byte === 0));
      t.equal(device.data[4095], 1);
      t.equal(device.data[12_288], 1);
    }
    device.answers = 'held';
    client.request({ type: writeZeroes, length: 4096, flags: noHole });
    client.request({ type: writeZeroes, length: 4096 });
    client.request({ type: trim, length: 4096 });
    await pollUntil('three are held', () => device.held.length === 3);
    t.same(
      device.held.map((request) => [request.command, request.noHole]),
      [
        ['writeZeroes', true],
        ['writeZeroes', false],
        ['trim', false],
      ],
    );
    device.answerAll();
  });

  t.test(`${style}: a read-only export refuses what would change it`, async (t) => {
    const { connect } = await startNbdServer(t, { device: { readOnly: true } });
    const client = await connect();
    await client.go('vol', { structured });
    t.equal((await client.ask({ type: write, payload: Buffer.alloc(4096) })).error, 1);
    t.equal((await client.ask({ type: writeZeroes, length: 512 })).error, 1);
    t.equal((await client.ask({ type: trim, length: 512 })).error, 1);
    t.equal((await client.ask({ type: read, length: 512 })).error, 0);
    t.equal((await client.ask({ type: cache, length: 512 })).error, 0);
    t.ok(await inStep(client));
  });

  t.test(`${style}: a longer write than the maximum ends the connection`, async (t) => {
    const { connect, log } = await startNbdServer(t);
    const client = await connect();
    await client.go('vol', { structured });
    client.request({ type: write, length: 32 * 1024 * 1024 + 1 });
    t.equal((await client.rest()).length, 0);
    t.match(
      log.find((line) => line.message === 'NBD client dropped'),
      {
        values: { reason: 'write longer than the maximum payload' },
      },
    );
  });
}

t.test('the largest payload is written, read, and refused without losing step', async (t) => {
  const size = 64 * 1024 * 1024;
  const { connect, device } = await startNbdServer(t, { device: { sizeBytes: size } });
  const client = await connect();
  await client.go('vol', { structured: true });
  const largest = 32 * 1024 * 1024;
  const payload = Buffer.alloc(largest, 'casemate');
  t.equal((await client.ask({ type: write, offset: 4096, payload })).error, 0);
  t.ok(device.data.subarray(4096, 4096 + largest).equals(payload));
  t.equal((await client.ask({ type: write, offset: size - 512, payload })).error, 28);
  t.ok(await inStep(client));
  const reader = await connect();
  await reader.go('vol');
  reader.request({ type: read, length: largest });
  reader.request({ type: read, length: largest + 1 });
  const reply = await reader.reply(largest);
  t.equal(reply.error, 0);
  t.ok(reply.data.equals(device.data.subarray(0, largest)));
  t.equal((await reader.reply()).error, 75, 'a longer read is too large');
  t.equal((await reader.ask({ type: writeZeroes, length: size })).error, 0, 'zeroing is not');
  t.ok(device.data.every((byte) => byte === 0));
});

t.test('reads of nothing but zeros come as a hole', async (t) => {
  const { connect, device } = await startNbdServer(t);
  const client = await connect();
  await client.go('vol', { structured: true });
  for (const answers of ['at-once', 'shuffled'] as const) {
    device.answers = answers;
    for (const flags of [0, dontFragment]) {
      for (const length of [1, 4096, 200_000]) {
        const reply = await client.ask({ type: read, offset: 4096, length, flags });
        t.equal(reply.type, 2);
        t.equal(reply.data.readBigUInt64BE(0), 4096n);
        t.equal(reply.data.readUInt32BE(8), length);
        t.equal(reply.data.length, 12);
      }
    }
    device.data[4096 + 100_000] = 1;
    const mixed = await client.ask({
      type: read,
      offset: 4096,
      length: 200_000,
      flags: dontFragment,
    });
    t.equal(mixed.type, 1, 'mixed data is one chunk with the zeros in it');
    t.equal(mixed.data.length, 8 + 200_000);
    device.data[4096 + 100_000] = 0;
  }
});

t.test('block status tells data from holes', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.go('vol', { structured: true, context: true });
  await client.ask({ type: write, offset: 8192, payload: Buffer.alloc(4096, 1) });
  await client.ask({ type: write, offset: 12_288, payload: Buffer.alloc(4096, 1) });
  const descriptors = (data: Buffer): number[][] => {
    t.equal(data.readUInt32BE(0), 1, 'the context id of SET_META_CONTEXT');
    const found: number[][] = [];
    for (let at = 4; at < data.length; at += 8) {
      found.push([data.readUInt32BE(at), data.readUInt32BE(at + 4)]);
    }
    return found;
  };
  const whole = await client.ask({ type: blockStatus, length: end });
  t.same([whole.type, whole.done], [5, true]);
  t.same(descriptors(whole.data), [
    [8192, 3],
    [8192, 0],
    [end - 16_384, 3],
  ]);
  const one = { type: blockStatus, flags: requestOne };
  t.same(descriptors((await client.ask({ ...one, length: end })).data), [[8192, 3]]);
  t.same(descriptors((await client.ask({ ...one, length: 100 })).data), [[100, 3]]);
  t.same(descriptors((await client.ask({ ...one, offset: 10_000, length: end - 10_000 })).data), [
    [6384, 0],
  ]);
  t.equal((await client.ask({ type: blockStatus, offset: end, length: 1 })).error, 22);
  t.equal((await client.ask({ type: blockStatus, length: 0 })).error, 22);
  t.equal((await client.ask({ ...one, length: 512, flags: dontFragment })).error, 22);
  t.ok(await inStep(client));
});

t.test(
  'a fragmented volume is described in part, and the client can go on from there',
  async (t) => {
    const sizeBytes = 128 * 1024 * 1024;
    const { connect, device } = await startNbdServer(t, { device: { sizeBytes } });
    const client = await connect();
    await client.go('vol', { structured: true, context: true });
    device.submit = (request) => {
      request.extents = Array.from({ length: request.lengthBytes / 4096 }, (_, index) => ({
        lengthBytes: 4096,
        hole: index % 2 === 1,
      }));
      request.complete(blockError.none);
    };
    const reply = await client.ask({ type: blockStatus, length: sizeBytes });
    t.equal(reply.type, 5);
    t.equal(reply.data.length, 4 + 8 * 8192);
  },
);

t.test('DISC is obeyed after what came before it, also when the client has closed', async (t) => {
  const { connect, device, server } = await startNbdServer(t, { device: { answers: 'held' } });
  for (const closes of [false, true]) {
    const client = await connect();
    await client.go('vol');
    client.send(
      encodeRequest({ type: write, payload: Buffer.alloc(512, 5), cookie: 8n }),
      encodeRequest({ type: disconnect }),
      encodeRequest({ type: flush }),
    );
    if (closes) client.socket.end();
    await pollUntil('the write is held', () => device.held.length === 1);
    t.equal(device.held[0]?.connected, true);
    device.answerAll();
    t.same((await client.reply()).cookie, 8n);
    t.equal((await client.rest()).length, 0, 'and nothing after it');
    client.destroy();
    await pollUntil('the client is gone', () => server.connectionCount() === 0);
  }
  t.equal(device.attachedCount, 0);
});

t.test('a bad request magic ends the connection', async (t) => {
  const { connect, log } = await startNbdServer(t);
  const client = await connect();
  await client.go('vol');
  client.request({ type: flush, magic: 0x25609514 });
  t.equal((await client.rest()).length, 0);
  t.match(
    log.find((line) => line.message === 'NBD client dropped'),
    {
      values: { reason: 'bad request magic' },
    },
  );
});

t.test('a request knows when it had been received in full', async (t) => {
  const { connect, device } = await startNbdServer(t, { device: { answers: 'held' } });
  const client = await connect();
  await client.go('vol');
  const request = encodeRequest({ type: write, payload: Buffer.alloc(512) });
  client.send(request.subarray(0, 100));
  client.send(request.subarray(100));
  await pollUntil('the write is held', () => device.held.length === 1);
  const receivedAtMs = device.held[0]?.receivedAtMs ?? Number.NaN;
  t.ok(receivedAtMs <= performance.now() && receivedAtMs > performance.now() - 60_000);
  device.answerAll();
});
