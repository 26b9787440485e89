/** Who may talk to whom: refusals with both values named on both sides, strangers, half-open. */
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { visit } from '../../daemon/doctor/greet.ts';
import { systemClock } from '../../daemon/system-clock.ts';
import { systemNetwork } from '../../daemon/system-network.ts';
import type { LinkReason } from '../../replication/link/errors.ts';
import { encodeGreeting, encodeRefused } from '../../replication/link/handshake-format.ts';
import { protocolVersion } from '../../replication/link/wire-format.ts';
import {
  addressOf,
  dialRaw,
  greetingFor,
  handshakeRaw,
  makeSite,
  rawPeer,
  startedPair,
  startPair,
} from './link-pair.ts';

const storeOne = '1'.repeat(32);
const storeTwo = '2'.repeat(32);

const refusals: readonly {
  name: string;
  code: string;
  a: Parameters<typeof startPair>[0];
  b: Parameters<typeof startPair>[1];
  values: readonly string[];
}[] = [
  {
    name: 'another cluster',
    code: 'cluster-id',
    a: { own: { clusterId: 'east' } },
    b: { own: { clusterId: 'west' } },
    values: ['"east"', '"west"'],
  },
  {
    name: 'a site of another name',
    code: 'site-name',
    a: { own: { siteName: 'ant-9' } },
    b: {},
    values: ['"lux-1"', '"ant-9"'],
  },
  {
    name: 'a copy of the own store',
    code: 'same-store',
    a: { own: { storeId: storeOne } },
    b: { own: { storeId: storeOne } },
    values: [storeOne],
  },
  {
    name: 'a store that the listening site does not know',
    code: 'peer-store',
    a: { own: { storeId: storeOne } },
    b: { acceptsPeerStore: () => `the register has ${storeTwo}` },
    values: [storeOne, storeTwo],
  },
  {
    name: 'a store that the dialing site does not know',
    code: 'peer-store',
    a: { acceptsPeerStore: () => `the register has ${storeOne}` },
    b: { own: { storeId: storeTwo } },
    values: [storeOne, storeTwo],
  },
];

for (const refusal of refusals) {
  t.test(`${refusal.name} is refused in words that name both values, on both sides`, async (t) => {
    const pair = await startPair(refusal.a, refusal.b);
    for (const { handler } of [pair.a, pair.b]) {
      const { reason } = await handler.first('down', (told) => told.reason.code === refusal.code);
      for (const value of refusal.values) t.match(reason.text, value);
      t.equal(handler.of('up').length, 0);
    }
    await pair.close();
  });
}

t.test('the same refusal again and again is told once', async (t) => {
  let attempts = 0;
  const pair = await startPair(
    {},
    {
      acceptsPeerStore: () => {
        attempts += 1;
        if (attempts === 4) pair.b.handler.changed();
        return 'not this one';
      },
    },
  );
  await pair.b.handler.until(() => attempts >= 4);
  t.equal(pair.a.handler.of('down').length, 1);
  await pair.close();
});

const otherVersions = [
  { version: protocolVersion + 1, older: 'lux-2' },
  { version: protocolVersion + 76, older: 'lux-2' },
  { version: protocolVersion - 1, older: 'lux-1' },
];

for (const { version, older } of otherVersions) {
  const words =
    `protocol version differs: lux-2 speaks version ${protocolVersion}, lux-1 speaks version ` +
    `${version}; upgrade ${older} first`;

  t.test(`a site that speaks version ${version} is told both, and which to upgrade`, async (t) => {
    const site = makeSite('lux-2', 'lux-1');
    await site.link.start();
    const raw = dialRaw(site);
    raw.send(encodeGreeting(version, greetingFor(site, 'control')));
    await raw.until(() => raw.closed);
    t.same(refusalIn(raw.packets), { code: 'protocol-version', text: words });
    const told = await site.handler.first('down');
    t.match(told.reason.text, words);
    await site.link.close();
  });

  t.test(`a listening site of version ${version} is understood when it refuses`, async (t) => {
    const listener = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(encodeRefused(version, { code: 'protocol-version', text: words }));
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as AddressInfo;
    const address = `127.0.0.1:${port}`;
    const site = makeSite('lux-1', 'lux-2', { peer: { siteName: 'lux-2', address } });
    await site.link.start();
    const told = await site.handler.first('down', ({ reason }) => reason.text.includes('version'));
    t.equal(told.reason.code, 'protocol-version');
    t.match(told.reason.text, words);
    const visited = await visit({
      network: systemNetwork,
      clock: systemClock,
      timeoutMs: 10_000,
      to: { role: 'site', name: 'lux-2', key: 'peer.address', address },
      rules: { ...site.options, peerSiteName: 'lux-2', lastSession: () => 0 },
    });
    t.same(visited, { kind: 'refused', text: words }, 'by the doctor as well');
    await site.link.close();
    listener.close();
  });
}

