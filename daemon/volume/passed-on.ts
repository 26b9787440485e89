/**
 * How much a standby passes on to the primary before it is answered (R37), and how that is sent.
 *
 * Requests that are passed on, and what reads are answered with, share a connection with frames,
 * heartbeats and their acknowledgements, which go behind them: so much only may be on its way that
 * these come in time on a slow line, and that a standby whose clients have waited for long does not
 * fill the connection's queue at once (`linkQueueBytesMax`), which would end it, again and again.
 * What does not fit stays at the desk, in order, and follows as answers come.
 *
 * The groups that have something on its way share the window; each may always have one request, as
 * long as all of them together stay within a few windows.
 */
import type { ForwardRequest } from '../../replication/link/forward-format.ts';
import { type LogRecord, recordKind } from '../../wal/frame.ts';
import type { BlockRequest } from '../nbd/block-device.ts';
import { Queue } from './queue.ts';
import type { Volume } from './volume.ts';
import type { WritePart } from './write-part.ts';

/** Bytes of requests without an answer, in each direction: of writes, and of reads' answers. */
export const passedOnBytesMax = 4 * 1024 * 1024;
/**
 * In windows: beyond it no group passes anything on. Far below `linkQueueBytesMax`, whatever that
 * is; exceeded by one request.
 */
const windowsMax = 4;

/** Of a site, for one direction. */
export class PassOnWindow {
  readonly #bytesMax: number;
  readonly #waiting = new Queue<() => void>();
  #bytes = 0;
  #lanes = 0;

  constructor(bytesMax = passedOnBytesMax) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** For a group that has nothing on its way. */
  get hasRoomForOne(): boolean {
    return this.#bytes < windowsMax * this.#bytesMax;
  }

  /** For a group that has so many bytes on its way already. */
  hasRoom(ownBytes: number): boolean {
    return this.#bytes < this.#bytesMax && ownBytes < this.#bytesMax / this.#lanes;
  }

  /** Calls back once, when a group that has nothing on its way may pass one request on. */
  whenRoomForOne(resume: () => void): void {
    this.#waiting.push(resume);
  }

  /** Of its lanes only. Who has waited longest goes first. */
  change(bytes: number, lanes: -1 | 0 | 1): void {
    this.#bytes += bytes;
    this.#lanes += lanes;
    while (this.#waiting.length > 0 && this.hasRoomForOne) this.#waiting.shift()?.();
  }
}

/** What one group has passed on in a session and has no answer to. */
export class PassOnLane {
  readonly #window: PassOnWindow;
  readonly #resume: () => void;
  readonly #costs = new Map<number, number>();
  #session: number | undefined;
  #bytes = 0;
  #waits = false;

  /** `resume` is called when there is room again, if no answer of the lane's own makes it. */
  constructor(window: PassOnWindow, resume: () => void) {
    this.#window = window;
    this.#resume = resume;
  }

  hasRoom(): boolean {
    if (this.#costs.size > 0) return this.#window.hasRoom(this.#bytes);
    if (this.#window.hasRoomForOne) return true;
    if (!this.#waits) {
      this.#waits = true;
      this.#window.whenRoomForOne(this.#onRoom);
    }
    return false;
  }

  readonly #onRoom = (): void => {
    this.#waits = false;
    this.#resume();
  };

  sent(session: number, id: number, costBytes: number): void {
    if (this.#session !== session) this.clear();
    this.#session = session;
    this.answered(session, id);
    this.#costs.set(id, costBytes);
    this.#bytes += costBytes;
    this.#window.change(costBytes, this.#costs.size === 1 ? 1 : 0);
  }

  answered(session: number, id: number): void {
    const costBytes = this.#costs.get(id);
    if (costBytes === undefined || session !== this.#session) return;
    this.#costs.delete(id);
    this.#bytes -= costBytes;
    this.#window.change(-costBytes, this.#costs.size === 0 ? -1 : 0);
  }

  /** What was passed on with the session will never be answered. */
  sessionClosed(session: number): void {
    if (session === this.#session) this.clear();
  }

  clear(): void {
    if (this.#costs.size === 0) return;
    const bytes = this.#bytes;
    this.#costs.clear();
    this.#bytes = 0;
    this.#window.change(-bytes, -1);
  }
}

export function writeToPassOn(part: WritePart): ForwardRequest {
  return {
    id: part.origin.number,
    command: commandOf(part),
    volume: part.volume,
    offsetBytes: part.offsetBytes,
    lengthBytes: part.lengthBytes,
    noHole: part.flags !== 0,
    originBoot: part.origin.boot,
    originNumber: part.origin.number,
    payload: part.payload,
  };
}

export function readToPassOn(
  volume: Volume,
  request: BlockRequest,
  origin: { readonly boot: bigint; readonly number: number },
): ForwardRequest {
  return {
    id: origin.number,
    command: request.command === 'read' ? 'read' : 'status',
    volume: volume.number,
    offsetBytes: request.offsetBytes,
    lengthBytes: request.lengthBytes,
    noHole: false,
    originBoot: origin.boot,
    originNumber: origin.number,
    payload: [],
  };
}

function commandOf(record: LogRecord): 'write' | 'writeZeroes' | 'trim' {
  if (record.kind === recordKind.write) return 'write';
  return record.kind === recordKind.trim ? 'trim' : 'writeZeroes';
}
