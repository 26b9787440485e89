/**
 * The primary's side of passing on: requests that the standby's clients made, executed here and
 * answered over the session they came on. They die with their session (R37): what was executed is
 * found by its origin in the standby's own log, what was refused was not executed.
 */
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';
import { checksumPieces } from '../../wal/checksum.ts';
import { recordFlagNoHole, recordKind } from '../../wal/frame.ts';
import { type BlockError, blockError } from '../nbd/block-device.ts';
import { statusExtents } from './group-volumes.ts';
import type { Volume } from './volume.ts';
import { type WriteOwner, WritePart } from './write-part.ts';

export interface ForwardedRequestsHost {
  nowMs(): number;
  takesWrites(): boolean;
  /** By the lease (R19): the peer, which asks, followed this reign when it did so (R20). */
  mayRead(): boolean;
  volume(number: number): Volume | undefined;
  submitPart(part: WritePart): void;
  reply(session: number, reply: ForwardReply): void;
  readFailed(volume: Volume, error: unknown): void;
}

class ForwardedWrite implements WriteOwner {
  readonly receivedAtMs: number;
  readonly #session: { readonly open: boolean; readonly number: number };
  readonly #id: number;
  readonly #host: ForwardedRequestsHost;

  constructor(
    host: ForwardedRequestsHost,
    session: { readonly open: boolean; readonly number: number },
    id: number,
  ) {
    this.#host = host;
    this.#session = session;
    this.#id = id;
    this.receivedAtMs = host.nowMs();
  }

  get alive(): boolean {
    return this.#session.open;
  }

  partDone(error: BlockError): void {
    if (!this.#session.open) return;
    const refused = error === blockError.shutdown;
    this.#host.reply(this.#session.number, answer(this.#id, { error, refused }));
  }
}

export class ForwardedRequests {
  readonly #host: ForwardedRequestsHost;
  #session = { open: false, number: 0 };

  constructor(host: ForwardedRequestsHost) {
    this.#host = host;
  }

  sessionOpened(session: number): void {
    this.#session.open = false;
    this.#session = { open: true, number: session };
  }

  sessionClosed(session: number): void {
    if (this.#session.number === session) this.#session.open = false;
  }

  /** Executes or refuses a request of the standby. */
  take(session: number, request: ForwardRequest): void {
    if (!this.#session.open || this.#session.number !== session) return;
    const volume = this.#host.volume(request.volume);
    // The standby checked it: its volume table is ahead, for a record of it that is committed takes
    // effect here when the files have grown, or when this reign's first record is committed.
    if (volume === undefined || !this.#inRange(volume, request)) {
      this.#host.reply(session, answer(request.id, { refused: true }));
      return;
    }
    switch (request.command) {
      case 'write':
      case 'writeZeroes':
      case 'trim':
        if (this.#host.takesWrites()) this.#write(volume, request);
        else this.#host.reply(session, answer(request.id, { refused: true }));
        return;
      case 'read':
      case 'status':
        if (this.#host.mayRead()) this.#read(volume, request);
        else this.#host.reply(session, answer(request.id, { refused: true }));
        return;
      case 'flush':
        this.#host.reply(session, answer(request.id, {}));
        return;
      default: {
        const never: never = request.command;
        throw new Error(`no such command ${String(never)}`);
      }
    }
  }

  #inRange(volume: Volume, request: ForwardRequest): boolean {
    return request.offsetBytes + request.lengthBytes <= volume.sizeBytes;
  }

  #write(volume: Volume, request: ForwardRequest): void {
    const { offsetBytes, lengthBytes, payload } = request;
    const isWrite = request.command === 'write';
    this.#host.submitPart(
      new WritePart(
        {
          kind: isWrite
            ? recordKind.write
            : request.command === 'trim'
              ? recordKind.trim
              : recordKind.writeZeroes,
          volume: volume.number,
          offsetBytes,
          lengthBytes,
          origin: { boot: request.originBoot, number: request.originNumber },
          flags: request.noHole ? recordFlagNoHole : 0,
          payload,
          checksums: isWrite ? checksumPieces(payload, offsetBytes, lengthBytes) : [],
        },
        new ForwardedWrite(this.#host, this.#session, request.id),
      ),
    );
  }

  #read(volume: Volume, request: ForwardRequest): void {
    const session = this.#session;
    const { id, offsetBytes, lengthBytes } = request;
    const reply = (fields: Partial<ForwardReply>): void => {
      if (session.open) this.#host.reply(session.number, answer(id, fields));
    };
    const fail = (error: unknown): void => {
      this.#host.readFailed(volume, error);
      reply({ error: blockError.io });
    };
    if (request.command === 'status') {
      volume.store
        .extents(offsetBytes, lengthBytes)
        .then((extents) => reply({ extents: statusExtents(extents) }), fail);
      return;
    }
    const target = Buffer.allocUnsafe(lengthBytes);
    volume.store.read(target, offsetBytes).then(() => reply({ data: [target] }), fail);
  }
}

function answer(id: number, fields: Partial<ForwardReply>): ForwardReply {
  return { id, error: blockError.none, refused: false, data: [], extents: [], ...fields };
}
