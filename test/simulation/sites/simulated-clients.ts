/**
 * Clients of the volumes at either site, and the history of what they were answered. Every write
 * has a value of its own, which fills each of its sectors, so that what is read tells which write
 * it was. A client is attached to one site; when the process there ends, so does its connection.
 */
import {
  type BlockCommand,
  type BlockError,
  type BlockRequest,
  blockError,
  type StatusExtent,
} from '../../../daemon/nbd/block-device.ts';
import { receivedMemory, slabBytes } from '../../../daemon/slab-pool.ts';
import { checkSectors, type SectorOperation } from './sector-history.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { Violation } from './violation.ts';

const sectorBytes = 512;

export interface ClientRequest {
  readonly kind: 'read' | 'write' | 'writeZeroes' | 'trim' | 'flush';
  readonly volume: string;
  readonly sector: number;
  readonly sectors: number;
  /** writeZeroes: they have to take up space. */
  readonly noHole?: boolean;
}

export class SimulatedClients {
  /** Requests that nobody has answered, of connections that are there. */
  readonly waiting = new Set<Request>();
  answered = 0;
  errors: string[] = [];
  readonly #doubtful = new Set<string>();
  readonly #unknown = new Set<string>();
  readonly #histories = new Map<string, SectorOperation[]>();
  readonly #violated: (violation: Violation) => void;
  readonly #nowMs: () => number;
  #moment = 0;
  #values = 0;
  #slab: Buffer | undefined;
  #slabPosition = 0;

  constructor(options: { violated: (violation: Violation) => void; nowMs: () => number }) {
    this.#violated = options.violated;
    this.#nowMs = options.nowMs;
  }

  /** Sends a request to the machine's site; false if nobody is there who would take it. */
  send(machine: SimulatedMachine, asked: ClientRequest): Request | undefined {
    const { site, life } = machine;
    const device = site?.groups.find(asked.volume);
    if (device === undefined || life === undefined || life.paused || machine.stopping) {
      return undefined;
    }
    const offsetBytes = asked.sector * sectorBytes;
    const lengthBytes = Math.min(asked.sectors * sectorBytes, device.sizeBytes - offsetBytes);
    if (lengthBytes <= 0) return undefined;
    this.#values += 1;
    const operation: SectorOperation = {
      kind: asked.kind === 'read' || asked.kind === 'flush' ? 'read' : 'write',
      value: asked.kind === 'write' ? this.#values : 0,
      first: asked.sector,
      count: asked.kind === 'flush' ? 0 : lengthBytes / sectorBytes,
      invoked: this.#tick(),
      answered: undefined,
      found: [],
    };
    this.#historyOf(asked.volume).push(operation);
    const request = new Request({
      command: asked.kind,
      offsetBytes,
      lengthBytes: asked.kind === 'flush' ? 0 : lengthBytes,
      payload: asked.kind === 'write' ? this.#payload(operation.value, lengthBytes) : [],
      noHole: asked.noHole === true,
      receivedAtMs: life.clock.nowMs(),
      sentAtMs: this.#nowMs(),
      volume: asked.volume,
      machineName: machine.name,
      done: (error) => {
        if (life.alive) this.#done(request, operation, asked.volume, error);
      },
    });
    this.waiting.add(request);
    device.submit(request);
    return request;
  }

  /** The connections of a process that has ended, or of a client that went away. */
  disconnect(machineName: string): void {
    for (const request of this.waiting) {
      if (request.machineName !== machineName) continue;
      request.connected = false;
      this.waiting.delete(request);
    }
  }

  /** Clients of a volume leave it, at one machine or at both. */
  leaveVolume(volume: string, machineName?: string): void {
    for (const request of this.waiting) {
      if (request.volume !== volume) continue;
      if (machineName !== undefined && request.machineName !== machineName) continue;
      request.connected = false;
      this.waiting.delete(request);
    }
  }

  /** The volume is another one from now on. */
  forget(volume: string): void {
    this.#histories.delete(volume);
    this.#unknown.delete(volume);
  }

  /** Nobody can say which volume it is that has this name. */
  giveUp(volume: string): void {
    this.#unknown.add(volume);
  }

