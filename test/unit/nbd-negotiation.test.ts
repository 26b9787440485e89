/** The handshake and every option, byte by byte, and what a client that misbehaves gets. */
import t from 'tap';
import { MemoryDevice } from '../support/memory-device.ts';
import { infoData, metaContextData, RawClient, uint32 } from '../support/nbd-raw-client.ts';
import { startNbdServer, testVolumeBytes } from '../support/nbd-test-server.ts';
import { pollUntil } from '../support/poll.ts';

const ack = 1;
const errorUnsupported = 0x80000001;
const errorInvalid = 0x80000003;
const errorUnknown = 0x80000006;
const errorShutdown = 0x80000007;
const errorTooBig = 0x80000009;
/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO. */
const flags = 0x0d6d;
const flagsStructured = flags | 0x80;

t.test('the greeting offers fixed newstyle and no zeroes', async (t) => {
  const { connect } = await startNbdServer(t);
  const greeting = await (await connect()).greet();
  t.equal(greeting.toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
  t.equal(greeting.readUInt16BE(16), 3);
});

t.test('unknown client flags end the connection', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet(4);
  t.equal((await client.rest()).length, 0);
});

t.test(
  'EXPORT_NAME gives size and flags, with the zeroes unless both sides drop them',
  async (t) => {
    const { connect, device } = await startNbdServer(t);
    for (const [clientFlags, length] of [
      [3, 10],
      [1, 134],
      [0, 134],
    ] as const) {
      const client = await connect();
      await client.greet(clientFlags);
      client.sendOption(1, Buffer.from('vol'));
      const reply = await client.read(length);
      t.equal(reply.readBigUInt64BE(0), BigInt(testVolumeBytes));
      t.equal(reply.readUInt16BE(8), flags);
      t.ok(reply.subarray(10).every((byte) => byte === 0));
      const data = await client.ask({ type: 0, length: 512, cookie: 7n });
      t.equal(data.cookie, 7n);
      t.equal(data.data.length, 512);
    }
    t.equal(device.attachedCount, 3);
  },
);

t.test('EXPORT_NAME of no export, or too long, ends the connection', async (t) => {
  const { connect } = await startNbdServer(t);
  for (const name of ['no-such', 'x'.repeat(4097)]) {
    const client = await connect();
    await client.greet();
    client.sendOption(1, Buffer.from(name));
    t.equal((await client.rest()).length, 0);
  }
});

t.test('the empty name is the only export, and none when there are two', async (t) => {
  const one = await startNbdServer(t);
  const alone = await one.connect();
  await alone.greet();
  t.equal((await alone.option(6, infoData('', []))).at(-1)?.type, ack);
  const two = await startNbdServer(t, {
    others: [new MemoryDevice({ name: 'other', sizeBytes: 4096 })],
  });
  const client = await two.connect();
  await client.greet();
  t.equal((await client.option(6, infoData('', []))).at(-1)?.type, errorUnknown);
});

t.test('ABORT is acknowledged, with data as well, and the connection closed', async (t) => {
  const { connect, server } = await startNbdServer(t);
  for (const data of ['', 'ignored']) {
    const client = await connect();
    await client.greet();
    t.same(await client.option(2, Buffer.from(data)), [
      { option: 2, type: ack, data: Buffer.alloc(0) },
    ]);
    t.equal((await client.rest()).length, 0);
    client.destroy();
  }
  await pollUntil('connections are gone', () => server.connectionCount() === 0);
});

t.test('LIST names every export with its description, and takes no data', async (t) => {
  const { connect } = await startNbdServer(t, {
    others: [new MemoryDevice({ name: 'zwölf', sizeBytes: 4096, description: 'the other' })],
  });
  const client = await connect();
  await client.greet();
  const replies = await client.option(3);
  t.same(
    replies.map((reply) => [reply.type, reply.data.toString('utf8', 4)]),
    [
      [2, 'volmemory volume vol'],
      [2, 'zwölfthe other'],
      [ack, ''],
    ],
  );
  t.equal(replies[1]?.data.readUInt32BE(0), 6, 'the length of the name counts bytes');
  t.equal((await client.option(3, Buffer.from('x')))[0]?.type, errorInvalid);
  t.equal((await client.option(3)).length, 3, 'haggling goes on after an error');
});

