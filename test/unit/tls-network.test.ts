/** TLS between sites: who gets through, and that everybody else gets nothing. */
import { once } from 'node:events';
import { chmodSync, copyFileSync, readFileSync, statSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { parseAddress } from '../../daemon/config/address.ts';
import type { CertificateName } from '../../daemon/pki/certificate-name.ts';
import { includesName } from '../../daemon/pki/certificate-name.ts';
import { TlsCredentials, type TlsFiles, tlsNetwork } from '../../daemon/system-tls.ts';
import type { Stream } from '../../replication/link/network.ts';
import { issueExpired, makePki, pki, tlsFiles } from '../support/certificates.ts';

const root = t.testdir({});
const home = join(root, 'home');
const foreign = join(root, 'foreign');
const lux1: CertificateName = { cluster: 'test', role: 'site', name: 'lux-1' };
const lux2: CertificateName = { cluster: 'test', role: 'site', name: 'lux-2' };

t.before(async () => {
  await makePki(home, 'test', { 'lux-1': 'site', 'lux-2': 'site', 'vm-1': 'client' });
  await pki('issue', '--dir', home, '--cluster', 'other', '--site', 'lux-9');
  await makePki(foreign, 'test', { 'lux-2': 'site' });
  await issueExpired(home, 'late', lux2);
});

interface Served {
  readonly address: string;
  readonly streams: Stream[];
  readonly refusals: string[];
  readonly credentials: TlsCredentials;
}

/** Site lux-1 listens for lux-2, and says "hello" to whoever is taken. */
async function serve(t: Test, files: TlsFiles = tlsFiles(home, 'lux-1')): Promise<Served> {
  const streams: Stream[] = [];
  const refusals: string[] = [];
  const credentials = new TlsCredentials(files, [lux1]);
  const network = tlsNetwork(credentials, {
    dialed: () => lux2,
    accepts: (names) => includesName(names, lux2),
    refused: (_, why) => refusals.push(why),
  });
  const listener = await network.listen('127.0.0.1:0', (stream) => {
    streams.push(stream);
    stream.attach({ data: () => undefined, drained: () => undefined, closed: () => undefined });
    stream.write([Buffer.from('hello')]);
  });
  t.teardown(async () => {
    for (const stream of streams) stream.abort();
    await listener.close();
  });
  return { address: listener.address, streams, refusals, credentials };
}

/** Everything that a connection with these options is sent before it ends, or "hello". */
async function received(address: string, options: ConnectionOptions): Promise<string> {
  const port = parseAddress(address)?.port ?? 0;
  const socket = connectTls({ host: '127.0.0.1', port, ...options, rejectUnauthorized: false });
  return await heard(socket);
}

function heard(socket: ReturnType<typeof connectPlain>): Promise<string> {
  let text = '';
  return new Promise((resolve) => {
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.includes('hello')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(text));
  });
}

const keyPair = ({ certificate, key }: TlsFiles): ConnectionOptions => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
});

t.test('the peer with its certificate is let in, and nobody else hears a byte', async (t) => {
  const { address, streams, refusals } = await serve(t);
  t.equal(await received(address, keyPair(tlsFiles(home, 'lux-2'))), 'hello');
  t.equal(streams.length, 1);
  const others: Record<string, ConnectionOptions> = {
    'no certificate': {},
    'a certificate of another authority': keyPair(tlsFiles(foreign, 'lux-2')),
    'an expired certificate': keyPair(tlsFiles(home, 'late')),
    'a certificate of another cluster': keyPair(tlsFiles(home, 'lux-9')),
    "a client's certificate": keyPair(tlsFiles(home, 'vm-1')),
    'its own certificate': keyPair(tlsFiles(home, 'lux-1')),
    'an older TLS': { ...keyPair(tlsFiles(home, 'lux-2')), maxVersion: 'TLSv1.2' },
  };
  let count = 0;
  for (const [what, options] of Object.entries(others)) {
    t.equal(await received(address, options), '', `${what} gets nothing`);
    count += 1;
    t.equal(refusals.length, count, `${what} is reported: ${refusals.at(-1)}`);
  }
  t.equal(streams.length, 1, 'none of them became a stream');
});

t.test('without TLS nothing is answered', async (t) => {
  const { address, streams } = await serve(t);
  const socket = connectPlain({ host: '127.0.0.1', port: parseAddress(address)?.port ?? 0 });
  await once(socket, 'connect');
  socket.write('CASEMATE and a lot of other words that are no TLS record');
  t.notMatch(await heard(socket), 'hello');
  t.equal(streams.length, 0);
});