t.test('data before control is refused, so both are of one life of the peer', async (t) => {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  const early = await handshakeRaw(site, 'data');
  await early.until(() => early.closed);
  t.equal(refusalIn(early.packets)?.code, 'no-control');
  t.equal(site.handler.of('up').length, 0);
  const { control } = await rawPeer(site);
  const other = await handshakeRaw(site, 'data', { bootId: 'another-life' });
  await other.until(() => other.closed);
  t.match(refusalIn(other.packets)?.text, 'another-life');
  t.equal(control.closed, false);
  t.equal(site.handler.of('up').length, 1);
  control.socket.destroy();
  await site.link.close();
});

t.test('bytes that are not of a Casemate site end the connection without an answer', async (t) => {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(100_000, 0xff),
    Buffer.from('CASEMATf'),
    hostileGreeting((bytes) => bytes.writeUInt32LE(0xffff_ffff, 16)),
    hostileGreeting((bytes) => bytes.writeUInt8(9, 12)),
    hostileGreeting((bytes) => bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40)),
  ]) {
    const raw = dialRaw(site);
    raw.send(bytes);
    await raw.until(() => raw.closed);
    t.equal(raw.packets.length, 0);
  }
  t.equal(site.handler.of('notice').length, 1, 'and the log is not flooded');
  t.equal(site.handler.of('down').length, 0);

  function hostileGreeting(change: (bytes: Buffer) => void): Buffer {
    const bytes = encodeGreeting(protocolVersion, greetingFor(site, 'control'));
    change(bytes);
    return bytes;
  }
  await site.link.close();
});

t.test('a handshake that arrives byte by byte is understood', async (t) => {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  const raw = dialRaw(site);
  raw.socket.setNoDelay(true);
  for (const byte of encodeGreeting(protocolVersion, greetingFor(site, 'control'))) {
    raw.send(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await raw.until(() => raw.packets.length > 0);
  t.equal(raw.packets[0]?.kind, 'greeting');
  raw.socket.destroy();
  await site.link.close();
});

t.test('a silent connection is closed when the handshake takes too long', async (t) => {
  const site = makeSite('lux-2', 'lux-1', { timeouts: { handshakeMs: 20 } });
  await site.link.start();
  const raw = dialRaw(site);
  await raw.until(() => raw.closed);
  const { reason } = await site.handler.first('notice');
  t.equal(reason.code, 'handshake-timeout');
  await site.link.close();
});

t.test(
  'the oldest of too many half-open connections gives way, and the peer gets in',
  async (t) => {
    const site = makeSite('lux-2', 'lux-1', {
      limits: { halfOpenConnectionsMax: 3 },
      timeouts: { handshakeMs: 600_000 },
    });
    await site.link.start();
    const strangers = Array.from({ length: 5 }, () => dialRaw(site));
    await strangers[0]?.until(() => strangers[0]?.closed === true);
    const peer = makeSite('lux-1', 'lux-2', {
      peer: { siteName: 'lux-2', address: addressOf(site) },
    });
    await peer.link.start();
    await peer.handler.first('up');
    t.ok(strangers.filter((stranger) => stranger.closed).length >= 2);
    await Promise.all([peer.link.close(), site.link.close()]);
  },
);

t.test('both sides learn who the other is', async (t) => {
  const pair = await startedPair();
  const [told] = pair.a.handler.of('up');
  const { storeId, bootId } = pair.b.options.own;
  t.same(told?.peer, { siteName: 'lux-2', storeId, bootId, softwareVersion: '0.1.0' });
  await pair.close();
});

t.test('an address that is taken is refused at the start', async (t) => {
  const site = makeSite('lux-2', 'lux-1');
  await site.link.start();
  const second = makeSite('lux-2', 'lux-1', { listen: addressOf(site) });
  await t.rejects(second.link.start(), { code: 'ERR_LINK_LISTEN' });
  await Promise.all([site.link.close(), second.link.close()]);
});

t.test('limits that contradict each other are refused with the reason', async (t) => {
  t.throws(() => makeSite('lux-1', 'lux-2', { limits: { linkQueueBytesMax: 1 } }), {
    code: 'ERR_LINK_OPTIONS',
    message: /linkQueueBytesMax/,
  });
  t.throws(() => makeSite('lux-1', 'lux-1'), { code: 'ERR_LINK_OPTIONS' });
});

function refusalIn(
  packets: readonly { kind: string; reason?: LinkReason }[],
): LinkReason | undefined {
  return packets.find((packet) => packet.kind === 'refused')?.reason;
}
