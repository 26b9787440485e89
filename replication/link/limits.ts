/**
 * Every limit and time of the link in one place (I9), with the relations between them that have to
 * hold. `defaultLinkLimits` and `defaultLinkTimeouts` are what the daemon starts from.
 */
import { frameSizeBytesMax } from '../../wal/frame-format.ts';
import { LinkStartError } from './errors.ts';

export interface LinkLimits {
  /**
   * Outgoing bytes of one connection that wait for the network. Beyond it the peer is not reading:
   * the connection is declared stuck and closed. Senders of bulk use `whenDrained` and stay far
   * below; what they have in flight is limited by the driver, not here.
   */
  readonly linkQueueBytesMax: number;
  /** `whenDrained` calls back when no more than this waits. */
  readonly linkDrainedBytes: number;
  /** One document of the pair protocol; a hello with a long epoch history is the largest. */
  readonly documentBytesMax: number;
  /** One call, or its answer. */
  readonly callBytesMax: number;
  /** One forwarded request or reply with its payload. */
  readonly forwardBytesMax: number;
  /** Calls under way in each direction. */
  readonly pendingCallsMax: number;
  /** Connections taken whose handshake is not through; the oldest gives way. */
  readonly halfOpenConnectionsMax: number;
  /** Callbacks that wait in `whenDrained`. */
  readonly drainWaitersMax: number;
}

export interface LinkTimeouts {
  /** From the first packet to the end of a handshake, and for the dialing before it. */
  readonly handshakeMs: number;
  readonly pingMs: number;
  /** A connection on which no byte comes for this long is closed. */
  readonly pingTimeoutMs: number;
  /** First wait before dialing again; doubles up to the largest, half of it is jitter. */
  readonly reconnectMs: number;
  readonly reconnectMsMax: number;
  /** First wait before a session is asked for again; doubles. Also the least time between two. */
  readonly sessionRetryMs: number;
  readonly sessionRetryMsMax: number;
}

const mebibyte = 1024 * 1024;
/** A stream that holds less than this may say nothing when it has sent it. */
const streamMarkBytes = 64 * 1024;

export const defaultLinkLimits: LinkLimits = {
  linkQueueBytesMax: 128 * mebibyte,
  linkDrainedBytes: mebibyte,
  documentBytesMax: 16 * mebibyte,
  callBytesMax: 16 * mebibyte,
  forwardBytesMax: 34 * mebibyte,
  pendingCallsMax: 4096,
  halfOpenConnectionsMax: 16,
  drainWaitersMax: 4096,
};

export const defaultLinkTimeouts: LinkTimeouts = {
  handshakeMs: 5000,
  pingMs: 1000,
  pingTimeoutMs: 5000,
  reconnectMs: 100,
  reconnectMsMax: 5000,
  sessionRetryMs: 20,
  sessionRetryMsMax: 2000,
};

/** @throws LinkStartError naming the relation that does not hold. */
export function checkLinkOptions(limits: LinkLimits, timeouts: LinkTimeouts): void {
  const wrong = (text: string): never => {
    throw new LinkStartError('ERR_LINK_OPTIONS', text);
  };
  for (const [name, value] of [...Object.entries(limits), ...Object.entries(timeouts)]) {
    if (!Number.isSafeInteger(value) || value < 1) wrong(`${name} must be a whole number above 0`);
  }
  const largest = Math.max(
    frameSizeBytesMax,
    limits.forwardBytesMax,
    limits.callBytesMax,
    limits.documentBytesMax,
  );
  if (limits.linkQueueBytesMax < limits.linkDrainedBytes + 2 * largest) {
    wrong(
      `linkQueueBytesMax must hold linkDrainedBytes and two of the largest messages ` +
        `(${largest} bytes each), or one message would look like a stuck peer`,
    );
  }
  if (limits.linkDrainedBytes < streamMarkBytes) {
    wrong(`linkDrainedBytes must be at least ${streamMarkBytes}: no stream tells of less`);
  }
  if (timeouts.pingTimeoutMs < 2 * timeouts.pingMs) {
    wrong('pingTimeoutMs must be at least twice pingMs, or one late ping ends a connection');
  }
  if (timeouts.reconnectMsMax < timeouts.reconnectMs) {
    wrong('reconnectMsMax must not be below reconnectMs');
  }
  if (timeouts.sessionRetryMsMax < timeouts.sessionRetryMs) {
    wrong('sessionRetryMsMax must not be below sessionRetryMs');
  }
}
