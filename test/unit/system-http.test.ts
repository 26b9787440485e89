/** The HTTP port on Node's client, against a server that misbehaves. */
import { createServer, type RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { SystemHttp } from '../../daemon/system-http.ts';

async function serve(t: Test, answer: RequestListener) {
  const sockets = new Set<Socket>();
  const server = createServer({ keepAlive: true }, answer);
  server.keepAliveTimeout = 0;
  let connections = 0;
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const http = new SystemHttp();
  t.teardown(() => {
    http.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('it listens');
  const url = `http://127.0.0.1:${address.port}/`;
  const post = (timeoutMs = 20_000) => http.post({ url, headers: {}, body: 'ask', timeoutMs });
  return { post, http, url, server, sockets, connections: () => connections };
}

t.test('requests follow each other on one connection', async (t) => {
  const { post, connections } = await serve(t, (request, response) => {
    request.on('data', (chunk) => response.write(chunk));
    request.on('end', () => response.end('!'));
  });
  for (let count = 0; count < 3; count += 1) t.same(await post(), { status: 200, body: 'ask!' });
  t.equal(connections(), 1);
});

t.test('a kept connection that the server has closed is not held against it', async (t) => {
  let asked = 0;
  const { post, connections } = await serve(t, (request, response) => {
    asked += 1;
    // What is sent on the kept connection finds it gone.
    if (asked === 2) request.socket.resetAndDestroy();
    else response.end('here');
  });
  await post();
  t.same(await post(), { status: 200, body: 'here' });
  t.equal(connections(), 2);
  t.equal(asked, 3, 'it was sent again');
});

t.test('a server that resets every connection does not answer', async (t) => {
  const { post, connections } = await serve(t, (request) => request.socket.resetAndDestroy());
  await t.rejects(post(), { code: 'ECONNRESET' });
  t.equal(connections(), 1, 'and is not asked again and again');
});

t.test('no answer in time, or none in whole, is none', async (t) => {
  const silent = await serve(t, () => undefined);
  await t.rejects(silent.post(50), { message: 'no answer within 50 ms' });
  const stalled = await serve(t, (_, response) => void response.write('begun'));
  await t.rejects(stalled.post(50), { message: 'no answer within 50 ms' });
  const cut = await serve(t, (request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('begun', () => request.socket.destroy());
  });
  await t.rejects(cut.post(), { message: /closed|aborted|reset/i });
});

t.test('an answer without end is cut off', async (t) => {
  const { post } = await serve(t, (_, response) => {
    const more = (): void => {
      if (!response.destroyed) response.write('x'.repeat(65_536), more);
    };
    more();
  });
  await t.rejects(post(), { message: /its answer is longer than 1048576 bytes/ });
});

t.test('nobody listens', async (t) => {
  const { post, server } = await serve(t, () => undefined);
  server.close();
  await t.rejects(post(), { code: 'ECONNREFUSED' });
});
