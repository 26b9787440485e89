/**
 * What an export needs of the volume behind it, and the request that travels between the two. The
 * NBD server knows nothing of logs and peers; a volume knows nothing of the wire.
 *
 * No promise and no closure per request: a connection makes request objects (pooled), the device
 * calls `complete` on them exactly once, in any order, in the same tick or much later. A device
 * that cannot serve for the moment just keeps the requests; it drops those whose connection is gone
 * before they were given a place in the order of writes.
 */

/** Errors that a device answers with: the NBD error numbers (NBD protocol, "Error values"). */
export const blockError = {
  none: 0,
  permission: 1,
  io: 5,
  outOfMemory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  notSupported: 95,
  shutdown: 108,
} as const;
export type BlockError = (typeof blockError)[keyof typeof blockError];

export type BlockCommand = 'read' | 'write' | 'writeZeroes' | 'trim' | 'flush' | 'cache' | 'status';

/** A run of equal allocation for base:allocation: `hole` reads as zeros and takes no space. */
export interface StatusExtent {
  lengthBytes: number;
  hole: boolean;
}

/** One request, from the socket to its answer. The device reads the fields and calls `complete`. */
export interface BlockRequest {
  readonly command: BlockCommand;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** write: the data, slices of receive buffers that stay as they are until they are given back. */
  readonly payload: readonly Buffer[];
  /** writeZeroes: keep the range allocated (NBD_CMD_FLAG_NO_HOLE). */
  readonly noHole: boolean;
  /** read: where the data goes; exactly `lengthBytes` long; owned by the request until complete. */
  readonly target: Buffer;
  /**
   * status: the device sets it before complete. Covers from offsetBytes on, at least one extent.
   */
  extents: readonly StatusExtent[];
  /** False once the client's connection is gone: a held request is then dropped (rule R38). */
  readonly connected: boolean;
  /** process.hrtime-based milliseconds at which the request had been received in full. */
  readonly receivedAtMs: number;
  /** Answers the request. Called exactly once, also for requests of dead connections. */
  complete(error: BlockError): void;
}

export interface BlockDevice {
  /** Name of the export. */
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /**
   * Takes a request whose range and flags the connection has checked against size and limits. May
   * complete it before returning.
   */
  submit(request: BlockRequest): void;
  /**
   * Reads at once into `target` if that needs no waiting (data in memory or in the page cache, and
   * this site may serve reads now). False: nothing was done, use `submit`.
   */
  readNow(target: Buffer, offsetBytes: number): boolean;
  /**
   * True while the device holds as much as its limits allow: the connection stops reading its
   * socket, and calls `whenRoom` to hear when to go on (invariant I9).
   */
  readonly congested: boolean;
  whenRoom(resume: () => void): void;
  /** A connection was made to or left the export: for counting and for status. */
  attached(): void;
  detached(): void;
}

/** Where the server finds its exports. */
export interface ExportDirectory {
  /** The device of that name; the empty string asks for the only export there is, if just one. */
  find(name: string): BlockDevice | undefined;
  list(): readonly BlockDevice[];
}
