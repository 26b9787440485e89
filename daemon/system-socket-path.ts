/**
 * The path of a Unix socket, made ready for listening: a socket file that a dead process has left
 * is removed, one that is being served and any other kind of file are left alone.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { socketPathBytesMax } from './config/address.ts';
import { CasemateError } from './errors.ts';

/** Error codes of whoever wants to listen, and the key of the configuration that has the path. */
export interface SocketPathWords {
  readonly key: string;
  readonly inUse: string;
  readonly path: string;
}

/** @throws CasemateError with the code `inUse` or `path` */
export async function claimSocketPath(path: string, words: SocketPathWords): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    const message = `${path} is longer than ${socketPathBytesMax} bytes, which no socket's path can be`;
    throw new CasemateError(words.path, message, { hint: `Set ${words.key} to a shorter path.` });
  }
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new CasemateError(words.path, `${path} exists and is not a socket`, {
      hint: `Set ${words.key} to another path, or move that file away.`,
    });
  }
  if (await isServed(path, words)) {
    throw new CasemateError(words.inUse, `another process serves ${path}`, {
      hint: `Stop the other daemon, or set ${words.key} to another path.`,
      status: 409,
    });
  }
  unlinkSync(path);
}

/** True unless the system says that nobody listens there. */
function isServed(path: string, words: SocketPathWords): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(false);
      else if (error.code === 'EAGAIN') resolve(true);
      else {
        const message = `${path} can't be looked at: ${error.message}`;
        reject(new CasemateError(words.path, message, { cause: error }));
      }
    });
  });
}
