/** libnbd's tools as clients: nbdinfo, nbdcopy, and nbdsh for what the others never send. */
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
const directory = mkdtempSync(join(tmpdir(), 'casemate-libnbd-'));
t.teardown(async () => {
  await site.stop();
  rmSync(directory, { recursive: true });
});

/** Runs Python with a connected handle `h`, or an unconnected one if there is no URI. */
async function nbdsh(uri: string | undefined, script: string): Promise<string> {
  // nbdsh starts the first python3 of the path; the module belongs to the system's.
  const environment = { PATH: `/usr/bin:${process.env['PATH'] ?? ''}` };
  const parameters = [...(uri === undefined ? [] : ['-u', uri]), '-c', script];
  return await runOk('nbdsh', parameters, { environment });
}

for (const transport of transports) {
  const uri = siteUri(site, transport);

  t.test(`nbdinfo over ${transport} sees all that is offered`, async (t) => {
    const info: unknown = JSON.parse(await runOk('nbdinfo', ['--json', uri]));
    t.match(info, {
      protocol: 'newstyle-fixed',
      TLS: false,
      structured: true,
      exports: [
        {
          'export-name': site.exportName,
          'export-size': sizeBytes,
          contexts: ['base:allocation'],
          is_read_only: false,
          can_cache: true,
          can_df: true,
          can_fast_zero: true,
          can_flush: true,
          can_fua: true,
          can_multi_conn: true,
          can_trim: true,
          can_zero: true,
          block_size_minimum: 1,
          block_size_preferred: 4096,
          block_size_maximum: 33554432,
        },
      ],
    });
    const server = uri.replace(`/${site.exportName}`, '/');
    const list: unknown = JSON.parse(await runOk('nbdinfo', ['--json', '--list', server]));
    t.match(list, { exports: [{ 'export-name': site.exportName }] });
    t.equal((await runOk('nbdinfo', ['--size', uri])).trim(), String(sizeBytes));
    for (const what of ['connect', 'write', 'multi-conn', 'structured-reply']) {
      t.equal((await run('nbdinfo', ['--can', what, uri])).code, 0, what);
    }
    t.equal((await run('nbdinfo', ['--is', 'read-only', uri])).code, 2);
    t.equal((await run('nbdinfo', ['--is', 'tls', uri])).code, 2);
  });

  t.test(`nbdcopy over ${transport} by several connections, and the map of it`, async (t) => {
    const image = Buffer.alloc(sizeBytes);
    const random = new SeededRandom(9);
    for (let at = 0; at < sizeBytes; at += 8 * mebibyte) random.bytes(mebibyte).copy(image, at);
    const source = join(directory, 'source.raw');
    writeFileSync(source, image);
    await runOk('nbdcopy', ['--flush', '--connections=4', '--requests=64', source, uri]);
    const back = join(directory, 'back.raw');
    await runOk('nbdcopy', ['--connections=4', uri, back]);
    t.ok(readFileSync(back).equals(image), 'byte for byte');
    const map = await runOk('nbdinfo', ['--map', '--json', uri]);
    const extents: { offset: number; length: number; type: number }[] = JSON.parse(map);
    t.equal(
      extents.reduce((sum, extent) => sum + extent.length, 0),
      sizeBytes,
    );
    for (const { offset, length, type } of extents) {
      if ((type & 2) === 0) continue;
      const part = image.subarray(offset, offset + length);
      t.ok(
        part.every((byte) => byte === 0),
        `zeros at ${offset}`,
      );
    }
    await runOk('nbdinfo', ['--map', '--totals', uri]);
  });

  t.test(`nbdsh over ${transport}: every command and flag`, async (t) => {
    const output = await nbdsh(
      uri,
      `
import nbd
h.pwrite(b"x" * 4096, 4096, nbd.CMD_FLAG_FUA)
assert h.pread(4096, 4096) == b"x" * 4096
h.flush()
h.cache(65536, 0)
h.zero(4096, 4096, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert h.pread(4096, 4096) == bytearray(4096)
h.pwrite(b"y" * 4096, 4096)
h.zero(4096, 4096, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(4096, 4096) == bytearray(4096)
h.trim(1 << 20, 0, nbd.CMD_FLAG_FUA)
h.pwrite(b"z" * 100, 10)
chunks = []
h.pread_structured(200, 0, lambda b, o, s, e: chunks.append((o, len(b), s)), nbd.CMD_FLAG_DF)
assert chunks == [(0, 200, nbd.READ_DATA)], chunks
chunks = []
h.pread_structured(8192, 4 << 20, lambda b, o, s, e: chunks.append((o, len(b), s)))
assert sum(length for _, length, _ in chunks) == 8192, chunks
print("done")
`,
    );
    t.match(output, /done/);
  });
}

