/** QEMU's tools as clients: qemu-io command by command, qemu-img with whole images. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { siteUri, startTestSite, transports } from '../support/client-site.ts';
import { run, runOk } from '../support/run-command.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const mebibyte = 1024 * 1024;
const sizeBytes = 128 * mebibyte;

const site = await startTestSite({ sizeBytes });
const directory = mkdtempSync(join(tmpdir(), 'casemate-qemu-'));
t.teardown(async () => {
  await site.stop();
  rmSync(directory, { recursive: true });
});

/** Runs qemu-io commands in one connection; fails when any of them does. */
async function qemuIo(uri: string, ...commands: string[]): Promise<string> {
  const parameters = commands.flatMap((command) => ['-c', command]);
  const result = await run('qemu-io', ['-f', 'raw', ...parameters, uri]);
  const output = result.stdout + result.stderr;
  if (result.code !== 0 || /failed|error|mismatch/i.test(output)) throw new Error(output);
  return output;
}

for (const transport of transports) {
  const uri = siteUri(site, transport);

  t.test(`qemu-io over ${transport}: patterns, odd offsets, FUA, vectors`, async (t) => {
    await qemuIo(uri, 'write -P 0x5a 0 1M', 'read -P 0x5a 0 1M', 'flush');
    await qemuIo(uri, 'write -P 7 1234567 54321', 'read -P 7 1234567 54321');
    await qemuIo(uri, 'write -f -P 9 4096 4096', 'read -P 9 4096 4096', 'read -P 0x5a 0 4096');
    await qemuIo(uri, 'writev -P 3 8M 4096 8192 512', 'readv -P 3 8M 12800');
    await qemuIo(uri, 'write -P 0x11 16M 32M', 'read -P 0x11 16M 32M');
    await qemuIo(uri, 'write -P 1 1 1', 'read -P 1 1 1');
    t.pass('all of it came back');
  });

  t.test(`qemu-io over ${transport}: zeroing and discarding`, async (t) => {
    await qemuIo(
      uri,
      'write -P 0x33 64M 4M',
      'write -z 64M 1M',
      'read -P 0 64M 1M',
      'write -z -u 65M 1M',
      'read -P 0 65M 1M',
      'discard 66M 1M',
      'read -P 0x33 67M 1M',
      'write -z 66M 64k',
      'read -P 0 66M 64k',
      'flush',
    );
    t.pass('zeros where they should be');
  });

  t.test(`qemu-io over ${transport}: many requests at the same time`, async (t) => {
    const writes = Array.from(
      { length: 64 },
      (_, index) => `aio_write -P ${index + 1} ${index}M 64k`,
    );
    const reads = Array.from(
      { length: 64 },
      (_, index) => `aio_read -P ${index + 1} ${index}M 64k`,
    );
    await qemuIo(uri, ...writes, 'aio_flush', ...reads, 'aio_flush');
    t.pass('each range has its own pattern');
  });

  t.test(`qemu-img over ${transport}: an image goes in and comes out`, async (t) => {
    const source = join(directory, 'source.raw');
    const image = Buffer.alloc(sizeBytes);
    const random = new SeededRandom(5);
    for (let count = 0; count < 40; count += 1) {
      const block = random.bytes(64 * 1024);
      block.copy(image, random.below(sizeBytes - block.length));
    }
    writeFileSync(source, image);
    await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source, uri]);
    await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, uri]);
    const back = join(directory, 'back.raw');
    await runOk('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, back]);
    t.ok(readFileSync(back).equals(image), 'byte for byte');
    const info: unknown = JSON.parse(
      await runOk('qemu-img', ['info', '--output=json', '-f', 'raw', uri]),
    );
    t.match(info, { 'virtual-size': sizeBytes });
    const map = await runOk('qemu-img', ['map', '--output=json', '-f', 'raw', uri]);
    const extents: { start: number; length: number; data: boolean }[] = JSON.parse(map);
    t.equal(
      extents.reduce((sum, extent) => sum + extent.length, 0),
      sizeBytes,
      'the map covers the volume',
    );
    for (const extent of extents.filter(({ data }) => !data)) {
      const part = image.subarray(extent.start, extent.start + extent.length);
      t.ok(
        part.every((byte) => byte === 0),
        `no data in the hole at ${extent.start}`,
      );
    }
  });
}

t.test('a qcow2 image lives in a volume', async (t) => {
  const uri = site.unixUri;
  await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', uri, '64M']);
  const io = ['-f', 'qcow2', '-c', 'write -P 4 1M 8M', '-c', 'read -P 4 1M 8M', uri];
  await runOk('qemu-io', io);
  await runOk('qemu-img', ['check', '-f', 'qcow2', uri]);
  t.match(await runOk('qemu-img', ['info', uri]), /file format: qcow2/);
});

t.test('an export that does not exist is refused with words', async (t) => {
  const uri = site.unixUri.replace(site.exportName, 'no-such-volume');
  const result = await run('qemu-img', ['info', uri]);
  t.not(result.code, 0);
  t.match(result.stderr, /no-such-volume|not available|no such export/i);
});
