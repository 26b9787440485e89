/**
 * Real file systems on a volume, mounted through nbdfuse and a loop device: files are written,
 * unmounted, found again after a new mount, and the file system's own check is content.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { siteUri, startTestSite, type TestSite, transports } from '../support/client-site.ts';
import { pollUntil } from '../support/poll.ts';
import { runOk } from '../support/run-command.ts';

const sizeBytes = 512 * 1024 * 1024;
const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse');

/** The volume as a file, until the body is done. */
async function withVolumeFile(
  uri: string,
  directory: string,
  body: (file: string) => Promise<void>,
): Promise<void> {
  const point = join(directory, 'fuse');
  mkdirSync(point, { recursive: true });
  const file = join(point, 'volume');
  const child: ChildProcess = spawn('nbdfuse', [file, uri], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  await Promise.race([
    pollUntil('nbdfuse shows the volume', () => existsSync(file)),
    exited.then(() => {
      throw new Error('nbdfuse has ended');
    }),
  ]);
  try {
    await body(file);
  } finally {
    await runOk('fusermount3', ['-u', point]);
    await exited;
  }
}

async function withMount(
  file: string,
  directory: string,
  body: (mounted: string) => Promise<void>,
): Promise<void> {
  const mounted = join(directory, 'mounted');
  mkdirSync(mounted, { recursive: true });
  await runOk('mount', ['-o', 'loop', file, mounted]);
  try {
    await body(mounted);
  } finally {
    await runOk('umount', [mounted]);
  }
}

const fileSystems = [
  { name: 'ext4', make: ['mkfs.ext4', '-q', '-F'], check: ['e2fsck', '-f', '-n'] },
  { name: 'xfs', make: ['mkfs.xfs', '-q', '-f'], check: ['xfs_repair', '-n', '-f'] },
] as const;

async function useFileSystem(
  site: TestSite,
  fileSystem: (typeof fileSystems)[number],
  transport: (typeof transports)[number],
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-mount-'));
  const uri = siteUri(site, transport);
  const [make, ...makeOptions] = fileSystem.make;
  const [check, ...checkOptions] = fileSystem.check;
  try {
    await withVolumeFile(uri, directory, async (file) => {
      if (statSync(file).size !== sizeBytes) throw new Error('the volume has another size');
      await runOk(make, [...makeOptions, file]);
      await withMount(file, directory, async (mounted) => {
        await runOk('cp', ['-r', '/usr/share/perl', join(mounted, 'copy')]);
        await runOk('sync', ['-f', mounted]);
        await runOk('rm', ['-r', join(mounted, 'copy')]);
        await runOk('cp', ['-r', '/usr/share/perl', join(mounted, 'again')]);
      });
    });
    await withVolumeFile(uri, directory, async (file) => {
      await runOk(check, [...checkOptions, file]);
      await withMount(file, directory, async (mounted) => {
        await runOk('diff', ['-r', '--no-dereference', '/usr/share/perl', join(mounted, 'again')]);
      });
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

for (const fileSystem of fileSystems) {
  for (const transport of transports) {
    const skip = canMount ? false : 'mounting takes root and /dev/fuse';
    t.test(`${fileSystem.name} over ${transport} keeps its files`, { skip }, async (t) => {
      const site = await startTestSite({ sizeBytes });
      t.teardown(() => site.stop());
      await useFileSystem(site, fileSystem, transport);
      t.pass('the files are the same');
    });
  }
}
