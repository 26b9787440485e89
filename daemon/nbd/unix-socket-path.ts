/**
 * The path of a Unix socket, made ready for listening: a socket file that a dead process has left
 * is removed, one that is being served and any other kind of file are left alone.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { CasemateError } from '../errors.ts';

/** The system takes no longer path for a socket, and cuts a longer one off without a word. */
const pathBytesMax = 107;

/** Throws ERR_NBD_SOCKET_IN_USE or ERR_NBD_SOCKET_PATH. */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > pathBytesMax) {
    throw new CasemateError(
      'ERR_NBD_SOCKET_PATH',
      `${path} is longer than ${pathBytesMax} bytes, which no socket's path can be`,
      { hint: 'choose a shorter path for the NBD socket' },
    );
  }
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new CasemateError('ERR_NBD_SOCKET_PATH', `${path} exists and is not a socket`, {
      hint: 'choose another path for the NBD socket, or move that file away',
    });
  }
  if (await isServed(path)) {
    throw new CasemateError('ERR_NBD_SOCKET_IN_USE', `another process serves ${path}`, {
      hint: 'stop the other daemon, or choose another path for the NBD socket',
      status: 409,
    });
  }
  unlinkSync(path);
}

/** True unless the system says that nobody listens there. */
function isServed(path: string): Promise<boolean> {
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
        reject(new CasemateError('ERR_NBD_SOCKET_PATH', message, { cause: error }));
      }
    });
  });
}
