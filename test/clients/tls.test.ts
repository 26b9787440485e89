/** STARTTLS of the NBD server with real clients: nbdinfo, nbdcopy, qemu-img. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type AccessLists, ClientAccess } from '../../daemon/nbd/client-access.ts';
import { NbdServer } from '../../daemon/nbd/server.ts';
import { TlsCredentials } from '../../daemon/system-tls.ts';
import { clientTls } from '../../daemon/tls-wiring.ts';
import { issueExpired, makePki, pki, tlsFiles } from '../support/certificates.ts';
import { MemoryDevice, memoryExports } from '../support/memory-device.ts';
import { run } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

/** A server of a volume "vol" of 8 MiB over TCP, and directories of certificates for clients. */
async function setUp(
  t: Test,
  tls: 'required' | 'offered',
  lists: Partial<AccessLists> = { write: ['127.0.0.1'] },
) {
  const directory = scratchDirectory(t);
  const home = join(directory, 'home');
  await makePki(home, 'test', { 'lux-1': 'site', 'vm-1': 'client' });
  await pki('issue', '--dir', home, '--cluster', 'other', '--client', 'vm-9');
  await issueExpired(home, 'late', { cluster: 'test', role: 'client', name: 'vm-1' });
  const foreign = join(directory, 'foreign');
  await makePki(foreign, 'test', { 'vm-1': 'client' });
  const device = new MemoryDevice({ name: 'vol', sizeBytes: 8 * 1024 * 1024 });
  const reasons: string[] = [];
  const server = new NbdServer({
    exports: memoryExports(device),
    access: new ClientAccess({ vol: { write: [], read: [], ...lists } }),
    logger: { info: () => undefined, warn: (values) => reasons.push(JSON.stringify(values)) },
    nowMs: () => performance.now(),
  });
  t.teardown(() => server.close({ graceMs: 0 }));
  const credentials = new TlsCredentials(tlsFiles(home, 'lux-1'), [
    { cluster: 'test', role: 'site', name: 'lux-1' },
  ]);
  const wiring = clientTls({ config: { cluster: 'test', nbd: { tls } }, credentials });
  const port = await server.listenTcp('127.0.0.1', 0, wiring);
  /** A directory as libnbd and QEMU want it; the server's authority is always trusted. */
  const clientDirectory = (from: string, name?: string): string => {
    const path = join(directory, `client-${from === home ? 'home' : 'foreign'}-${name}`);
    mkdirSync(path);
    copyFileSync(join(home, 'authority.pem'), join(path, 'ca-cert.pem'));
    if (name === undefined) return path;
    copyFileSync(join(from, `${name}.pem`), join(path, 'client-cert.pem'));
    copyFileSync(join(from, `${name}.key`), join(path, 'client-key.pem'));
    return path;
  };
  const uri = (certificates: string): string =>
    `nbds://127.0.0.1:${port}/vol?tls-certificates=${certificates}`;
  return { directory, home, foreign, device, port, reasons, clientDirectory, uri };
}

t.test('clients with a certificate of the cluster get in, others get nothing', async (t) => {
  const { directory, home, foreign, port, reasons, clientDirectory, uri } = await setUp(
    t,
    'required',
  );
  const good = clientDirectory(home, 'vm-1');
  const info = await run('nbdinfo', [uri(good)]);
  t.match(info.stdout, /protocol: newstyle-fixed with TLS/, info.stderr);
  t.match(info.stdout, /export-size: 8388608/);

  const image = join(directory, 'image');
  const back = join(directory, 'back');
  writeFileSync(image, Buffer.alloc(8 * 1024 * 1024, 'Casemate over TLS. '));
  t.match(await run('nbdcopy', [image, uri(good)]), { code: 0 });
  t.match(await run('nbdcopy', [uri(good), back]), { code: 0 });
  t.ok(readFileSync(image).equals(readFileSync(back)), 'nbdcopy reads what it wrote');

  const credentials = `tls-creds-x509,id=tls0,endpoint=client,dir=${good}`;
  const place =
    'driver=nbd,server.type=inet,server.host=127.0.0.1,' +
    `server.port=${port},export=vol,tls-creds=tls0`;
  const compare = ['compare', '--object', credentials, '--image-opts', place];
  const same = await run('qemu-img', [...compare, `driver=raw,file.filename=${image}`]);
  t.match(same, { code: 0 }, same.stderr);

  const wrong: Record<string, string> = {
    none: clientDirectory(home),
    'of another authority': clientDirectory(foreign, 'vm-1'),
    expired: clientDirectory(home, 'late'),
    'of another cluster': clientDirectory(home, 'vm-9'),
    "a site's": clientDirectory(home, 'lux-1'),
  };
  for (const [what, certificates] of Object.entries(wrong)) {
    const count = reasons.length;
    const refused = await run('nbdinfo', [uri(certificates)]);
    t.not(refused.code, 0, `certificate ${what}: refused`);
    t.notMatch(refused.stdout, 'export-size', 'and told nothing');
    t.equal(reasons.length, count + 1, `and logged: ${reasons.at(-1)}`);
  }
  const plain = await run('qemu-img', ['info', `nbd://127.0.0.1:${port}/vol`]);
  t.not(plain.code, 0);
  t.match(plain.stderr, /TLS/i, 'without TLS: told to use it, and nothing else');
  t.notMatch(
    plain.stdout + (await run('nbdinfo', ['--list', `nbd://127.0.0.1:${port}`])).stdout,
    'vol',
  );
  t.match(await run('nbdinfo', [uri(good)]), { code: 0 }, 'the server goes on serving');
});

