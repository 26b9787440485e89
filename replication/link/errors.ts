/** The link's typed errors and the form in which it says why it is down. */

/** Why the link (or one connection of it) is not there: a stable code and a sentence. */
export interface LinkReason {
  readonly code: string;
  readonly text: string;
}

/** Bytes from the peer that are not what `wire-format.ts` says. The connection is closed for it. */
export class LinkFormatError extends Error {
  readonly code = 'ERR_LINK_FORMAT';

  constructor(text: string) {
    super(text);
    this.name = 'LinkFormatError';
  }
}

export type LinkCallErrorCode =
  /** There is no control connection: nothing was sent. */
  | 'ERR_LINK_DOWN'
  /** The connection went while the call was under way: the peer may have carried it out. */
  | 'ERR_LINK_LOST'
  /** No answer in time: the peer may have carried it out, or may yet. */
  | 'ERR_LINK_TIMEOUT'
  /** More calls are under way than `limits.pendingCallsMax`: nothing was sent. */
  | 'ERR_LINK_BUSY'
  /** Parameters larger than `limits.callBytesMax`: nothing was sent. */
  | 'ERR_LINK_TOO_LARGE';

/** A call to the peer failed. `code` is one of the above or what the peer's handler answered. */
export class LinkCallError extends Error {
  readonly code: LinkCallErrorCode | string;
  /** True if the peer's handler itself answered with this error. */
  readonly fromPeer: boolean;

  constructor(code: LinkCallErrorCode | string, text: string, fromPeer = false) {
    super(text);
    this.name = 'LinkCallError';
    this.code = code;
    this.fromPeer = fromPeer;
  }
}

/** The link cannot start: its options contradict each other, or it cannot listen. */
export class LinkStartError extends Error {
  readonly code: 'ERR_LINK_OPTIONS' | 'ERR_LINK_LISTEN';

  constructor(code: 'ERR_LINK_OPTIONS' | 'ERR_LINK_LISTEN', text: string, cause?: unknown) {
    super(text, cause === undefined ? undefined : { cause });
    this.name = 'LinkStartError';
    this.code = code;
  }
}

/** Text from outside, fit for a log line: bounded, without control characters. */
export function printable(text: string, lengthMax = 300): string {
  return text.slice(0, lengthMax).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