t.test('nbdsh: what a client must not send gets the error of the document', async (t) => {
  const output = await nbdsh(
    site.unixUri,
    `
import errno, nbd
h.set_strict_mode(0)
def fails(number, what, *parameters):
    try:
        what(*parameters)
    except nbd.Error as error:
        assert error.errnum == number, (what, parameters, error.errnum, number)
        return
    assert False, (what, parameters)
size = h.get_size()
for count in range(3):
    fails(errno.EINVAL, h.pread, 512, size)
    fails(errno.EINVAL, h.pread, 512, size - 511)
    fails(errno.ENOSPC, h.pwrite, b"a" * 512, size - 511)
    fails(errno.ENOSPC, h.zero, 512, size)
    fails(errno.EINVAL, h.trim, 512, size)
    fails(errno.EINVAL, h.cache, 512, size)
    fails(errno.EINVAL, h.pread, 512, 0, nbd.CMD_FLAG_NO_HOLE)
    fails(errno.EINVAL, h.pwrite, b"a" * 512, 0, nbd.CMD_FLAG_FAST_ZERO)
    fails(errno.EINVAL, h.block_status, 512, 0, lambda *a: 0)
    assert len(h.pread(512, 0)) == 512
print("in step")
`,
  );
  t.match(output, /in step/);
});

t.test('nbdsh: block status with and without REQ_ONE', async (t) => {
  const output = await nbdsh(
    undefined,
    `
import nbd
h.add_meta_context("base:allocation")
h.connect_uri("${site.unixUri}")
assert h.can_meta_context("base:allocation")
h.zero(1 << 20, 0)
h.trim(1 << 20, 0)
h.pwrite(b"d" * 65536, 65536)
found = []
h.block_status(1 << 20, 0, lambda context, offset, entries, error: found.append((context, entries)))
assert found[0][0] == "base:allocation"
assert sum(found[0][1][0::2]) >= 65536, found
one = []
h.block_status(1000, 65536, lambda c, o, entries, e: one.append(entries), nbd.CMD_FLAG_REQ_ONE)
assert one == [[1000, 0]], one
print("mapped")
`,
  );
  t.match(output, /mapped/);
});

t.test('nbdsh: simple replies, EXPORT_NAME and old clients', async (t) => {
  const output = await nbdsh(
    undefined,
    `
import nbd
for flags in (0, nbd.HANDSHAKE_FLAG_NO_ZEROES, nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE):
    c = nbd.NBD()
    c.set_request_structured_replies(False)
    c.set_handshake_flags(flags)
    c.connect_uri("${site.unixUri}")
    assert not c.get_structured_replies_negotiated()
    assert c.get_size() == ${sizeBytes}
    c.pwrite(b"q" * 9000, 77)
    assert c.pread(9000, 77) == b"q" * 9000
    c.flush()
    c.shutdown()
print("simple")
`,
  );
  t.match(output, /simple/);
});

t.test('nbdsh: option haggling by hand', async (t) => {
  const output = await nbdsh(
    undefined,
    `
import nbd
h.set_opt_mode(True)
h.connect_uri("${site.unixUri}")
names = []
h.opt_list(lambda name, description: names.append(name))
assert names == ["${site.exportName}"], names
contexts = []
h.add_meta_context("base:")
assert h.opt_list_meta_context(lambda context: contexts.append(context)) == 1
assert contexts == ["base:allocation"], contexts
h.set_export_name("no such export")
try:
    h.opt_info()
    assert False
except nbd.Error:
    pass
h.set_export_name("${site.exportName}")
h.set_full_info(True)
h.opt_info()
assert h.get_canonical_export_name() == "${site.exportName}"
assert len(h.get_export_description()) > 0
h.opt_go()
assert len(h.pread(512, 0)) == 512
h.shutdown()
g = nbd.NBD()
g.set_opt_mode(True)
g.connect_uri("${site.unixUri}")
g.opt_abort()
print("haggled")
`,
  );
  t.match(output, /haggled/);
});
