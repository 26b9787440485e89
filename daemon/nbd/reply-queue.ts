/**
 * Replies on their way into one socket. Small ones are written one after the other into an arena;
 * large read data is referenced where it is. What one turn of the event loop has gathered goes out
 * in one write of the socket.
 *
 *     arena  | header header+data header | header header |   ...free
 *              written before, in flight   ^start        ^end
 *
 * The arena is borrowed from a pool when there is something to say and given back when the system
 * has taken all of it, so that an idle connection holds none. If the client is slow and an arena is
 * full, the next one is taken; the limit on what a client has not taken is the connection's, which
 * looks at `pendingBytes`.
 */
import type { Socket } from 'node:net';
import { replyArenaBytes } from './limits.ts';

/** Arenas that no connection needs at the moment. */
export class ArenaPool {
  readonly #free: Buffer[] = [];
  readonly #keepMax: number;

  constructor(keepMax: number) {
    this.#keepMax = keepMax;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(replyArenaBytes);
  }

  give(arena: Buffer): void {
    if (this.#free.length < this.#keepMax) this.#free.push(arena);
  }
}

export class ReplyQueue {
  readonly #socket: Socket;
  readonly #pool: ArenaPool;
  readonly #onTaken: () => void;
  #arena: Buffer | undefined;
  #start = 0;
  #end = 0;
  /** Only while large data is among the replies: the pieces before `start`, in order. */
  #pieces: Buffer[] = [];
  #piecesBytes = 0;

  /** `onTaken` is called whenever the system has taken something that was written. */
  constructor(socket: Socket, pool: ArenaPool, onTaken: () => void) {
    this.#socket = socket;
    this.#pool = pool;
    this.#onTaken = onTaken;
  }

  /** Bytes that the client's system has not taken yet. */
  get pendingBytes(): number {
    return this.#socket.writableLength + this.gatheredBytes;
  }

  get gatheredBytes(): number {
    return this.#piecesBytes + this.#end - this.#start;
  }

  /**
   * Room for a reply of at most `bytes` (half an arena at most): gives the arena; the reply starts
   * at `position`. Nothing is sent of it until `commit`.
   */
  reserve(bytes: number): Buffer {
    if (this.#arena !== undefined && replyArenaBytes - this.#end < bytes) {
      this.flush();
      // What is left of a full arena is the socket's; the collector takes it after that.
      if (this.#arena !== undefined && replyArenaBytes - this.#end < bytes) this.#arena = undefined;
    }
    if (this.#arena === undefined) {
      this.#arena = this.#pool.take();
      this.#start = 0;
      this.#end = 0;
    }
    return this.#arena;
  }

  get position(): number {
    return this.#end;
  }

  commit(bytes: number): void {
    this.#end += bytes;
  }

  /** Sends `data` itself after what was committed; it must not change any more. */
  append(data: Buffer): void {
    this.#cutPiece();
    this.#pieces.push(data);
    this.#piecesBytes += data.length;
  }

  flush(): void {
    if (this.#pieces.length > 0) this.#flushPieces();
    else if (this.#end > this.#start && this.#arena !== undefined) {
      this.#socket.write(this.#arena.subarray(this.#start, this.#end), this.#onTaken);
      this.#start = this.#end;
    }
    this.release();
  }

  /** Gives the arena back if nothing in it is needed any more. */
  release(): void {
    if (this.#arena === undefined || this.pendingBytes > 0 || this.#socket.destroyed) return;
    this.#pool.give(this.#arena);
    this.#arena = undefined;
    this.#start = 0;
    this.#end = 0;
  }

  /** The connection is gone: nothing is sent any more. */
  drop(): void {
    this.#arena = undefined;
    this.#pieces = [];
    this.#piecesBytes = 0;
    this.#start = 0;
    this.#end = 0;
  }

  #cutPiece(): void {
    if (this.#arena === undefined || this.#end === this.#start) return;
    const piece = this.#arena.subarray(this.#start, this.#end);
    this.#pieces.push(piece);
    this.#piecesBytes += piece.length;
    this.#start = this.#end;
  }

  #flushPieces(): void {
    this.#cutPiece();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#piecesBytes = 0;
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece, this.#onTaken);
    this.#socket.uncork();
  }
}
