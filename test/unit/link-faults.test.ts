/** What a broken or hostile peer can do to a link: nothing but lose its connection. */
import { createServer, type Socket } from 'node:net';
import t from 'tap';
import { randomId } from '../../daemon/system-clock.ts';
import { packDocument } from '../../replication/link/msgpack.ts';
import {
  encodeAck,
  encodeEmpty,
  encodeFrameEnvelope,
  encodeGroup,
  encodeWithBody,
  messageType,
} from '../../replication/link/wire-format.ts';
import { crc32c } from '../../wal/checksum.ts';
import {
  ackOf,
  addressOf,
  handshakeRaw,
  makeFrame,
  makeSite,
  openSession,
  type RawConnection,
  rawPeer,
  startedPair,
  type TestSite,
} from './link-pair.ts';

/** A listening site whose peer, spoken by hand, has session 5 of a group open. */
async function withRawSession(): Promise<{
  site: TestSite;
  control: RawConnection;
  data: RawConnection;
  groupId: string;
}> {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  const groupId = randomId();
  site.link.setWilling(groupId, true);
  const { control, data } = await rawPeer(site);
  data.send(encodeGroup(messageType.open, 5, groupId));
  await site.handler.first('opened');
  return { site, control, data, groupId };
}

function header(type: number, bodyBytes: number, change?: (bytes: Buffer) => void): Buffer {
  const bytes = encodeEmpty(messageType.ping, 5);
  bytes.writeUInt32LE(bodyBytes, 0);
  bytes.writeUInt8(type, 4);
  change?.(bytes);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 20)), 20);
  return bytes;
}

const flipped = (bytes: Buffer, offset: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(offset) ^ 0x10, offset);
  return copy;
};
const frameOf = (groupId: string): Buffer => {
  const frame = makeFrame(groupId, 5000);
  return Buffer.concat([encodeFrameEnvelope(5, 1, frame), ...frame.bytes]);
};
const document = (value: unknown): Buffer =>
  Buffer.concat(encodeWithBody(messageType.pair, 5, [packDocument(value)]));
const body = (bytes: readonly number[]): Buffer =>
  Buffer.concat(encodeWithBody(messageType.pair, 5, [Buffer.from(bytes)]));

const attacks: readonly { name: string; bytes: (groupId: string) => Buffer }[] = [
  { name: 'garbage', bytes: () => Buffer.alloc(1000, 0xaa) },
  { name: 'a flipped bit in a header', bytes: () => flipped(encodeAck(5, ackOf(1)), 9) },
  { name: 'a flipped bit in an ack', bytes: () => flipped(encodeAck(5, ackOf(1)), 33) },
  { name: 'a flipped bit in the number of a frame', bytes: (id) => flipped(frameOf(id), 24) },
  { name: 'a flipped bit in the head of a frame', bytes: (id) => flipped(frameOf(id), 100) },
  { name: 'a flipped bit in the payload of a frame', bytes: (id) => flipped(frameOf(id), 4000) },
  { name: 'an unknown type', bytes: () => header(99, 0) },
  { name: 'a type of the other connection', bytes: () => header(messageType.call, 10) },
  { name: 'a frame that is too long', bytes: () => header(messageType.frame, 0xffff_ffff) },
  { name: 'a document that is too long', bytes: () => header(messageType.pair, 100_000_000) },
  {
    name: 'a frame without envelope',
    bytes: () => Buffer.concat([header(messageType.frame, 3), Buffer.alloc(3)]),
  },
  {
    name: 'a number beyond 2^53',
    bytes: () => header(messageType.opened, 0, (bytes) => bytes.writeUInt32LE(0xffff_ffff, 12)),
  },
  {
    name: 'reserved bits',
    bytes: () => header(messageType.ping, 0, (bytes) => bytes.fill(1, 6, 7)),
  },
  { name: 'an opened from the dialer', bytes: () => encodeEmpty(messageType.opened, 9) },
  {
    name: 'a session number used before',
    bytes: (id) => encodeGroup(messageType.open, 4, id),
  },
  {
    name: 'a second session of a group',
    bytes: (id) => encodeGroup(messageType.open, 6, id),
  },
  {
    name: 'a session number that leaves no room',
    bytes: () => encodeGroup(messageType.open, 2 ** 53 - 1, randomId()),
  },
  { name: 'a frame of another group', bytes: () => frameOf(randomId()) },
  { name: 'a document of no kind', bytes: () => document({ kind: 'hallo' }) },
  { name: 'a document that is a list', bytes: () => document([1, 2]) },
  {
    name: 'a document with a wrong field',
    bytes: () => document({ kind: 'release', epoch: -1, sequence: 1, digest: 'x', alone: 1 }),
  },
  {
    name: 'a document with a field too many',
    bytes: () => document({ kind: 'refuse', code: 'split', text: '', more: 1 }),
  },
  {
    name: 'a list that claims four billion entries',
    bytes: () => body([0xdd, 255, 255, 255, 255]),
  },
  { name: 'a map that claims four billion entries', bytes: () => body([0xdf, 255, 255, 255, 255]) },
  { name: 'deep nesting', bytes: () => body(new Array<number>(100_000).fill(0x91)) },
  { name: 'an extension', bytes: () => body([0xd4, 0x72, 0x40]) },
  { name: 'an empty document', bytes: () => body([]) },
];

