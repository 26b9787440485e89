/**
 * The smallest NBD client that can tell when a volume answers: connects, chooses the export (GO),
 * reads one block, disconnects. It tries again at once while nobody listens or the export is not
 * there yet, so that the time it takes is the server's. Numbers are those of the NBD protocol.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const retryMs = 5;
const greetingBytes = 18;
const optionReplyBytes = 20;
const simpleReplyBytes = 16;
const blockBytes = 4096;
const optionGo = 7;
const replyAcknowledge = 1;
const replyErrorBit = 0x8000_0000;

/** Resolves when the export has answered a read of its first block; rejects after `timeoutMs`. */
export async function firstAnswer(
  socketPath: string,
  exportName: string,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) throw new Error(`${exportName} did not answer within ${timeoutMs} ms`);
    if (await tryRead(socketPath, exportName, leftMs)) return;
    await delay(retryMs);
  }
}

/** True when the block was read; false when anything was in the way. */
function tryRead(socketPath: string, exportName: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    let answered = false;
    converse(socket, exportName)
      .then((done) => {
        answered = done;
      })
      .catch(() => {
        // Refused, or closed in the middle: the caller tries again until its time is over.
      })
      .finally(() => socket.destroy());
    socket.once('error', () => {
      // 'close' follows.
    });
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(answered);
    });
  });
}

async function converse(socket: Socket, exportName: string): Promise<boolean> {
  const read = reader(socket);
  await read(greetingBytes);
  // Client flags: fixed newstyle, no zeroes.
  socket.write(Buffer.from([0, 0, 0, 3]));
  socket.write(goOption(exportName));
  for (;;) {
    const reply = await read(optionReplyBytes);
    const type = reply.readUInt32BE(12);
    await read(reply.readUInt32BE(16));
    if (type >= replyErrorBit) return false;
    if (type === replyAcknowledge) break;
  }
  socket.write(readRequest());
  const answer = await read(simpleReplyBytes);
  if (answer.readUInt32BE(4) !== 0) return false;
  await read(blockBytes);
  return true;
}

function goOption(exportName: string): Buffer {
  const name = Buffer.from(exportName);
  const option = Buffer.alloc(16 + 4 + name.length + 2);
  option.write('IHAVEOPT', 0, 'latin1');
  option.writeUInt32BE(optionGo, 8);
  option.writeUInt32BE(4 + name.length + 2, 12);
  option.writeUInt32BE(name.length, 16);
  name.copy(option, 20);
  return option;
}

/** READ of the first block with cookie 0: magic, flags, type, cookie, offset, length. */
function readRequest(): Buffer {
  const request = Buffer.alloc(28);
  request.writeUInt32BE(0x2560_9513, 0);
  request.writeUInt32BE(blockBytes, 24);
  return request;
}

/** Gives a function that resolves with the next so many bytes, and rejects once the socket ends. */
function reader(socket: Socket): (count: number) => Promise<Buffer> {
  let held = Buffer.alloc(0);
  let wanted: { count: number; resolve: (bytes: Buffer) => void } | undefined;
  let fail: (error: Error) => void = () => {};
  let ended = false;
  const serve = (): void => {
    if (wanted === undefined || held.length < wanted.count) return;
    const { count, resolve } = wanted;
    wanted = undefined;
    const bytes = held.subarray(0, count);
    held = held.subarray(count);
    resolve(bytes);
  };
  socket.on('data', (chunk) => {
    held = Buffer.concat([held, chunk]);
    serve();
  });
  socket.once('close', () => {
    ended = true;
    fail(new Error('the connection ended'));
  });
  return (count) =>
    new Promise((resolve, reject) => {
      if (ended) {
        reject(new Error('the connection ended'));
        return;
      }
      wanted = { count, resolve };
      fail = reject;
      serve();
    });
}
