/**
 * What Node.js lacks of the system calls, reached through `koffi` (the only file that imports it).
 *
 * Calls that may wait for the device run in koffi's worker threads; there a call's errno is out of
 * reach (it belongs to that thread), so a failed call is made once more in this thread to learn it:
 * only in the rare case that it failed, and only for calls that may be repeated.
 *
 * Measured here for 4 KiB in the page cache: `fs.readSync` 1.05 us, `preadv2` with RWF_NOWAIT by
 * koffi 1.1 us when the target's address is put into one preallocated iovec, 1.4 us when it is
 * read into a fixed buffer and copied.
 */
import os from 'node:os';
import koffi from 'koffi';

const library = koffi.load(null);
const fallocate = library.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseek = library.func('int64_t lseek(int fd, int64_t offset, int whence)');
const syncFileRange = library.func(
  'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)',
);
const preadv2 = optionalPreadv2();
const system = library.func(
  'int64_t syscall(int64_t n, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)',
);

const fallocateKeepSize = 1;
const fallocatePunchHole = 2;
const seekData = 3;
const seekHole = 4;
const writeAndWait = 1 | 2 | 4; // SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE, _WAIT_AFTER
const readWithoutWaiting = 8; // RWF_NOWAIT

/** {fd, events and revents} for poll: the other side has closed, seen without reading. */
const pollEntry = new Int32Array(2);
const pollEntryAddress = Number(koffi.address(pollEntry));
const poll = library.func('int poll(int64_t entries, uint64_t count, int timeoutMs)');
const pollHangUps = 0x2000 | 0x10 | 0x8; // POLLRDHUP, POLLHUP, POLLERR

const openSocket = library.func('int socket(int family, int type, int protocol)');
const closeFile = library.func('int close(int fd)');
const sendTo = library.func(
  'int64_t sendto(int fd, int64_t bytes, uint64_t length, int flags, int64_t to, uint32_t toLength)',
);
const localFamily = 1; // AF_UNIX
const datagramSocket = 2 | 0o2000000; // SOCK_DGRAM, SOCK_CLOEXEC
const sendFlags = 0x40 | 0x4000; // MSG_DONTWAIT, MSG_NOSIGNAL
/** Bytes of an address of a Unix socket: its family and its path. */
const localAddressBytes = 110;

const getSocketOption = library.func(
  'int getsockopt(int fd, int level, int name, int64_t value, int64_t lengthBytes)',
);
const socketLevel = 1; // SOL_SOCKET
const peerCredentials = 17; // SO_PEERCRED: {pid, uid, gid} of who connected, when it did.

const readClock = library.func('int adjtimex(int64_t fields)');
const clockError = 5; // TIME_ERROR: nothing keeps the clock.

/** Numbers of the system calls of kernel AIO, which the C library has no functions for. */
const aioCalls = aioCallNumbers();

/** koffi refuses more than its limit of calls at once; these also share Node's thread pool. */
const callsAtOnceMax = 8;
let callsRunning = 0;
const callsWaiting: (() => void)[] = [];

/** The one iovec that readWithoutWait uses again and again: {address, length}. */
const ioVector = new BigUint64Array(2);
const ioVectorAddress = Number(koffi.address(ioVector));

/** The one `struct timespec` that aioEventsWithin uses: {seconds, nanoseconds}. */
const timeout = new BigInt64Array(2);
const timeoutAddress = koffi.address(timeout);

export type CallResult =
  | { readonly value: number; readonly code: undefined }
  | { readonly value: -1; readonly code: string };

/**
 * Reads what the page cache holds. Gives the number of bytes, or -1 when it would have to wait, or
 * -2 when this file or system cannot tell. Never blocks on the device.
 */
export function readWithoutWait(fd: number, target: Buffer, offsetBytes: number): number {
  if (preadv2 === undefined) return -2;
  ioVector[0] = koffi.address(target);
  ioVector[1] = BigInt(target.length);
  const count = Number(preadv2(fd, ioVectorAddress, 1, offsetBytes, readWithoutWaiting));
  if (count >= 0) return count;
  const errno = koffi.errno();
  const { EOPNOTSUPP, ENOSYS, EINVAL } = os.constants.errno;
  return errno === EOPNOTSUPP || errno === ENOSYS || errno === EINVAL ? -2 : -1;
}