for (const attack of attacks) {
  t.test(`${attack.name}: the connection is closed, nothing of it is delivered`, async (t) => {
    const { site, control, data, groupId } = await withRawSession();
    data.send(attack.bytes(groupId));
    await data.until(() => data.closed);
    const { reason } = await site.handler.first('down');
    t.match(reason.code, /^(?:format|protocol)$/);
    t.equal(site.handler.of('closed').length, 1);
    t.equal(site.handler.of('frame').length + site.handler.of('message').length, 0);
    t.equal(control.closed, false, 'calls can still be made');
    control.socket.destroy();
    await site.link.close();
  });
}

t.test('any split of the bytes gives the same messages', async (t) => {
  const { site, control, data, groupId } = await withRawSession();
  data.socket.setNoDelay(true);
  const bytes = Buffer.concat([frameOf(groupId), encodeAck(5, ackOf(2)), frameOf(groupId)]);
  let rounds = 0;
  for (const step of [1, 23, 25, 1000, 7919]) {
    for (let from = 0; from < bytes.length; from += step) {
      data.send(bytes.subarray(from, from + step));
      if (step > 1 || from % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    rounds += 1;
  }
  await site.handler.until(() => site.handler.of('frame').length === 2 * rounds);
  t.equal(site.handler.of('message').length, rounds);
  data.socket.destroy();
  control.socket.destroy();
  await site.link.close();
});

t.test('half a frame, then the end: nothing of it is delivered', async (t) => {
  const { site, control, data, groupId } = await withRawSession();
  data.send(frameOf(groupId).subarray(0, 3000));
  data.socket.end();
  await site.handler.first('closed');
  t.equal(site.handler.of('frame').length, 0);
  control.socket.destroy();
  await site.link.close();
});

t.test('messages of sessions that are not open are dropped silently', async (t) => {
  const { site, control, data } = await withRawSession();
  data.send(encodeAck(4, ackOf(1)));
  data.send(encodeAck(77, ackOf(2)));
  data.send(encodeAck(5, ackOf(3)));
  const told = await site.handler.first('message');
  t.match(told.message, { number: 3 });
  t.equal(site.handler.of('message').length, 1);
  control.socket.destroy();
  await site.link.close();
});

t.test('a second connection of a purpose replaces the first', async (t) => {
  const { site, control, data } = await withRawSession();
  const newer = await handshakeRaw(site, 'data');
  await data.until(() => data.closed);
  await site.handler.until(() => site.handler.of('up').length === 2);
  t.equal(site.handler.of('closed').length, 1, 'its sessions died with it');
  t.equal(control.closed, false);
  const newerControl = await handshakeRaw(site, 'control', { bootId: 'second-life' });
  await control.until(() => control.closed);
  await newer.until(() => newer.closed);
  t.equal(site.handler.up, false, 'losing control ends data as well');
  newerControl.socket.destroy();
  await site.link.close();
});

t.test('a peer that falls silent is noticed', async (t) => {
  const site = makeSite('lux-2', 'lux-1', { timeouts: { pingMs: 10, pingTimeoutMs: 30 } });
  await site.link.start();
  const { control, data } = await rawPeer(site);
  const { reason } = await site.handler.first('down');
  t.equal(reason.code, 'silent');
  await control.until(() => control.closed);
  await data.until(() => data.closed);
  await site.link.close();
});

t.test('a peer that does not read is declared stuck at the limit of the queue', async (t) => {
  const limits = {
    linkQueueBytesMax: 20_000_000,
    linkDrainedBytes: 65_536,
    forwardBytesMax: 1_000_000,
    callBytesMax: 1_000_000,
    documentBytesMax: 1_000_000,
  };
  const site = makeSite('lux-2', 'lux-1', { limits });
  await site.link.start();
  const groupId = randomId();
  site.link.setWilling(groupId, true);
  const { control, data } = await rawPeer(site);
  data.send(encodeGroup(messageType.open, 1, groupId));
  await site.handler.first('opened');
  data.socket.pause();
  let drained = 0;
  const frame = makeFrame(groupId, 1_000_000);
  const sendOn = (): void => {
    if (site.handler.of('down').length > 0) return;
    site.link.sendFrame(1, 1, frame);
    t.ok(site.link.queuedBytes < limits.linkQueueBytesMax + frame.sizeBytes + 100);
    setImmediate(sendOn);
  };
  sendOn();
  const { reason } = await site.handler.first('down');
  t.equal(reason.code, 'stuck');
  site.link.whenDrained(() => {
    drained += 1;
    site.handler.changed();
  });
  await site.handler.until(() => drained === 1);
  data.socket.destroy();
  control.socket.destroy();
  await site.link.close();
});

t.test('a bulk sender that waits for the queue to drain never fills it', async (t) => {
  const pair = await startedPair();
  const groupId = randomId();
  const session = await openSession(pair, groupId);
  const frame = makeFrame(groupId, 1_000_000);
  let sent = 0;
  let queuedMax = 0;
  const pump = (): void => {
    for (let window = 0; window < 4 && sent < 60; window += 1) {
      pair.a.link.sendFrame(session, sent, frame);
      sent += 1;
    }
    queuedMax = Math.max(queuedMax, pair.a.link.queuedBytes);
    if (sent < 60) pair.a.link.whenDrained(pump);
  };
  pump();
  await pair.b.handler.until(() => pair.b.handler.of('frame').length === 60);
  t.ok(queuedMax < 6_000_000);
  await pair.close();
});

t.test('a dialer finds its peer again after both connections broke', async (t) => {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  const target = Number(addressOf(site).split(':').at(-1));
  const sockets = new Set<Socket>();
  const proxy = createServer((socket) => {
    const onward = new (socket.constructor as typeof Socket)().connect(target, '127.0.0.1');
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        socket.destroy();
        onward.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const bound = proxy.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const peer = makeSite('lux-1', 'lux-2', {
    peer: { siteName: 'lux-2', address: `127.0.0.1:${port}` },
  });
  const groupId = randomId();
  peer.link.setWilling(groupId, true);
  site.link.setWilling(groupId, true);
  await peer.link.start();
  for (let life = 1; life <= 3; life += 1) {
    await peer.handler.until(() => peer.handler.of('opened').length === life);
    await site.handler.until(() => site.handler.of('opened').length === life);
    for (const socket of sockets) socket.destroy();
    await peer.handler.until(() => peer.handler.of('closed').length === life);
    await site.handler.until(() => site.handler.of('closed').length === life);
  }
  await peer.handler.until(() => peer.handler.up);
  t.equal(peer.link.stats().reconnects, 3);
  await Promise.all([peer.link.close(), site.link.close()]);
  proxy.close();
});

t.test('a peer that cannot be reached is told once, in words with its address', async (t) => {
  const site = makeSite('lux-1', 'lux-2');
  await site.link.start();
  const { reason } = await site.handler.first('down');
  t.equal(reason.code, 'unreachable');
  t.match(reason.text, 'lux-2 (127.0.0.1:1)');
  await site.link.close();
});
