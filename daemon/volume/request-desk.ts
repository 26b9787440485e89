/**
 * Where a group's requests wait: writes for a place in the order, reads for the right to be
 * answered, and both, at a site that is not primary, for the peer to do them (R37, R38).
 *
 * A write is in one of these places, and moves only along these arrows:
 *
 *     queued ──> frame in flight ──> answered (committed)
 *       │  ^          │ cut
 *       v  │ refused  v
 *     unresolved: passed on to the primary, or in a frame that was cut
 *
 * An unresolved write may or may not have been executed. It is found in a frame (then it waits for
 * that frame's commit), answered by the primary, or, once this site's log has everything that the
 * primary had when the session began, known not to have been executed, and queued again (R37).
 *
 * What is passed on without an answer is bounded (`passed-on.ts`): the rest stays queued, and what
 * comes back to the queue takes the place in it that it had.
 */
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';
import { type Frame, recordOverheadBytes, recordWeightBytes } from '../../wal/frame.ts';
import { type BlockError, type BlockRequest, blockError } from '../nbd/block-device.ts';
import { statusExtents } from './group-volumes.ts';
import type { MemoryAccount } from './memory-budget.ts';
import { PassOnLane, type PassOnWindow, readToPassOn, writeToPassOn } from './passed-on.ts';
import { Queue } from './queue.ts';
import type { Volume } from './volume.ts';
import type { WritePart } from './write-part.ts';
import { splitRequest } from './write-request.ts';

export interface RequestDeskHost {
  /** Identifies this life of the process in the origins of its records. */
  readonly boot: bigint;
  readonly memory: Pick<MemoryAccount, 'take' | 'give'>;
  /** What the groups of this site may have passed on without an answer. */
  readonly passedOn: { readonly writes: PassOnWindow; readonly reads: PassOnWindow };
  /** 0: hold for ever. */
  readonly holdMsMax: number;
  nowMs(): number;
  takesWrites(): boolean;
  /** May a read be answered that had come in full then (R19, R20)? */
  mayRead(receivedAtMs: number): boolean;
  /** Reads are held: asks for what lets them be answered. */
  confirmReads(): void;
  /** The session on which requests can be passed on to the primary, if there is one. */
  standbySession(): number | undefined;
  forward(session: number, request: ForwardRequest): void;
  wakeLog(): void;
  readFailed(volume: Volume, error: unknown): void;
}

/** A read that can't be answered here at once; what it takes is in the memory of the group. */
interface WaitingRequest {
  readonly volume: Volume;
  readonly request: BlockRequest;
  readonly costBytes: number;
}

interface Unresolved {
  readonly part: WritePart;
  /** The session it was passed on with; undefined once that is closed. */
  session: number | undefined;
}

/** How long the primary is left alone after it has refused a request of this standby. */
const refusedPauseMs = 50;

export class RequestDesk {
  readonly #host: RequestDeskHost;
  readonly #queued = new Queue<WritePart>();
  readonly #unresolved = new Map<number, Unresolved>();
  /** Writes found in frames of the primary whose commit this site has not heard of yet. */
  readonly #found = new Map<number, { readonly part: WritePart; answered: boolean }>();
  readonly #held = new Queue<WaitingRequest>();
  readonly #passedOn = new Map<number, WaitingRequest & { readonly session: number }>();
  readonly #writesOnTheWay: PassOnLane;
  readonly #readsOnTheWay: PassOnLane;
  #number = 0;
  #isClosed = false;
  /** Writes were queued that had been taken out of the queue before. */
  #cameBack = false;
  #pause: { readonly session: number; readonly untilMs: number } | undefined;

  constructor(host: RequestDeskHost) {
    this.#host = host;
    const resume = (): void => this.#passOn();
    this.#writesOnTheWay = new PassOnLane(host.passedOn.writes, resume);
    this.#readsOnTheWay = new PassOnLane(host.passedOn.reads, resume);
  }

  /** Requests that wait for anything but the log: shown in status. */
  get heldRequests(): number {
    const queued = this.#host.takesWrites() ? 0 : this.#queued.length;
    return queued + this.#unresolved.size + this.#held.length + this.#passedOn.size;
  }

  get hasQueued(): boolean {
    return this.#queued.length > 0;
  }