/** True if the other side of a socket has closed it, also while there are bytes left to read. */
export function hasHungUp(fd: number): boolean {
  pollEntry[0] = fd;
  pollEntry[1] = pollHangUps;
  if (Number(poll(pollEntryAddress, 1, 0)) <= 0) return false;
  return ((pollEntry[1] >> 16) & pollHangUps) !== 0;
}

/** Frees a range of a file; the code is EOPNOTSUPP where the file system has no holes. */
export function punchHole(fd: number, offsetBytes: number, lengthBytes: number) {
  const mode = fallocatePunchHole | fallocateKeepSize;
  return callInThread(fallocate, [fd, mode, offsetBytes, lengthBytes]);
}

/** Writes dirty pages of a range to the device; the code is ENOSYS where there is no such call. */
export async function writeBackRange(
  fd: number,
  offsetBytes: number,
  lengthBytes: number,
): Promise<CallResult> {
  const parameters = [fd, offsetBytes, lengthBytes, writeAndWait];
  const value = await callOnceInThread(syncFileRange, parameters);
  if (value >= 0) return { value, code: undefined };
  // An error of the device is told once: when the second call knows nothing of it, it was that.
  const repeated = repeatForErrno(syncFileRange, parameters);
  return repeated.code === undefined ? { value: -1, code: 'EIO' } : repeated;
}

/** First byte at or after the offset that is data; the code is ENXIO when there is none. */
export function findData(fd: number, offsetBytes: number): Promise<CallResult> {
  return callInThread(lseek, [fd, offsetBytes, seekData]);
}

/** First byte at or after the offset that is a hole; the end of the file counts as one. */
export function findHole(fd: number, offsetBytes: number): Promise<CallResult> {
  return callInThread(lseek, [fd, offsetBytes, seekHole]);
}

/** Where the bytes are in memory; right for as long as the buffer is referenced. */
export function addressOf(buffer: Uint8Array): bigint {
  return koffi.address(buffer);
}

/**
 * Sends one datagram to a Unix socket, of which Node.js has none; a path that begins with "@" is an
 * abstract one. Never waits: the code is EAGAIN when the receiver has no room.
 */
export function sendDatagram(path: string, bytes: Uint8Array): CallResult {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (name.length > localAddressBytes - 3) return { value: -1, code: 'ENAMETOOLONG' };
  const address = Buffer.alloc(localAddressBytes);
  address.writeUInt16LE(localFamily);
  name.copy(address, 2);
  const fd = Number(openSocket(localFamily, datagramSocket, 0));
  if (fd < 0) return { value: -1, code: errnoNameOf(koffi.errno()) };
  // A path is given with the zero that ends it; the name of an abstract one is all there is.
  const addressBytes = 2 + name.length + (path.startsWith('@') ? 0 : 1);
  const [content, to] = [addressOf(bytes), addressOf(address)];
  const value = Number(sendTo(fd, content, bytes.length, sendFlags, to, addressBytes));
  const code = value < 0 ? errnoNameOf(koffi.errno()) : undefined;
  closeFile(fd);
  return code === undefined ? { value, code } : { value: -1, code };
}

/** The user id of whoever connected to a Unix socket that was accepted; undefined if not told. */
export function peerUserId(fd: number): number | undefined {
  const credentials = new Int32Array(3);
  const length = new Int32Array([credentials.byteLength]);
  const [value, lengthBytes] = [koffi.address(credentials), koffi.address(length)];
  const result = getSocketOption(fd, socketLevel, peerCredentials, value, lengthBytes);
  if (result !== 0 || length[0] !== credentials.byteLength) return undefined;
  return new Uint32Array(credentials.buffer)[1];
}

/**
 * What the kernel knows of the wall clock, without changing it: whether something keeps it in step
 * with the world, and the largest error that this leaves. Undefined where it does not say.
 */
export function clockState(): { synchronised: boolean; errorMsMax: number } | undefined {
  const fields = new BigInt64Array(32); // struct timex of 64 bits: 208 bytes, of which modes is 0.
  const state = readClock(koffi.address(fields));
  if (state < 0 || fields[3] === undefined) return undefined;
  return { synchronised: state !== clockError, errorMsMax: Number(fields[3]) / 1000 };
}