t.test('INFO gives what is asked for, and GO the same, and enters transmission', async (t) => {
  const { connect, device } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  for (const option of [6, 6, 7]) {
    // 9 is no information that exists: it has to be ignored.
    const replies = await client.option(option, infoData('vol', [3, 1, 2, 9, 0]));
    t.same(
      replies.map((reply) => [reply.option, reply.type]),
      [
        [option, 3],
        [option, 3],
        [option, 3],
        [option, 3],
        [option, ack],
      ],
    );
    const infos = new Map(
      replies.slice(0, 4).map(({ data }) => [data.readUInt16BE(0), data.subarray(2)]),
    );
    t.equal(infos.get(0)?.readBigUInt64BE(0), BigInt(testVolumeBytes));
    t.equal(infos.get(0)?.readUInt16BE(8), flags);
    t.equal(infos.get(1)?.toString(), 'vol');
    t.equal(infos.get(2)?.toString(), 'memory volume vol');
    t.same(infos.get(3), Buffer.concat([uint32(1), uint32(4096), uint32(33554432)]));
  }
  t.equal(device.attachedCount, 1);
  t.equal((await client.ask({ type: 3 })).error, 0);
});

t.test('INFO without wishes gives the export alone', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  const replies = await client.option(6, infoData('vol', []));
  t.same(
    replies.map((reply) => reply.type),
    [3, ack],
  );
  t.equal(replies[0]?.data.length, 12);
});

t.test('INFO and GO refuse unknown exports and malformed data, and haggling goes on', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  const malformed = [
    Buffer.alloc(0),
    uint32(0),
    uint32(100),
    Buffer.concat([infoData('vol', []), Buffer.alloc(1)]),
    infoData('vol', [1, 2]).subarray(0, -1),
    Buffer.concat([uint32(0xffffffff), Buffer.from('vol\0\0')]),
    infoData('x'.repeat(4097), []),
  ];
  for (const option of [6, 7]) {
    t.equal((await client.option(option, infoData('other', []))).at(-1)?.type, errorUnknown);
    for (const data of malformed) {
      t.equal((await client.option(option, data)).at(-1)?.type, errorInvalid);
    }
  }
  t.equal((await client.option(7, infoData('vol', []))).at(-1)?.type, ack);
});

t.test(
  'structured replies are acknowledged, also twice, and bring "don\'t fragment"',
  async (t) => {
    const { connect } = await startNbdServer(t);
    const client = await connect();
    await client.greet();
    t.equal((await client.option(8, Buffer.from('x')))[0]?.type, errorInvalid);
    t.equal((await client.option(6, infoData('vol', [])))[0]?.data.readUInt16BE(10), flags);
    t.equal((await client.option(8))[0]?.type, ack);
    t.equal((await client.option(8))[0]?.type, ack);
    t.equal(
      (await client.option(6, infoData('vol', [])))[0]?.data.readUInt16BE(10),
      flagsStructured,
    );
  },
);

t.test('a read-only export says so', async (t) => {
  const { connect } = await startNbdServer(t, { device: { readOnly: true } });
  const client = await connect();
  await client.greet();
  t.equal((await client.option(6, infoData('vol', [])))[0]?.data.readUInt16BE(10), flags | 2);
});

t.test('meta contexts are listed by wildcard, by name and without a query', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  t.equal(
    (await client.option(9, metaContextData('vol', [])))[0]?.type,
    errorInvalid,
    'structured replies come first',
  );
  await client.option(8);
  for (const queries of [[], ['base:'], ['base:allocation'], ['x-y:z', 'base:']]) {
    const replies = await client.option(9, metaContextData('vol', queries));
    t.same(
      replies.map((reply) => [reply.type, reply.data.toString('latin1')]),
      [
        [4, '\0\0\0\0base:allocation'],
        [ack, ''],
      ],
    );
  }
  for (const queries of [['qemu:'], ['base:other'], ['nonsense'], ['']]) {
    const replies = await client.option(9, metaContextData('vol', queries));
    t.same(
      replies.map((reply) => reply.type),
      [ack],
    );
  }
  t.equal((await client.option(9, metaContextData('other', [])))[0]?.type, errorUnknown);
});