  /** What is there can be anything from now on, and nobody can know. */
  doubt(volume: string, firstSector: number, sectors: number): void {
    for (let sector = firstSector; sector < firstSector + sectors; sector += 1) {
      this.#doubtful.add(`${volume} ${sector}`);
    }
  }

  isDoubtful(volume: string, sector: number): boolean {
    return this.#doubtful.has(`${volume} ${sector}`);
  }

  /** Can what was answered have happened in one order, for each sector (I4, I1)? */
  check(): void {
    for (const [volume, operations] of this.#histories) {
      if (this.#unknown.has(volume)) continue;
      checkSectors(volume, operations, (sector) => this.isDoubtful(volume, sector));
    }
  }

  #done(request: Request, operation: SectorOperation, volume: string, error: BlockError): void {
    if (!this.waiting.delete(request)) {
      if (request.connected) this.#violated(new Violation('answers', 'a request answered twice'));
      return;
    }
    if (error !== blockError.none) {
      this.errors.push(`${request.command} at ${request.machineName}: error ${error}`);
      return;
    }
    this.answered += 1;
    operation.answered = this.#tick();
    if (request.command !== 'read') return;
    for (let index = 0; index < operation.count; index += 1) {
      const sector = request.target.subarray(index * sectorBytes, (index + 1) * sectorBytes);
      const value = sector.readUInt32LE(0);
      operation.found.push(value);
      if (sector.equals(sectorOf(value))) continue;
      if (this.isDoubtful(volume, operation.first + index)) continue;
      const text = `sector ${operation.first + index} read at ${request.machineName} is torn`;
      this.#violated(new Violation('torn', text));
    }
  }

  #historyOf(volume: string): SectorOperation[] {
    let history = this.#histories.get(volume);
    if (history === undefined) {
      history = [];
      this.#histories.set(volume, history);
    }
    return history;
  }

  #tick(): number {
    this.#moment += 1;
    return this.#moment;
  }

  /** In received memory, as the NBD server's payloads are: it is used again when given back. */
  #payload(value: number, lengthBytes: number): Buffer[] {
    if (this.#slab !== undefined && this.#slab.length - this.#slabPosition < lengthBytes) {
      receivedMemory.seal(this.#slab);
      this.#slab = undefined;
      this.#slabPosition = 0;
    }
    if (lengthBytes > slabBytes) return [fillWith(Buffer.alloc(lengthBytes), value)];
    this.#slab ??= receivedMemory.take();
    const payload = this.#slab.subarray(this.#slabPosition, this.#slabPosition + lengthBytes);
    receivedMemory.hold(this.#slab, lengthBytes);
    this.#slabPosition += lengthBytes;
    return [fillWith(payload, value)];
  }
}

interface RequestOptions {
  readonly command: BlockCommand;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly payload: readonly Buffer[];
  readonly noHole: boolean;
  readonly receivedAtMs: number;
  readonly sentAtMs: number;
  readonly volume: string;
  readonly machineName: string;
  readonly done: (error: BlockError) => void;
}

export class Request implements BlockRequest {
  readonly command: BlockCommand;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly payload: readonly Buffer[];
  readonly noHole: boolean;
  readonly target: Buffer;
  extents: readonly StatusExtent[] = [];
  connected = true;
  readonly receivedAtMs: number;
  readonly sentAtMs: number;
  readonly volume: string;
  readonly machineName: string;
  readonly #done: (error: BlockError) => void;

  constructor(options: RequestOptions) {
    this.command = options.command;
    this.offsetBytes = options.offsetBytes;
    this.lengthBytes = options.lengthBytes;
    this.payload = options.payload;
    this.noHole = options.noHole;
    this.receivedAtMs = options.receivedAtMs;
    this.sentAtMs = options.sentAtMs;
    this.volume = options.volume;
    this.machineName = options.machineName;
    this.#done = options.done;
    this.target = Buffer.alloc(options.command === 'read' ? options.lengthBytes : 0, 0xaa);
  }

  complete(error: BlockError): void {
    this.#done(error);
  }
}

function fillWith(buffer: Buffer, value: number): Buffer {
  for (let position = 0; position < buffer.length; position += 4) {
    buffer.writeUInt32LE(value, position);
  }
  return buffer;
}

function sectorOf(value: number): Buffer {
  return fillWith(Buffer.alloc(sectorBytes), value);
}