/** A context of kernel AIO for so many writes; undefined when the system gives none. */
export function aioSetup(countMax: number): bigint | undefined {
  if (aioCalls === undefined) return undefined;
  const context = new BigUint64Array(1);
  const failed = Number(system(aioCalls.setup, countMax, koffi.address(context), 0, 0, 0)) < 0;
  return failed ? undefined : context[0];
}

/** Submits control blocks; gives how many were taken, 0 for an error with the first. */
export async function aioSubmit(
  context: bigint,
  count: number,
  pointers: BigUint64Array,
): Promise<number> {
  if (aioCalls === undefined) return 0;
  const address = koffi.address(pointers);
  const result = await callOnceInThread(system, [aioCalls.submit, context, count, address, 0, 0]);
  return Math.max(0, result);
}

/** The same without a worker thread: for writes past the page cache, which it does not wait for. */
export function aioSubmitNow(context: bigint, count: number, pointers: BigUint64Array): number {
  if (aioCalls === undefined) return 0;
  return Math.max(
    0,
    Number(system(aioCalls.submit, context, count, koffi.address(pointers), 0, 0)),
  );
}

/** Takes the event of one write, waiting for it in this thread for `timeoutNs` at most. */
export function aioEventsWithin(context: bigint, timeoutNs: number, events: DataView): number {
  if (aioCalls === undefined) return 0;
  timeout[1] = BigInt(timeoutNs);
  const address = koffi.address(new Uint8Array(events.buffer));
  return Math.max(0, Number(system(aioCalls.getEvents, context, 1, 1, address, timeoutAddress)));
}

/** Takes the events of writes that have ended; with `wait`, all that are asked for. */
export async function aioEvents(
  context: bigint,
  options: { readonly wait: boolean; readonly countMax: number; readonly events: DataView },
): Promise<number> {
  if (aioCalls === undefined) return 0;
  const { wait, countMax, events } = options;
  const address = koffi.address(new Uint8Array(events.buffer));
  const countMin = wait ? countMax : 0;
  const parameters = [aioCalls.getEvents, context, countMin, countMax, address, 0];
  if (!wait) return Math.max(0, Number(system(...parameters)));
  return Math.max(0, await callOnceInThread(system, parameters));
}

function aioCallNumbers() {
  if (process.arch === 'x64') return { setup: 206, getEvents: 208, submit: 209 };
  if (process.arch === 'arm64') return { setup: 0, getEvents: 4, submit: 2 };
  return undefined;
}

async function callInThread(
  call: koffi.KoffiFunction,
  parameters: readonly number[],
): Promise<CallResult> {
  const value = await callOnceInThread(call, parameters);
  if (value >= 0) return { value, code: undefined };
  return repeatForErrno(call, parameters);
}

async function callOnceInThread(
  call: koffi.KoffiFunction,
  parameters: readonly (number | bigint)[],
): Promise<number> {
  if (callsRunning >= callsAtOnceMax) {
    await new Promise<void>((resolve) => callsWaiting.push(resolve));
  } else {
    callsRunning += 1;
  }
  try {
    return await new Promise<number>((resolve, reject) => {
      call.async(...parameters, (error: unknown, result: unknown) => {
        if (error) reject(error);
        else resolve(Number(result));
      });
    });
  } finally {
    const next = callsWaiting.shift();
    if (next === undefined) callsRunning -= 1;
    else next();
  }
}

function repeatForErrno(call: koffi.KoffiFunction, parameters: readonly number[]): CallResult {
  const value = Number(call(...parameters));
  if (value >= 0) return { value, code: undefined };
  return { value: -1, code: errnoNameOf(koffi.errno()) };
}

/** The name of an errno, such as EIO. */
export function errnoNameOf(errno: number): string {
  for (const [name, number] of Object.entries(os.constants.errno)) {
    // Two names for one number.
    if (number === errno) return name === 'ENOTSUP' ? 'EOPNOTSUPP' : name;
  }
  return `errno ${errno}`;
}

/** Missing in old C libraries: then nothing is ever read without waiting. */
function optionalPreadv2(): koffi.KoffiFunction | undefined {
  const declaration = 'int64_t preadv2(int fd, int64_t io, int count, int64_t offset, int flags)';
  try {
    return library.func(declaration);
  } catch {
    return undefined;
  }
}
