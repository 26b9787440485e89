/**
 * One process of the physical limit (`bound.ts`), a program of its own:
 * `bound-site.js ROLE FILE COMMIT-BYTES SECONDS`, with the role `primary` or `secondary`, the same
 * with `-echo` (nothing is stored), `alone` (nothing is sent) or `sequential`. Standard input is
 * the connection between primary and secondary. All but the secondary print their samples, one
 * number of microseconds per commit, as JSON.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';

const connection = 0;
const logBytes = 64 * 2 ** 20;
const streamBytes = 512 * 2 ** 20;
/** The sequential stream is synced whenever so many commits have been written. */
const streamCommitsPerSync = 32;
const acknowledgementBytes = 24;

/** A file whose every block has been written, so that a sync never commits a journal. */
function openWritten(path: string, sizeBytes: number): number {
  const fd = openSync(path, 'w+', 0o600);
  const chunk = Buffer.alloc(2 ** 20, 0x5a);
  for (let at = 0; at < sizeBytes; at += chunk.length) writeSync(fd, chunk, 0, chunk.length, at);
  fsyncSync(fd);
  return fd;
}

/** False when the other side has closed before the first byte. */
function readAll(target: Buffer): boolean {
  let done = 0;
  while (done < target.length) {
    const count = readSync(connection, target, done, target.length - done, null);
    if (count === 0 && done === 0) return false;
    if (count === 0) throw new Error('the connection ended in the middle');
    done += count;
  }
  return true;
}

function writeAll(bytes: Buffer): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(connection, bytes, done);
}

/** Calls `commit` with rising offsets for so long; the microseconds of each call. */
function sample(
  options: { seconds: number; stepBytes: number; fileBytes: number },
  commit: (offsetBytes: number) => void,
): number[] {
  const samplesUs: number[] = [];
  const end = performance.now() + options.seconds * 1000;
  let before = performance.now();
  for (let offset = 0; before < end; offset = (offset + options.stepBytes) % options.fileBytes) {
    commit(offset);
    const after = performance.now();
    samplesUs.push((after - before) * 1000);
    before = after;
  }
  return samplesUs;
}

/** `fd` is undefined where nothing is stored. */
function primary(fd: number | undefined, commitBytes: number, seconds: number): number[] {
  const payload = Buffer.alloc(commitBytes, 0xa5);
  const acknowledgement = Buffer.alloc(acknowledgementBytes);
  // The other process is ready when it has sent its first acknowledgement.
  readAll(acknowledgement);
  const fileBytes = logBytes - (logBytes % commitBytes);
  return sample({ seconds, stepBytes: commitBytes, fileBytes }, (offset) => {
    writeAll(payload);
    if (fd !== undefined) store(fd, payload, offset);
    if (!readAll(acknowledgement)) throw new Error('the secondary has gone');
  });
}

function secondary(fd: number | undefined, commitBytes: number): void {
  const payload = Buffer.alloc(commitBytes);
  const acknowledgement = Buffer.alloc(acknowledgementBytes);
  const fileBytes = logBytes - (logBytes % commitBytes);
  writeAll(acknowledgement);
  for (let offset = 0; readAll(payload); offset = (offset + commitBytes) % fileBytes) {
    if (fd !== undefined) store(fd, payload, offset);
    writeAll(acknowledgement);
  }
}

function store(fd: number, payload: Buffer, offset: number): void {
  writeSync(fd, payload, 0, payload.length, offset);
  fdatasyncSync(fd);
}

function alone(fd: number, commitBytes: number, seconds: number): number[] {
  const payload = Buffer.alloc(commitBytes, 0xa5);
  const fileBytes = logBytes - (logBytes % commitBytes);
  return sample({ seconds, stepBytes: commitBytes, fileBytes }, (offset) => {
    store(fd, payload, offset);
  });
}

function sequential(fd: number, commitBytes: number, seconds: number): number[] {
  const payload = Buffer.alloc(commitBytes, 0xc3);
  const stepBytes = commitBytes * streamCommitsPerSync;
  return sample({ seconds, stepBytes, fileBytes: streamBytes }, (offset) => {
    for (let done = 0; done < stepBytes; done += commitBytes) {
      writeSync(fd, payload, 0, commitBytes, offset + done);
    }
    fdatasyncSync(fd);
  });
}

const [role, path, commitText, secondsText] = process.argv.slice(2);
if (path === undefined) throw new Error('usage: ROLE FILE COMMIT-BYTES SECONDS');
const commitBytes = Number(commitText);
const seconds = Number(secondsText);

function print(samplesUs: readonly number[]): void {
  process.stdout.write(JSON.stringify(samplesUs.map((each) => Math.round(each * 10) / 10)));
}

if (role === 'primary-echo') print(primary(undefined, commitBytes, seconds));
else if (role === 'secondary-echo') secondary(undefined, commitBytes);
else {
  const fd = openWritten(path, role === 'sequential' ? streamBytes : logBytes);
  if (role === 'secondary') secondary(fd, commitBytes);
  else if (role === 'primary') print(primary(fd, commitBytes, seconds));
  else print((role === 'alone' ? alone : sequential)(fd, commitBytes, seconds));
  closeSync(fd);
}
