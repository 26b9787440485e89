/**
 * `nbdkit file`: one unreplicated copy. Twice: as it comes (page cache), and with each write synced
 * before its answer (the fua filter forces the flag on every write).
 */
import { join } from 'node:path';
import { ServerProcess } from '../processes.ts';
import { durabilities, type Target, type TargetContext, type TargetKind } from '../target.ts';
import { makeZeroFile } from './raw-file.ts';

const needs = [{ command: 'nbdkit', debianPackage: 'nbdkit' }];

export const nbdkitFile: TargetKind = {
  name: 'nbdkit file',
  needs,
  start: (context) => startNbdkit(nbdkitFile.name, context, false),
};

export const nbdkitFileSynced: TargetKind = {
  name: 'nbdkit file, each write synced',
  needs,
  start: (context) => startNbdkit(nbdkitFileSynced.name, context, true),
};

async function startNbdkit(
  name: string,
  { directory, volumeBytes }: TargetContext,
  synced: boolean,
): Promise<Target> {
  const dataPath = join(directory, 'disk.raw');
  const socketPath = join(directory, 'nbd.sock');
  makeZeroFile(dataPath, volumeBytes);
  const server = new ServerProcess('nbdkit', [
    '--foreground',
    '--exit-with-parent',
    `--unix=${socketPath}`,
    ...(synced ? ['--filter=fua'] : []),
    'file',
    dataPath,
    ...(synced ? ['fuamode=force'] : []),
  ]);
  const stop = (): Promise<void> => server.stop();
  try {
    await server.listens({ path: socketPath });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name,
    copies: 1,
    durability: synced ? durabilities.everyCopy : durabilities.pageCache,
    uri: `nbd+unix:///?socket=${socketPath}`,
    processes: () => [{ role: 'nbdkit', pid: server.pid }],
    finish: async () => {
      await stop();
      return undefined;
    },
    stop,
  };
}