t.test('who never finishes the handshake gives way, and keeps nobody out', async (t) => {
  const { address, streams } = await serve(t);
  const port = parseAddress(address)?.port ?? 0;
  const idle = Array.from({ length: 70 }, () => connectPlain({ host: '127.0.0.1', port }));
  t.teardown(() => {
    for (const socket of idle) socket.destroy();
  });
  const ended = idle.slice(0, 6).map((socket) => {
    socket.on('error', () => undefined);
    socket.resume();
    return once(socket, 'close');
  });
  await Promise.all(ended);
  t.equal(idle.filter(({ closed }) => closed).length, 6, 'the oldest, beyond 64');
  t.equal(await received(address, keyPair(tlsFiles(home, 'lux-2'))), 'hello');
  t.equal(streams.length, 1);
});

/** What dialing lux-1, which shows these files, gives to lux-2. */
function dialed(address: string, wanted: CertificateName): Promise<Stream | Error> {
  const credentials = new TlsCredentials(tlsFiles(home, 'lux-2'), [lux2]);
  const network = tlsNetwork(credentials, {
    dialed: () => wanted,
    accepts: () => false,
    refused: () => undefined,
  });
  return new Promise((resolve) => void network.dial(address, resolve));
}

t.test('who is dialed has to be the configured site, with a certificate of its own', async (t) => {
  const right = await serve(t);
  const stream = await dialed(right.address, lux1);
  if (stream instanceof Error) throw stream;
  t.ok(stream.vouchesFor?.('test', 'lux-1'));
  t.notOk(stream.vouchesFor?.('test', 'lux-2'), 'it can say that it is nobody else');
  t.notOk(stream.vouchesFor?.('other', 'lux-1'));
  stream.abort();
  const wrong = await dialed(right.address, { ...lux1, name: 'lux-3' });
  t.match(wrong, { message: /casemate:\/\/test\/site\/lux-1, not casemate:\/\/test\/site\/lux-3/ });
  const cluster = await dialed(right.address, { ...lux1, cluster: 'other' });
  t.match(cluster, { message: /not casemate:\/\/other\/site\/lux-1/ });
});

t.test(
  'certificates are read again without a restart, and a bad one changes nothing',
  async (t) => {
    const used = t.testdir({});
    const files = { ...tlsFiles(used, 'own'), authority: join(home, 'authority.pem') };
    const copy = (from: TlsFiles): void => {
      copyFileSync(from.certificate, files.certificate);
      copyFileSync(from.key, files.key);
    };
    await issueExpired(home, 'ended', lux1);
    copy(tlsFiles(home, 'ended'));
    const served = await serve(t, files);
    t.match(
      await dialed(served.address, lux1),
      { message: /expired/ },
      'an expired one is refused',
    );
    copy(tlsFiles(home, 'lux-1'));
    served.credentials.reload();
    const stream = await dialed(served.address, lux1);
    t.notOk(stream instanceof Error, 'the new one is shown to whoever comes next');
    const endsAtMs = served.credentials.ends[0]?.expiresAtMs ?? 0;
    t.ok(endsAtMs > Date.now());
    copyFileSync(tlsFiles(home, 'lux-2').key, files.key);
    t.throws(() => served.credentials.reload(), { code: 'ERR_CERTIFICATE' }, 'a key of another');
    copy(tlsFiles(home, 'lux-2'));
    t.throws(() => served.credentials.reload(), { code: 'ERR_CERTIFICATE' }, 'another site');
    copy(tlsFiles(home, 'lux-1'));
    chmodSync(files.key, 0o644);
    t.throws(() => served.credentials.reload(), { code: 'ERR_CERTIFICATE' }, 'readable by all');
    const again = await dialed(served.address, lux1);
    t.notOk(again instanceof Error, 'what was good is still used');
    for (const each of [stream, again]) if (!(each instanceof Error)) each.abort();
  },
);

t.test('keys are for their owner only, names and hosts outlive a renewal', async (t) => {
  for (const name of ['authority', 'lux-1', 'vm-1']) {
    t.equal(statSync(join(home, `${name}.key`)).mode & 0o777, 0o600);
  }
  const before = readFileSync(join(home, 'lux-2.pem'), 'utf8');
  await pki('renew', 'lux-2', '--dir', home, '--days', '40');
  t.not(readFileSync(join(home, 'lux-2.pem'), 'utf8'), before);
  const { address } = await serve(t);
  t.equal(await received(address, keyPair(tlsFiles(home, 'lux-2'))), 'hello');
  await t.rejects(pki('init', '--dir', home), /has an authority already/);
  await t.rejects(pki('show', '--dir', home), /pki show --dir .*: 1/, 'an expired one is told');
  await t.rejects(pki('issue', '--dir', home, '--cluster', 'a/b', '--site', 'x'), /is no name/);
  await t.rejects(pki('issue', '--dir', home, '--cluster', 'a', '--site', '../x'), /is no name/);
  t.match(
    await pki('show', '--dir', foreign),
    /lux-2\.pem +casemate:\/\/test\/site\/lux-2 +127\.0\.0\.1 localhost +\S+ +36\d days/,
  );
});
