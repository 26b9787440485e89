/** Typed errors of the protocol and the register. The code is stable; the text is not. */

export type ReplicationErrorCode =
  /** No quorum of acceptors, or no etcd, answered; nothing is known about the value. */
  | 'ERR_REGISTER_UNAVAILABLE'
  /** The register was closed while an answer was waited for; a swap may still win. */
  | 'ERR_REGISTER_CANCELLED'
  /** What an acceptor has stored is no acceptor state; it takes no part until that is repaired. */
  | 'ERR_ACCEPTOR_STATE'
  /** What etcd has as the value is no configuration, or one of a format not known here. */
  | 'ERR_REGISTER_RECORD'
  /** A configuration was to be forced from an older one than stands in the register. */
  | 'ERR_REGISTER_NEWER';

export class ReplicationError extends Error {
  readonly code: ReplicationErrorCode;

  constructor(code: ReplicationErrorCode, message: string) {
    super(message);
    this.name = 'ReplicationError';
    this.code = code;
  }
}

/** The register was closed, with the group or because the disk failed. */
export function isCancelled(error: unknown): boolean {
  return error instanceof ReplicationError && error.code === 'ERR_REGISTER_CANCELLED';
}