t.test('SET_META_CONTEXT selects by full name only', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  t.equal(
    (await client.option(10, metaContextData('vol', ['base:allocation'])))[0]?.type,
    errorInvalid,
  );
  await client.option(8);
  for (const queries of [[], ['base:'], ['base:x'], ['qemu:allocation-depth']]) {
    t.same(
      (await client.option(10, metaContextData('vol', queries))).map((reply) => reply.type),
      [ack],
    );
  }
  const replies = await client.option(10, metaContextData('vol', ['x:y', 'base:allocation']));
  t.equal(replies[0]?.type, 4);
  t.equal(replies[0]?.data.toString('utf8', 4), 'base:allocation');
  t.equal(replies[1]?.type, ack);
  t.equal((await client.option(10, metaContextData('other', [])))[0]?.type, errorUnknown);
});

t.test('malformed meta context data is invalid', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  await client.option(8);
  const good = metaContextData('vol', ['base:allocation']);
  const malformed = [
    Buffer.alloc(0),
    good.subarray(0, -1),
    Buffer.concat([good, Buffer.alloc(1)]),
    Buffer.concat([uint32(3), Buffer.from('vol'), uint32(0xffffffff)]),
    Buffer.concat([uint32(3), Buffer.from('vol'), uint32(1), uint32(0xffffffff)]),
    metaContextData('vol', ['q'.repeat(4097)]),
  ];
  for (const option of [9, 10]) {
    for (const data of malformed) {
      t.equal((await client.option(option, data)).at(-1)?.type, errorInvalid);
    }
  }
});

t.test('block status follows the last SET_META_CONTEXT and the export it named', async (t) => {
  const { connect } = await startNbdServer(t, {
    others: [new MemoryDevice({ name: 'other', sizeBytes: 4096 })],
  });
  const select = (name: string, queries: string[]): [number, Buffer] => [
    10,
    metaContextData(name, queries),
  ];
  const context = ['base:allocation'];
  const cases: [[number, Buffer][], number][] = [
    [[select('vol', context)], 0],
    [[select('other', context), select('vol', context)], 0],
    [[], 22],
    [[select('other', context)], 22],
    [[select('vol', context), select('vol', [])], 22],
    [[select('vol', context), select('no-such', context)], 22],
    [[select('vol', context), [10, Buffer.alloc(3)]], 22],
  ];
  for (const [options, error] of cases) {
    const client = await connect();
    await client.greet();
    await client.option(8);
    for (const [option, data] of options) await client.option(option, data);
    await client.option(7, infoData('vol', []));
    t.equal((await client.ask({ type: 7, length: 4096 })).error, error);
  }
});

t.test('STARTTLS and unknown options are unsupported, and haggling goes on', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  for (const option of [5, 4, 11, 0, 0xffffffff]) {
    const replies = await client.option(option, Buffer.from('data of it'));
    t.same(
      replies.map((reply) => [reply.option, reply.type]),
      [[option, errorUnsupported]],
    );
  }
  t.equal((await client.option(7, infoData('vol', []))).at(-1)?.type, ack);
});

t.test('long option data is skipped without being kept, absurd lengths are not', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  t.equal((await client.option(6, Buffer.alloc(500_000)))[0]?.type, errorTooBig);
  t.equal((await client.option(7, infoData('vol', []))).at(-1)?.type, ack);
  const absurd = await connect();
  await absurd.greet();
  absurd.send(Buffer.from('IHAVEOPT'), uint32(6), uint32(0xffffffff));
  t.equal((await absurd.rest()).length, 0);
});

t.test('a bad option magic ends the connection', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.greet();
  client.send(Buffer.from('IHAVEOPX'), uint32(3), uint32(0));
  t.equal((await client.rest()).length, 0);
});

t.test('options without end end the connection', async (t) => {
  const { connect, log } = await startNbdServer(t, { limits: { optionsMax: 10 } });
  const client = await connect();
  await client.greet();
  for (let count = 0; count < 11; count += 1) client.sendOption(3);
  await client.rest();
  t.match(log.at(-1), { values: { reason: 'too many options' } });
});

