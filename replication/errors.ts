/** Typed errors of the protocol and the register. The code is stable; the text is not. */

export type ReplicationErrorCode =
  /** No quorum of acceptors answered; nothing is known about the value. May be tried again. */
  | 'ERR_REGISTER_UNAVAILABLE'
  /** The register was closed while an answer was waited for; a swap may still win. */
  | 'ERR_REGISTER_CANCELLED'
  /** What an acceptor has stored is no acceptor state; it takes no part until that is repaired. */
  | 'ERR_ACCEPTOR_STATE';

export class ReplicationError extends Error {
  readonly code: ReplicationErrorCode;

  constructor(code: ReplicationErrorCode, message: string) {
    super(message);
    this.name = 'ReplicationError';
    this.code = code;
  }
}
