/**
 * The log's superblock: which store the log belongs to (R1) and what cannot change once it is
 * made. Written once, when the log is made; its presence says that the making was completed.
 *
 *   offset size field          meaning
 *        0    4 magic          "CMSP"
 *        4    2 version        1
 *        6    2 reserved       0
 *        8   16 store id
 *       24    8 segment size   bytes
 *       32    4 CRC32C         of bytes 0 to 31
 *       36      zeros to 4096
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { blockSizeBytes, crc32c } from './checksum.ts';
import type { Disk } from './disk.ts';
import { LogError } from './errors.ts';
import type { StoreId } from './frame.ts';

export const superblockName = 'superblock';
/** Under this name while the log is being made. */
export const unfinishedSuperblockName = 'superblock.new';
const magic = 0x50534d43;
const version = 1;
const crcField = 32;

export interface Superblock {
  readonly storeId: StoreId;
  readonly segmentSizeBytes: number;
}

/** The superblock's bytes. */
export function encodeSuperblock(superblock: Superblock): Buffer {
  const bytes = Buffer.alloc(blockSizeBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt16LE(version, 4);
  assert(bytes.write(superblock.storeId, 8, 16, 'hex') === 16, 'a store id is 32 hex digits');
  bytes.writeBigUInt64LE(BigInt(superblock.segmentSizeBytes), 24);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, crcField)), crcField);
  return bytes;
}

/** Decodes a superblock. Throws LogError: not one, of an unknown version, or damaged. */
export function decodeSuperblock(bytes: Buffer): Superblock {
  const known = bytes.length >= crcField + 4 && bytes.readUInt32LE(0) === magic;
  if (!known || crc32c(bytes.subarray(0, crcField)) !== bytes.readUInt32LE(crcField)) {
    throw new LogError('ERR_LOG_SUPERBLOCK', "the log's superblock is damaged", {
      hint: 'restore it from a backup of the log directory, or join this site anew as a blank one',
    });
  }
  const found = bytes.readUInt16LE(4);
  if (found !== version) {
    throw new LogError(
      'ERR_LOG_UNKNOWN_VERSION',
      `the log has format version ${found}, this program knows version ${version}`,
      { hint: 'run the version of the program that wrote it' },
    );
  }
  const segmentSizeBytes = Number(bytes.readBigUInt64LE(24));
  if (!Number.isSafeInteger(segmentSizeBytes) || segmentSizeBytes % blockSizeBytes !== 0) {
    throw new LogError('ERR_LOG_SUPERBLOCK', "the log's superblock has an impossible segment size");
  }
  return { storeId: bytes.toString('hex', 8, 24), segmentSizeBytes };
}

/** Writes the superblock under its unfinished name, durably. */
export async function writeUnfinishedSuperblock(
  disk: Disk,
  directory: string,
  superblock: Superblock,
): Promise<void> {
  const file = await disk.open(join(directory, unfinishedSuperblockName), {
    create: true,
    durableWrites: true,
  });
  try {
    await file.write([encodeSuperblock(superblock)], 0, 'write-superblock');
  } finally {
    await file.close();
  }
  await disk.syncDirectory(directory);
}

/** The log is made: gives the superblock its name. */
export async function finishSuperblock(disk: Disk, directory: string): Promise<void> {
  await disk.rename(join(directory, unfinishedSuperblockName), join(directory, superblockName));
  await disk.syncDirectory(directory);
}

/** Reads the superblock and checks that the log is this store's. Throws LogError. */
export async function readSuperblock(
  disk: Disk,
  directory: string,
  storeId: StoreId,
): Promise<Superblock> {
  const file = await disk.open(join(directory, superblockName), {
    create: false,
    durableWrites: false,
  });
  const bytes = Buffer.alloc(blockSizeBytes);
  try {
    await file.read(bytes, 0, 'read-log');
  } finally {
    await file.close();
  }
  const superblock = decodeSuperblock(bytes);
  if (superblock.storeId !== storeId) {
    throw new LogError(
      'ERR_LOG_OTHER_STORE',
      `the log belongs to store ${superblock.storeId}, the site's store is ${storeId}`,
      { hint: 'the log directory and the store were not made together; put back the right one' },
    );
  }
  return superblock;
}