  submit(volume: Volume, request: BlockRequest): void {
    switch (request.command) {
      case 'write':
      case 'writeZeroes':
      case 'trim':
        this.#submitWrite(volume, request);
        return;
      case 'flush':
        // Whatever was answered is on stable storage on every in-sync site already (I1).
        volume.counters.operations.flush += 1;
        request.complete(blockError.none);
        return;
      case 'cache':
        request.complete(blockError.none);
        return;
      case 'read':
      case 'status':
        this.#submitRead(volume, request);
        return;
      default: {
        const never: never = request.command;
        throw new Error(`no such command ${String(never)}`);
      }
    }
  }

  /** A write that the peer's standby passed on, as a part whose owner sends the reply. */
  submitPart(part: WritePart): void {
    this.#host.memory.take(part.costBytes);
    this.#queued.push(part);
    this.#host.wakeLog();
  }

  /** The queued writes for the next frame: at least one, about `budgetBytes` at most (R38). */
  takeParts(budgetBytes: number, countMax: number): WritePart[] {
    const parts: WritePart[] = [];
    let bytes = 0;
    this.#restoreOrder();
    while (bytes < budgetBytes && parts.length < countMax) {
      const part = this.#queued.peek();
      if (part === undefined) break;
      const weightBytes = recordWeightBytes(part);
      if (parts.length > 0 && bytes + weightBytes > budgetBytes) break;
      this.#queued.shift();
      if (!part.owner.alive) {
        this.settle(part, blockError.shutdown);
        continue;
      }
      bytes += weightBytes;
      parts.push(part);
    }
    return parts;
  }