t.test('offered: with or without TLS, but never with a wrong certificate', async (t) => {
  const { home, foreign, port, clientDirectory, uri } = await setUp(t, 'offered');
  const plain = await run('nbdinfo', [`nbd://127.0.0.1:${port}/vol`]);
  t.match(plain.stdout, /without TLS/, plain.stderr);
  const secure = await run('nbdinfo', [uri(clientDirectory(home, 'vm-1'))]);
  t.match(secure.stdout, /with TLS/, secure.stderr);
  t.not((await run('nbdinfo', [uri(clientDirectory(foreign, 'vm-1'))])).code, 0);
});

t.test('to whom a volume does not list it is not there, and some may only read', async (t) => {
  const { directory, home, device, port, reasons, clientDirectory, uri } = await setUp(
    t,
    'offered',
    {
      write: ['vm-1'],
      read: ['vm-2', '192.0.2.0/24', 'unix'],
    },
  );
  for (const name of ['vm-2', 'vm-3']) {
    await pki('issue', '--dir', home, '--cluster', 'test', '--client', name);
  }
  const [writer, reader, other] = ['vm-1', 'vm-2', 'vm-3'].map((name) => {
    return uri(clientDirectory(home, name));
  });
  t.match((await run('nbdinfo', [`${writer}`])).stdout, /is_read_only: false/);
  t.match((await run('nbdinfo', [`${reader}`])).stdout, /is_read_only: true/);
  for (const stranger of [`${other}`, `nbd://127.0.0.1:${port}/vol`]) {
    const refused = await run('nbdinfo', [stranger]);
    t.not(refused.code, 0);
    t.notMatch(refused.stdout, 'export-size');
    t.match(reasons.at(-1), '"volume":"vol"', 'the operator is told');
    const listed = await run('nbdinfo', ['--list', stranger.replace('/vol', '/')]);
    t.notMatch(listed.stdout, 'export="vol"', 'it is not listed either');
  }
  const image = join(directory, 'image');
  writeFileSync(image, Buffer.alloc(8 * 1024 * 1024, 'not for readers'));
  t.not((await run('nbdcopy', [image, `${reader}`])).code, 0, 'a reader writes nothing');
  const socketPath = join(directory, 'nbd.sock');
  const server = new NbdServer({
    exports: memoryExports(device),
    access: new ClientAccess({ vol: { write: ['10.0.0.0/8'], read: ['unix'] } }),
    nowMs: () => performance.now(),
  });
  t.teardown(() => server.close({ graceMs: 0 }));
  await server.listenUnix(socketPath);
  const info = await run('nbdinfo', [`nbd+unix:///vol?socket=${socketPath}`]);
  t.match(info.stdout, /is_read_only: true/, 'the Unix socket has an entry of its own');
});

t.test('networks are matched by their bits, in both families', async (t) => {
  const access = new ClientAccess({
    vol: { write: ['10.1.0.0/16', '2001:db8::/32'], read: ['127.0.0.1'] },
  });
  const of = (address: string | undefined, ...names: string[]) =>
    access.of('vol', { address, names });
  t.equal(of('10.1.255.1'), 'write');
  t.equal(of('::ffff:10.1.0.1'), 'write', 'a socket for both families shows it so');
  t.equal(of('10.2.0.1'), 'none');
  t.equal(of('2001:db8:1::1'), 'write');
  t.equal(of('2001:db9::1'), 'none');
  t.equal(of('127.0.0.1'), 'read');
  t.equal(of(undefined), 'none', 'a Unix socket');
  t.equal(of('192.0.2.1', '127.0.0.1'), 'none', 'a name is no address');
  t.equal(access.of('other', { address: undefined, names: [] }), 'write', 'no lists: open');
});

t.test('what is sent behind STARTTLS in plain text ends the connection', async (t) => {
  const { port, reasons } = await setUp(t, 'required');
  const socket = connect({ host: '127.0.0.1', port });
  const option = (code: number): Buffer => {
    const bytes = Buffer.from('49484156454f50540000000000000000', 'hex');
    bytes.writeUInt32BE(code, 8);
    return bytes;
  };
  socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), option(5), option(3)]));
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  t.match(reasons, [/before TLS had begun/]);
});
