/**
 * The typed errors of the log. Codes are stable, texts are not. (Bytes that are no frame are a
 * `FrameFormatError`, in `frame-format.ts`; what the disk said is the `cause`.)
 */
export const logErrorCodes = [
  /** A write or sync of the log failed: final for this life of the process (I8). */
  'ERR_LOG_WRITE_FAILED',
  /** A part of the log could not be read from the disk. */
  'ERR_LOG_UNREADABLE',
  /** What was read back is not what was written, and it is not known from the start-up. */
  'ERR_LOG_DAMAGED',
  /** The frames asked for are no longer in the log. */
  'ERR_LOG_NOT_RETAINED',
  /** The sequence asked for is not the end of a frame. */
  'ERR_LOG_NOT_A_BOUNDARY',
  /** The directory holds the log of another store (R1). */
  'ERR_LOG_OTHER_STORE',
  /** The log was written by a version that this program does not know. */
  'ERR_LOG_UNKNOWN_VERSION',
  /** The superblock does not have its checksum, or is missing beside segments. */
  'ERR_LOG_SUPERBLOCK',
  /** The superblock is there, and no segment. */
  'ERR_LOG_SEGMENTS_MISSING',
  /** Not even the first segments could be made. */
  'ERR_LOG_CREATE',
  /** The sizes given do not fit together. */
  'ERR_LOG_OPTIONS',
  'ERR_LOG_CLOSED',
] as const;
export type LogErrorCode = (typeof logErrorCodes)[number];

export class LogError extends Error {
  readonly code: LogErrorCode;
  /** What to do about it, for a person. */
  readonly hint: string | undefined;

  constructor(
    code: LogErrorCode,
    message: string,
    options: { readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LogError';
    this.code = code;
    this.hint = options.hint;
  }
}