  /** Answers a part and gives its memory back. */
  settle(part: WritePart, error: BlockError): void {
    if (!this.#takeAnswered(part)) part.owner.partDone(error);
    this.#host.memory.give(part.costBytes);
  }

  /** Parts whose frames were cut: not acknowledged, perhaps executed nowhere, perhaps they were. */
  cut(parts: readonly WritePart[]): void {
    for (const part of parts) {
      const isOthers = part.origin.boot !== this.#host.boot;
      if (isOthers || this.#isClosed) this.settle(part, blockError.shutdown);
      else if (this.#takeAnswered(part)) this.#host.memory.give(part.costBytes);
      else this.#unresolved.set(part.origin.number, { part, session: undefined });
    }
  }

  /** Looks for unresolved writes in a frame that came from the primary; gives those it holds. */
  find(frame: Frame): readonly WritePart[] {
    if (this.#unresolved.size === 0) return [];
    const found: WritePart[] = [];
    for (const record of frame.records) {
      if (record.origin.boot !== this.#host.boot) continue;
      const unresolved = this.#unresolved.get(record.origin.number);
      if (unresolved === undefined) continue;
      this.#unresolved.delete(record.origin.number);
      this.#found.set(record.origin.number, { part: unresolved.part, answered: false });
      found.push(unresolved.part);
    }
    return found;
  }

  /**
   * This site's log has everything that could hold an unresolved write of an earlier session: what
   * was not found was not executed, and may be done now (R37, H40).
   */
  resolve(): void {
    for (const [number, unresolved] of this.#unresolved) {
      if (unresolved.session !== undefined) continue;
      this.#unresolved.delete(number);
      this.#comeBack(unresolved.part);
    }
  }

  #comeBack(part: WritePart): void {
    this.#queued.push(part);
    this.#cameBack = true;
  }

  /** Puts writes that came back where they were: they are done in the order they came in. */
  #restoreOrder(): void {
    if (!this.#cameBack) return;
    this.#cameBack = false;
    const parts = this.#queued.drain();
    const isOwn = ({ origin }: WritePart): boolean => origin.boot === this.#host.boot;
    const own = parts.filter(isOwn).sort((a, b) => a.origin.number - b.origin.number);
    for (const part of own) this.#queued.push(part);
    for (const part of parts) if (!isOwn(part)) this.#queued.push(part);
  }

  /**
   * The history was replaced as a whole (R26): whether unresolved writes of earlier sessions are in
   * it can't be known any more (R37).
   */
  failUnresolved(): void {
    for (const [number, { part, session }] of this.#unresolved) {
      if (session !== undefined) continue;
      this.#unresolved.delete(number);
      this.settle(part, blockError.io);
    }
  }

  /** The role or the connection has changed, or the lease was renewed: does what can be done. */
  advance(): void {
    if (this.#host.takesWrites()) {
      if (this.#queued.length > 0) this.#host.wakeLog();
    } else this.#passOn();
    const oldest = this.#held.peek();
    if (oldest === undefined) return;
    if (this.#host.mayRead(oldest.request.receivedAtMs)) {
      for (const waiting of this.#held.drain()) {
        this.#letGo(waiting);
        this.#submitRead(waiting.volume, waiting.request);
      }
    } else this.#host.confirmReads();
  }

  sessionClosed(session: number): void {
    for (const unresolved of this.#unresolved.values()) {
      if (unresolved.session === session) unresolved.session = undefined;
    }
    for (const [id, waiting] of this.#passedOn) {
      if (waiting.session !== session) continue;
      this.#passedOn.delete(id);
      this.#held.push(waiting);
    }
    this.#writesOnTheWay.sessionClosed(session);
    this.#readsOnTheWay.sessionClosed(session);
  }

  reply(session: number, reply: ForwardReply): void {
    this.#writesOnTheWay.answered(session, reply.id);
    this.#readsOnTheWay.answered(session, reply.id);
    this.#takeReply(session, reply);
    this.#passOn();
  }

  #takeReply(session: number, reply: ForwardReply): void {
    const unresolved = this.#unresolved.get(reply.id);
    if (unresolved !== undefined && unresolved.session === session) {
      this.#unresolved.delete(reply.id);
      if (reply.refused) {
        this.#refusedBy(session);
        this.#comeBack(unresolved.part);
      } else this.settle(unresolved.part, toBlockError(reply.error));
      return;
    }
    const found = this.#found.get(reply.id);
    if (found !== undefined) {
      this.#answerFound(found, reply);
      return;
    }
    const waiting = this.#passedOn.get(reply.id);
    if (waiting === undefined || waiting.session !== session) return;
    this.#passedOn.delete(reply.id);
    if (reply.refused) {
      this.#refusedBy(session);
      this.#held.push(waiting);
    } else {
      this.#letGo(waiting);
      finishRead(waiting, reply);
    }
  }

  /** The primary can't do it now (R37): it is asked again, but not all the time. */
  #refusedBy(session: number): void {
    this.#pause = { session, untilMs: this.#host.nowMs() + refusedPauseMs };
  }

  /**
   * The primary's word for the commit of a write comes before this site hears of the commit point,
   * which travels with the next frame or heartbeat (R37).
   */
  #answerFound(found: { readonly part: WritePart; answered: boolean }, reply: ForwardReply): void {
    if (found.answered || reply.refused || toBlockError(reply.error) !== blockError.none) return;
    found.answered = true;
    found.part.owner.partDone(blockError.none);
  }

  /** Whether the primary's word has answered the part; in any case it is waited for no longer. */
  #takeAnswered(part: WritePart): boolean {
    if (this.#found.size === 0) return false;
    const found = this.#found.get(part.origin.number);
    if (found?.part !== part) return false;
    this.#found.delete(part.origin.number);
    return found.answered;
  }

  /** Drops what nobody waits for any more, and what has waited longer than is allowed (R38). */
  expire(): void {
    const oldestMs = this.#host.holdMsMax === 0 ? 0 : this.#host.nowMs() - this.#host.holdMsMax;
    const expired = (receivedAtMs: number): boolean =>
      this.#host.holdMsMax > 0 && receivedAtMs < oldestMs;
    if (!this.#host.takesWrites()) {
      for (const part of this.#queued.drain()) {
        if (part.owner.alive && !expired(part.owner.receivedAtMs)) this.#queued.push(part);
        else this.settle(part, blockError.io);
      }
    }
    for (const [number, { part }] of this.#unresolved) {
      if (part.owner.alive && !expired(part.owner.receivedAtMs)) continue;
      this.#unresolved.delete(number);
      this.settle(part, blockError.io);
    }
    for (const waiting of this.#held.drain()) {
      const { request, volume } = waiting;
      if (request.connected && !expired(request.receivedAtMs)) this.#held.push(waiting);
      else {
        this.#letGo(waiting);
        failRead(volume, request, blockError.io);
      }
    }
  }

  /** Answers everything that waits with an error: the group ends here. */
  close(error: BlockError): void {
    this.#isClosed = true;
    for (const part of this.#queued.drain()) this.settle(part, error);
    for (const { part } of this.#unresolved.values()) this.settle(part, error);
    this.#unresolved.clear();
    for (const waiting of [...this.#held.drain(), ...this.#passedOn.values()]) {
      this.#letGo(waiting);
      failRead(waiting.volume, waiting.request, error);
    }
    this.#passedOn.clear();
    this.#writesOnTheWay.clear();
    this.#readsOnTheWay.clear();
  }

  #submitWrite(volume: Volume, request: BlockRequest): void {
    if (request.lengthBytes === 0) {
      request.complete(blockError.none);
      return;
    }
    const parts = splitRequest(volume, request, this.#host.boot, this.#number, this.#host.nowMs);
    this.#number += parts.length;
    for (const part of parts) {
      this.#host.memory.take(part.costBytes);
      this.#queued.push(part);
    }
    if (this.#host.takesWrites()) this.#host.wakeLog();
    else this.#passOn();
  }

  /** Where requests are passed on to, unless the primary has just refused one. */
  #passOnSession(): number | undefined {
    const session = this.#host.standbySession();
    const pause = this.#pause;
    if (pause === undefined) return session;
    if (pause.session === session && pause.untilMs > this.#host.nowMs()) return undefined;
    this.#pause = undefined;
    return session;
  }

  #submitRead(volume: Volume, request: BlockRequest): void {
    if (this.#host.mayRead(request.receivedAtMs)) {
      this.#readHere(volume, request);
      return;
    }
    const dataBytes = request.command === 'read' ? request.lengthBytes : 0;
    const waiting = { volume, request, costBytes: recordOverheadBytes + dataBytes };
    this.#host.memory.take(waiting.costBytes);
    this.#held.push(waiting);
    if (this.#host.standbySession() !== undefined) this.#passOn();
    else this.#host.confirmReads();
  }

  /** The read is answered, or about to be: it does not wait any more. */
  #letGo(waiting: WaitingRequest): void {
    this.#host.memory.give(waiting.costBytes);
  }

  #readHere(volume: Volume, request: BlockRequest): void {
    const done =
      request.command === 'read'
        ? volume.store.read(request.target, request.offsetBytes)
        : volume.store.extents(request.offsetBytes, request.lengthBytes).then((extents) => {
            request.extents = statusExtents(extents);
          });
    done.then(
      () => {
        if (request.command === 'read') countRead(volume, request, this.#host.nowMs());
        request.complete(blockError.none);
      },
      (error: unknown) => {
        this.#host.readFailed(volume, error);
        failRead(volume, request, blockError.io);
      },
    );
  }

  /** Passes on what waits, oldest first, as far as there is room for it. */
  #passOn(): void {
    if (this.#queued.length === 0 && this.#held.length === 0) return;
    const session = this.#passOnSession();
    if (session === undefined) return;
    this.#passOnWrites(session);
    this.#passOnReads(session);
  }

  #passOnWrites(session: number): void {
    this.#restoreOrder();
    for (;;) {
      const part = this.#queued.peek();
      if (part === undefined) return;
      const isWanted = part.owner.alive && part.origin.boot === this.#host.boot;
      if (isWanted && !this.#writesOnTheWay.hasRoom()) return;
      this.#queued.shift();
      if (!isWanted) {
        this.settle(part, blockError.shutdown);
        continue;
      }
      const { number } = part.origin;
      this.#unresolved.set(number, { part, session });
      this.#writesOnTheWay.sent(session, number, part.costBytes);
      this.#host.forward(session, writeToPassOn(part));
    }
  }

  #passOnReads(session: number): void {
    while (this.#held.length > 0 && this.#readsOnTheWay.hasRoom()) {
      const waiting = this.#held.shift();
      if (waiting === undefined) return;
      this.#number += 1;
      const id = this.#number;
      this.#passedOn.set(id, { ...waiting, session });
      this.#readsOnTheWay.sent(session, id, waiting.costBytes);
      const origin = { boot: this.#host.boot, number: id };
      this.#host.forward(session, readToPassOn(waiting.volume, waiting.request, origin));
    }
  }
}

function finishRead({ volume, request }: WaitingRequest, reply: ForwardReply): void {
  const error = toBlockError(reply.error);
  if (error !== blockError.none) {
    failRead(volume, request, error);
    return;
  }
  if (request.command === 'read') {
    let position = 0;
    for (const slice of reply.data) position += slice.copy(request.target, position);
    if (position !== request.target.length) {
      failRead(volume, request, blockError.io);
      return;
    }
    volume.counters.operations.read += 1;
    volume.counters.readBytes += request.lengthBytes;
  } else {
    request.extents = reply.extents;
  }
  request.complete(blockError.none);
}

function countRead(volume: Volume, request: BlockRequest, nowMs: number): void {
  volume.counters.operations.read += 1;
  volume.counters.readBytes += request.lengthBytes;
  volume.counters.readLatency.observe(nowMs - request.receivedAtMs);
}

function failRead(volume: Volume, request: BlockRequest, error: BlockError): void {
  volume.counters.errors += 1;
  request.complete(error);
}

function toBlockError(error: number): BlockError {
  const known = Object.values(blockError).find((value) => value === error);
  return known ?? blockError.io;
}
