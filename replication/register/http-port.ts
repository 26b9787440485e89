/**
 * The HTTP port of the register: requests to a few servers over connections that are kept. Nothing
 * in `replication/` opens a socket (the real one is in `daemon/system-http.ts`).
 */

export interface HttpRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The answer has to be there in whole after so long, waiting for a connection included. */
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpPort {
  /**
   * Sends a POST request. Rejects if there is no answer in time, or not in whole; the server may
   * have done what was asked for all the same.
   */
  post(request: HttpRequest): Promise<HttpAnswer>;
  /** Closes all connections; what is under way rejects. */
  close(): void;
}
