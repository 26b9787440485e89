/**
 * `qemu-nbd`: one unreplicated copy, in the two durabilities of the mirrors: O_DIRECT and synced
 * before each answer (`directsync`), or in the page cache (`writeback`).
 */
import { join } from 'node:path';
import { ServerProcess } from '../processes.ts';
import { durabilities, type Target, type TargetContext, type TargetKind } from '../target.ts';
import { makeZeroFile } from './raw-file.ts';

type Cache = 'directsync' | 'writeback';

const needs = [{ command: 'qemu-nbd', debianPackage: 'qemu-utils' }];

const kind = (cache: Cache): TargetKind => {
  const name = `qemu-nbd, ${cache}`;
  return { name, needs, start: (context) => start(name, context, cache) };
};

export const qemuNbdSynced = kind('directsync');
export const qemuNbdCached = kind('writeback');

async function start(
  name: string,
  { directory, volumeBytes }: TargetContext,
  cache: Cache,
): Promise<Target> {
  const image = join(directory, 'disk.raw');
  const path = join(directory, 'nbd.sock');
  makeZeroFile(image, volumeBytes);
  const server = new ServerProcess('qemu-nbd', [
    '--format=raw',
    `--cache=${cache}`,
    '--persistent',
    '--shared=4',
    '--export-name=disk',
    '--discard=unmap',
    `--socket=${path}`,
    image,
  ]);
  const stop = (): Promise<void> => server.stop();
  try {
    await server.listens({ path });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name,
    copies: 1,
    durability: cache === 'directsync' ? durabilities.everyCopy : durabilities.pageCache,
    uri: `nbd+unix:///disk?socket=${path}`,
    processes: () => [{ role: 'qemu-nbd', pid: server.pid }],
    finish: async () => {
      await stop();
      return undefined;
    },
    stop,
  };
}