t.test('options whose answers are never taken end the connection', async (t) => {
  const { connect, log, server } = await startNbdServer(t, {
    limits: { replyQueueBytesMax: 64 * 1024, optionsMax: 1_000_000 },
    device: { description: 'd'.repeat(4096) },
  });
  const client = await connect();
  await client.greet();
  client.socket.pause();
  for (let count = 0; count < 2000; count += 1) client.sendOption(3);
  await pollUntil('the flood is noticed', () => server.stats().dropped === 1);
  t.match(log.at(-1), { values: { reason: /answers not taken/ } });
});

t.test('a client that says nothing is dropped after the time-out', async (t) => {
  const { connect, log } = await startNbdServer(t, { limits: { handshakeTimeoutMs: 30 } });
  const client = await connect();
  await client.rest();
  t.match(log.at(-1), { values: { reason: 'the handshake took too long' } });
});

t.test('a client past the time-out in transmission stays', async (t) => {
  const { connect } = await startNbdServer(t, { limits: { handshakeTimeoutMs: 200 } });
  const silent = await connect();
  const client = await connect();
  await client.go('vol');
  await silent.rest();
  t.equal((await client.ask({ type: 3 })).error, 0);
});

t.test('the handshake works one byte at a time', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.read(18);
  const bytes = Buffer.concat([
    uint32(3),
    Buffer.from('IHAVEOPT'),
    uint32(8),
    uint32(0),
    Buffer.from('IHAVEOPT'),
    uint32(7),
    uint32(infoData('vol', [1]).length),
    infoData('vol', [1]),
  ]);
  for (const byte of bytes) {
    client.send(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal((await client.readOptionReply()).type, ack);
  t.equal((await client.readOptionReply()).type, 3);
  t.equal((await client.readOptionReply()).type, 3);
  t.equal((await client.readOptionReply()).type, ack);
  t.equal((await client.ask({ type: 3 })).error, 0);
});

t.test('requests that come together with GO are served', async (t) => {
  const { connect } = await startNbdServer(t);
  const client = await connect();
  await client.read(18);
  const go = infoData('vol', []);
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513, 0);
  header.writeUInt16BE(3, 6);
  client.send(uint32(3), Buffer.from('IHAVEOPT'), uint32(7), uint32(go.length), go, header);
  await client.readOptionReply();
  await client.readOptionReply();
  t.equal((await client.reply()).error, 0);
});

t.test('while the server closes, options are refused and ABORT is not', async (t) => {
  const { connect, server } = await startNbdServer(t, { device: { answers: 'held' } });
  const busy = await connect();
  await busy.go('vol');
  busy.request({ type: 0, length: 512 });
  const client = await connect();
  await client.greet();
  await client.option(3);
  const closed = server.close({ graceMs: 60_000 });
  t.equal((await client.option(7, infoData('vol', [])))[0]?.type, errorShutdown);
  t.equal((await client.option(2))[0]?.type, ack);
  busy.destroy();
  await closed;
});

t.test('connections over the limit are closed, and room is reused', async (t) => {
  const { connect, server } = await startNbdServer(t, { limits: { connectionsMax: 2 } });
  const first = await connect();
  const second = await connect();
  await Promise.all([first.go('vol'), second.go('vol')]);
  const third = await connect();
  t.equal((await third.rest()).length, 0);
  t.equal(server.stats().refused, 1);
  first.destroy();
  await pollUntil('there is room', () => server.connectionCount() === 1);
  const fourth = await connect();
  await fourth.go('vol');
  t.equal(server.connectionCount('vol'), 2);
});

t.test('TCP serves as well', async (t) => {
  const { server } = await startNbdServer(t);
  const port = await server.listenTcp('127.0.0.1', 0);
  const client = await RawClient.connect(port);
  t.teardown(() => client.destroy());
  await client.go('vol');
  t.equal((await client.ask({ type: 0, length: 16 })).data.length, 16);
  await t.rejects(server.listenTcp('127.0.0.1', port), { code: 'ERR_NBD_LISTEN' });
});
