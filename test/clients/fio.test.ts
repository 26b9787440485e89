/** fio writes at random and at many depths, and checks every block that it wrote. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { siteUri, startTestSite, transports } from '../support/client-site.ts';
import { run } from '../support/run-command.ts';

const site = await startTestSite({ sizeBytes: 128 * 1024 * 1024 });
const directory = mkdtempSync(join(tmpdir(), 'casemate-fio-'));
t.teardown(async () => {
  await site.stop();
  rmSync(directory, { recursive: true });
});

for (const transport of transports) {
  for (const [name, ...parameters] of [
    ['4 KiB at random, depth 32', '--rw=randwrite', '--bs=4k', '--iodepth=32', '--io_size=64m'],
    ['mixed sizes, depth 64', '--rw=randwrite', '--bsrange=512-256k', '--iodepth=64'],
    ['1 MiB in order, depth 8', '--rw=write', '--bs=1m', '--iodepth=8'],
    ['4 KiB, a flush after each', '--rw=randwrite', '--bs=4k', '--fsync=1', '--io_size=8m'],
    ['discards among the writes', '--rw=randtrimwrite', '--bs=16k', '--iodepth=16'],
  ] as const) {
    t.test(`fio over ${transport}: ${name}`, async (t) => {
      const result = await run('fio', [
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${siteUri(site, transport)}`,
        '--size=128m',
        ...parameters,
        ...(name.startsWith('discards')
          ? []
          : ['--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--verify_backlog=1024']),
        '--randrepeat=1',
        `--aux-path=${directory}`,
      ]);
      t.equal(result.code, 0, result.stdout + result.stderr);
      t.notMatch(result.stderr, /verify:|error/i);
    });
  }

  t.test(`fio over ${transport}: four jobs with connections of their own`, async (t) => {
    const result = await run('fio', [
      '--name=jobs',
      '--ioengine=nbd',
      `--uri=${siteUri(site, transport)}`,
      '--rw=randrw',
      '--bs=4k',
      '--iodepth=16',
      '--numjobs=4',
      '--size=32m',
      '--offset_increment=32m',
      '--verify=crc32c',
      '--verify_fatal=1',
      `--aux-path=${directory}`,
    ]);
    t.equal(result.code, 0, result.stdout + result.stderr);
  });
}
