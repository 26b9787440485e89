/** What a connection shares with the others of its server. */
import type { Socket } from 'node:net';
import type { ExportDirectory } from './block-device.ts';
import type { ClientAccess } from './client-access.ts';
import type { NbdLimits } from './limits.ts';
import type { ArenaPool } from './reply-queue.ts';
import type { RequestPool } from './request.ts';
import type { TrafficBudget } from './traffic-budget.ts';
import type { TurnQueue } from './turn-queue.ts';

/** The part of a logger that the server uses: values first, then a constant sentence. */
export interface NbdLogger {
  info(values: object, message: string): void;
  warn(values: object, message: string): void;
}

/** Counted since the server was made. */
export interface NbdCounters {
  /** Connections that were taken, and those that were over the limit. */
  accepted: number;
  refused: number;
  /** Requests that were answered, and those of them that were answered with an error. */
  requests: number;
  errors: number;
  /** Times that a connection's socket was not read on because a limit was reached. */
  slowedDown: number;
  /** Connections that the server ended because of what the client did. */
  dropped: number;
}

/** A connection that has become one of TLS, and the names of the client's certificate. */
export interface SecureClient {
  readonly socket: Socket;
  readonly names: readonly string[];
}

/** TLS for the clients of one listener. */
export interface ClientTls {
  /** Nothing but STARTTLS is answered before TLS; else a client may go on without. */
  readonly required: boolean;
  /**
   * Makes an accepted connection one of TLS; calls `done` once with what to use in its place, or
   * with why the client is not taken.
   */
  start(socket: Socket, done: (result: SecureClient | Error) => void): void;
}

export interface ConnectionHost {
  readonly exports: ExportDirectory;
  readonly access: ClientAccess;
  readonly limits: NbdLimits;
  readonly logger: NbdLogger;
  readonly requests: RequestPool;
  readonly arenas: ArenaPool;
  readonly budget: TrafficBudget;
  readonly turns: TurnQueue;
  readonly counters: NbdCounters;
  readonly closing: boolean;
  nowMs(): number;
}
