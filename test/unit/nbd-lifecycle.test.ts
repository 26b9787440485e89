/** Connections that end in every way, the server's own end, and the files of Unix sockets. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { NbdServer } from '../../daemon/nbd/server.ts';
import { MemoryDevice, memoryExports } from '../support/memory-device.ts';
import { encodeRequest, RawClient } from '../support/nbd-raw-client.ts';
import { startNbdServer } from '../support/nbd-test-server.ts';
import { pollUntil } from '../support/poll.ts';

const read = 0;
const write = 1;
const flush = 3;

t.test('requests of a connection that is gone are completed into the void', async (t) => {
  const { connect, device, server } = await startNbdServer(t, { device: { answers: 'held' } });
  const port = await server.listenTcp('127.0.0.1', 0);
  for (const end of ['destroy', 'reset', 'end'] as const) {
    const client = end === 'reset' ? await RawClient.connect(port) : await connect();
    await client.go('vol');
    client.request({ type: write, payload: Buffer.alloc(4096, 3) });
    client.request({ type: read, length: 100_000 });
    client.request({ type: flush });
    // A header and half of its payload: never to be completed.
    client.send(encodeRequest({ type: write, payload: Buffer.alloc(4096) }).subarray(0, 2000));
    await pollUntil('all are held', () => device.held.length === 3);
    t.ok(device.held.every((request) => request.connected));
    if (end === 'end') client.socket.end();
    else if (end === 'reset') client.socket.resetAndDestroy();
    else client.destroy();
    await pollUntil('the client is gone', () => server.connectionCount() === 0);
    t.ok(device.held.every((request) => !request.connected));
    t.equal(device.attachedCount, 0);
    t.ok(server.stats().bytesInFlight >= 4096 + 100_000, 'what the device holds still counts');
    device.answerAll();
    t.equal(server.stats().bytesInFlight, 0);
  }
});

t.test('a client that leaves while its socket is not read is noticed', async (t) => {
  const { connect, device, server } = await startNbdServer(t, {
    device: { answers: 'held', heldMax: 4 },
  });
  const port = await server.listenTcp('127.0.0.1', 0);
  for (const transport of ['unix', 'tcp'] as const) {
    const client = transport === 'tcp' ? await RawClient.connect(port) : await connect();
    await client.go('vol');
    for (let index = 0; index < 20; index += 1) {
      client.request({ type: write, payload: Buffer.alloc(4096, 1) });
    }
    const before = server.stats().slowedDown;
    await pollUntil('the device is congested', () => device.congested);
    await pollUntil(
      'the socket is not read',
      () => server.stats().slowedDown > before || before > 0,
    );
    t.ok(device.held.every((request) => request.connected));
    client.destroy();
    await pollUntil('it is noticed', () => device.held[0]?.connected === false);
    t.ok(device.held.every((request) => !request.connected));
    await pollUntil('the connection is closed', () => server.connectionCount() === 0);
    device.answerAll();
    t.equal(server.stats().bytesInFlight, 0);
  }
});

t.test('request objects that were used before carry nothing over', async (t) => {
  const { connect, device } = await startNbdServer(t, { device: { answers: 'held' } });
  const client = await connect();
  await client.go('vol');
  client.request({ type: write, payload: Buffer.alloc(512, 1) });
  await pollUntil('it is held', () => device.held.length === 1);
  const [first] = device.held;
  const payload = first?.payload;
  device.answer();
  t.equal((await client.reply()).error, 0);
  t.equal(payload?.[0]?.[0], 1, 'a payload outlives its request');
  client.request({ type: flush });
  await pollUntil('it is held', () => device.held.length === 1);
  const [second] = device.held;
  t.equal(second, first, 'the object is used again');
  t.same([second?.payload, second?.lengthBytes, second?.extents], [[], 0, []]);
  device.answer();
});

t.test('closing finishes what is in flight and refuses what still comes', async (t) => {
  const { connect, device, server, socketPath } = await startNbdServer(t, {
    device: { answers: 'held' },
  });
  const client = await connect();
  await client.go('vol', { structured: true });
  const idle = await connect();
  await idle.go('vol');
  client.request({ type: write, payload: Buffer.alloc(512, 6), cookie: 1n });
  await pollUntil('it is held', () => device.held.length === 1);
  const closed = server.close({ graceMs: 60_000 });
  t.equal((await idle.rest()).length, 0, 'a connection without requests is closed at once');
  await t.rejects(RawClient.connect(socketPath), 'nobody listens any more');
  t.notOk(existsSync(socketPath), 'the socket file is gone');
  client.request({ type: write, payload: Buffer.alloc(512, 7), cookie: 2n });
  const refused = await client.reply();
  t.same([refused.cookie, refused.error], [2n, 108]);
  device.answerAll();
  const answered = await client.reply();
  t.same([answered.cookie, answered.error], [1n, 0]);
  t.equal((await client.rest()).length, 0);
  await closed;
  t.equal(device.data[0], 6);
  t.equal(server.connectionCount(), 0);
  await server.close({ graceMs: 0 });
});

t.test('what is held longer than the grace is answered with a shutdown if asked', async (t) => {
  for (const answerHeld of [true, false]) {
    const { connect, device, server } = await startNbdServer(t, { device: { answers: 'held' } });
    const client = await connect();
    await client.go('vol', { structured: true });
    client.request({ type: write, payload: Buffer.alloc(512), cookie: 1n });
    client.request({ type: read, length: 512, cookie: 2n });
    await pollUntil('both are held', () => device.held.length === 2);
    const closed = server.close({ graceMs: 10, answerHeld });
    if (answerHeld) {
      for (const cookie of [1n, 2n]) {
        const reply = await client.reply();
        t.same([reply.cookie, reply.error], [cookie, 108]);
      }
    }
    t.equal((await client.rest()).length, 0);
    await closed;
    t.ok(device.held.every((request) => !request.connected));
    device.answerAll();
    t.equal(server.stats().bytesInFlight, 0);
  }
});

t.test('clients of an export that is removed are closed, others are not', async (t) => {
  const other = new MemoryDevice({ name: 'other', sizeBytes: 4096 });
  const { connect, device, server } = await startNbdServer(t, {
    device: { answers: 'held' },
    others: [other],
  });
  const client = await connect();
  await client.go('vol');
  const staying = await connect();
  await staying.go('other');
  client.request({ type: read, length: 512, cookie: 4n });
  await pollUntil('it is held', () => device.held.length === 1);
  server.disconnectExport('vol');
  const reply = await client.reply();
  t.same([reply.cookie, reply.error], [4n, 108]);
  await client.rest();
  client.destroy();
  await pollUntil('it is gone', () => server.connectionCount('vol') === 0);
  t.equal(server.connectionCount('other'), 1);
  t.equal((await staying.ask({ type: flush })).error, 0);
  device.answerAll();
});

t.test('a client that does not close its side is closed after the linger time', async (t) => {
  const { connect, server } = await startNbdServer(t, { limits: { lingerMs: 20 } });
  const client = await connect();
  await client.go('vol');
  client.socket.pause();
  client.request({ type: 2 });
  await pollUntil('it is gone', () => server.connectionCount() === 0);
  t.pass('it was closed');
});

t.test('a Unix socket is for owner and group, and a served one is left alone', async (t) => {
  const { socketPath } = await startNbdServer(t);
  t.equal(statSync(socketPath).mode & 0o777, 0o660);
  const second = new NbdServer({
    exports: memoryExports(new MemoryDevice({ name: 'x', sizeBytes: 512 })),
    nowMs: () => performance.now(),
  });
  await t.rejects(second.listenUnix(socketPath), { code: 'ERR_NBD_SOCKET_IN_USE' });
  const client = await RawClient.connect(socketPath);
  await client.go('vol');
  client.destroy();
});

t.test('the socket file of a dead process is replaced, other files are not', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-nbd-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'nbd.sock');
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
  ]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
  t.ok(existsSync(path), 'it left its socket file');
  const server = new NbdServer({
    exports: memoryExports(new MemoryDevice({ name: 'vol', sizeBytes: 4096 })),
    nowMs: () => performance.now(),
  });
  await server.listenUnix(path);
  const client = await RawClient.connect(path);
  await client.go('vol');
  client.destroy();
  await server.close({ graceMs: 1000 });
  t.notOk(existsSync(path));
  writeFileSync(path, 'precious');
  await t.rejects(server.listenUnix(path), { code: 'ERR_NBD_SOCKET_PATH' });
  t.equal(statSync(path).size, 8);
  const long = join(directory, 'x'.repeat(100));
  await t.rejects(server.listenUnix(long), { code: 'ERR_NBD_SOCKET_PATH' });
});
