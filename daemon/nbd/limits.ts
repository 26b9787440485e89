/**
 * The limits of the NBD server (invariant I9), with defaults, and the relations between them. Past
 * a limit on requests and replies a client is slowed down, never dropped; the limits of the
 * handshake end a connection, since nothing is lost with it.
 */
import assert from 'node:assert/strict';
import { stringBytesMax } from './constants.ts';

export interface NbdLimits {
  /** Connections at a time, over all exports and listeners; more are closed at once. */
  readonly connectionsMax: number;
  /** From the connection to the end of option haggling. */
  readonly handshakeTimeoutMs: number;
  /** Options that a client may send before it enters transmission or leaves. */
  readonly optionsMax: number;
  /** Data of an option that is looked at; longer data is skipped and answered "too big". */
  readonly optionDataBytesMax: number;
  /** An option that announces more than this ends the connection. */
  readonly optionSkipBytesMax: number;
  /** Requests of one connection without an answer. */
  readonly requestsInFlightMax: number;
  /**
   * Bytes of one connection's requests without an answer: payloads of writes, targets of reads.
   * Exceeded by at most one request.
   */
  readonly bytesInFlightMax: number;
  /** Bytes of replies that one client has not taken yet. */
  readonly replyQueueBytesMax: number;
  /**
   * Requests' and replies' bytes of all connections together; exceeded by at most one request a
   * connection.
   */
  readonly bytesInFlightTotalMax: number;
  /** Reads up to this size are tried at once, without a trip through the device's queue. */
  readonly readNowBytesMax: number;
  /** After the last reply a client has this long to take it and close its side. */
  readonly lingerMs: number;
}

const mebibyte = 1024 * 1024;

export const defaultNbdLimits: NbdLimits = {
  connectionsMax: 1024,
  handshakeTimeoutMs: 30_000,
  optionsMax: 1024,
  optionDataBytesMax: 16 * 1024,
  optionSkipBytesMax: mebibyte,
  requestsInFlightMax: 1024,
  bytesInFlightMax: 64 * mebibyte,
  replyQueueBytesMax: 4 * mebibyte,
  bytesInFlightTotalMax: 256 * mebibyte,
  readNowBytesMax: 64 * 1024,
  lingerMs: 5_000,
};

/** The defaults with what is given in place of them. Asserts the relations between the limits. */
export function nbdLimits(given: Partial<NbdLimits>): NbdLimits {
  const limits = { ...defaultNbdLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, `${name} is a positive whole number`);
  }
  assert(
    limits.optionDataBytesMax >= 2 * stringBytesMax,
    'an option can carry an export name and a query of the full length',
  );
  assert(limits.optionSkipBytesMax >= limits.optionDataBytesMax, 'data looked at is not too long');
  assert(limits.readNowBytesMax <= replyArenaBytes / 2, 'a read at once fits the reply arena');
  return limits;
}

/** Where replies are gathered: one for each connection that has any to send. */
export const replyArenaBytes = 256 * 1024;
