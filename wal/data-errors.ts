/** The errors of a volume's data file that are not errors of the disk. */

/** Data and checksum disagree (I7): the bytes are not those that were written. */
export class BlockChecksumError extends Error {
  readonly code = 'ERR_BLOCK_CHECKSUM';
  /** Where the block begins in the volume. */
  readonly offsetBytes: number;

  constructor(path: string, offsetBytes: number) {
    super(`the block at byte ${offsetBytes} of ${path} does not match its checksum`);
    this.name = 'BlockChecksumError';
    this.offsetBytes = offsetBytes;
  }
}

/** The payload of a committed record changed in memory between its check and its application. */
export class RecordChecksumError extends Error {
  readonly code = 'ERR_RECORD_CHECKSUM';
  readonly offsetBytes: number;

  constructor(path: string, offsetBytes: number) {
    super(`a record for byte ${offsetBytes} of ${path} does not match its checksums`);
    this.name = 'RecordChecksumError';
    this.offsetBytes = offsetBytes;
  }
}

/** The volume's files were closed while the call was under way. */
export class StoreClosedError extends Error {
  readonly code = 'ERR_STORE_CLOSED';

  constructor(path: string) {
    super(`${path} is closed`);
    this.name = 'StoreClosedError';
  }
}
