/**
 * TCP between simulated machines: bytes arrive in order, late, in pieces of any size, or not at all
 * while a direction is blocked (then late, as TCP would send them again, or never when the
 * connection is given up). A killed process's connections are reset; those of a machine that lost
 * its power just fall silent, until something is sent to it after it is back.
 *
 * What is written is taken from the writer's memory only when it leaves, not when it is queued, as
 * with a real socket: memory that is used again too early shows as rubbish at the other end.
 */
import { receivedMemory } from '../../../daemon/slab-pool.ts';
import type { Listener, Network, Stream, StreamEvents } from '../../../replication/link/network.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { ProcessLife } from './process-life.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Bytes on their way that a connection may have; more waits at the sender. */
const windowBytes = 256 * 1024;
const lingerMs = 1000;
const usualDelay = { delayMs: 0.2, jitterMs: 0.3 } as const;

/** How bytes get from one machine to another. */
interface Direction {
  delayMs: number;
  jitterMs: number;
  blocked: boolean;
  waiting: (() => void)[];
  /** In so many of the next packets one bit arrives turned over. */
  flips: number;
}

interface Endpoint {
  readonly life: ProcessLife;
  readonly onStream: (stream: Stream) => void;
}

export class SimulatedNetwork {
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #directions = new Map<string, Direction>();
  readonly #listeners = new Map<string, Endpoint>();
  readonly #streams = new Set<SimulatedStream>();
  readonly #machineOf: (address: string) => string;
  connections = 0;

  /** `machineOf` says on which machine an address is. */
  constructor(time: VirtualTime, random: SeededRandom, machineOf: (address: string) => string) {
    this.#time = time;
    this.#random = random;
    this.#machineOf = machineOf;
  }

  /** The network as one life of a process sees it. */
  portOf(life: ProcessLife): Network {
    return {
      dial: (address, done) => this.#dial(life, address, done),
      listen: (address, onStream) => this.#listen(life, address, onStream),
    };
  }

  direction(from: string, to: string): Direction {
    const key = `${from}>${to}`;
    let direction = this.#directions.get(key);
    if (direction === undefined) {
      direction = { ...usualDelay, blocked: false, waiting: [], flips: 0 };
      this.#directions.set(key, direction);
    }
    return direction;
  }

  /** About so long for each packet; undefined: as short as it is without a fault. */
  setDelay(from: string, to: string, delayMs: number | undefined): void {
    const delay = delayMs === undefined ? usualDelay : { delayMs, jitterMs: delayMs / 2 };
    Object.assign(this.direction(from, to), delay);
  }

  /** A bit of the next packet is turned over, and TCP's checksum does not tell. */
  flip(from: string, to: string): void {
    this.direction(from, to).flips += 1;
  }

  /** The packet as it will arrive. */
  carried(from: string, to: string, bytes: Buffer): Buffer {
    const direction = this.direction(from, to);
    if (direction.flips === 0) return bytes;
    direction.flips -= 1;
    const flipped = Buffer.from(bytes);
    const place = this.#random.below(flipped.length);
    flipped[place] = (flipped[place] ?? 0) ^ (1 << this.#random.below(8));
    return flipped;
  }

  block(from: string, to: string): void {
    this.direction(from, to).blocked = true;
  }

  unblock(from: string, to: string): void {
    const direction = this.direction(from, to);
    direction.blocked = false;
    const { waiting } = direction;
    direction.waiting = [];
    for (const go of waiting) go();
  }

  healAll(): void {
    for (const [key, direction] of this.#directions) {
      Object.assign(direction, usualDelay, { flips: 0 });
      const [from = '', to = ''] = key.split('>');
      this.unblock(from, to);
    }
  }

  /** Breaks the connections between two machines; both ends learn of it. */
  reset(one: string, other: string): number {
    let count = 0;
    for (const stream of [...this.#streams]) {
      if (stream.life.machineName !== one || stream.remoteMachine !== other) continue;
      count += 1;
      stream.breakBoth();
    }
    return count;
  }

  /** The process is gone. Its machine tells its peers, unless it has lost its power. */
  lifeEnded(life: ProcessLife, powerLost: boolean): void {
    for (const [address, endpoint] of this.#listeners) {
      if (endpoint.life === life) this.#listeners.delete(address);
    }
    for (const stream of [...this.#streams]) if (stream.life === life) stream.vanish(powerLost);
  }

  /** Calls `go` when something sent now arrives; while the direction is blocked, later. */
  carry(from: string, to: string, go: () => void): void {
    const arrive = (): void => {
      const direction = this.direction(from, to);
      if (direction.blocked) direction.waiting.push(go);
      else go();
    };
    this.#time.after(this.delay(from, to), arrive);
  }

  delay(from: string, to: string): number {
    const { delayMs, jitterMs } = this.direction(from, to);
    return delayMs + (jitterMs * this.#random.below(1000)) / 1000;
  }

  pieces(bytes: number): number {
    return bytes > 1 && this.#random.chance(0.1) ? 1 + this.#random.below(bytes - 1) : bytes;
  }

  forget(stream: SimulatedStream): void {
    this.#streams.delete(stream);
  }

  get time(): VirtualTime {
    return this.#time;
  }

  #dial(life: ProcessLife, address: string, done: (result: Stream | Error) => void): () => void {
    let cancelled = false;
    const from = life.machineName;
    const to = this.#machineOf(address);
    const answer = (result: () => Stream | Error): void => {
      this.carry(to, from, () => {
        life.after(0, () => {
          if (!cancelled) done(result());
        });
      });
    };
    // A first packet that is lost is not sent again here: the caller gives up and dials again.
    if (!this.direction(from, to).blocked) {
      this.carry(from, to, () => {
        const endpoint = this.#listeners.get(address);
        if (endpoint === undefined || !endpoint.life.alive) {
          answer(() => new Error(`connect ECONNREFUSED ${address}`));
          return;
        }
        const near = new SimulatedStream(this, life, address, to);
        const far = new SimulatedStream(this, endpoint.life, `${from}:0`, from);
        near.connect(far);
        this.#streams.add(near).add(far);
        this.connections += 1;
        endpoint.life.after(0, () => endpoint.onStream(far));
        answer(() => near);
      });
    }
    return () => {
      cancelled = true;
    };
  }

  #listen(
    life: ProcessLife,
    address: string,
    onStream: (stream: Stream) => void,
  ): Promise<Listener> {
    if (this.#listeners.has(address)) return Promise.reject(new Error(`${address} is in use`));
    this.#listeners.set(address, { life, onStream });
    return Promise.resolve({
      address,
      close: async () => {
        if (this.#listeners.get(address)?.life === life) this.#listeners.delete(address);
      },
    });
  }
}

class SimulatedStream implements Stream {
  readonly life: ProcessLife;
  readonly remoteAddress: string;
  readonly remoteMachine: string;
  readonly #network: SimulatedNetwork;
  #far: SimulatedStream | undefined;
  #events: StreamEvents | undefined;
  #state: 'open' | 'closing' | 'closed' = 'open';
  /** Written and not yet left. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #flyingBytes = 0;
  #wantsDrain = false;
  /** Arrived and not yet delivered: nobody is attached, or reading is paused. */
  #arrived: Buffer[] = [];
  #paused = false;
  #ended: { readonly error: Error | undefined } | undefined;
  #lastArrivalMs = 0;
  #slab: Buffer | undefined;
  #slabPosition = 0;

  constructor(
    network: SimulatedNetwork,
    life: ProcessLife,
    remoteAddress: string,
    remoteMachine: string,
  ) {
    this.#network = network;
    this.life = life;
    this.remoteAddress = remoteAddress;
    this.remoteMachine = remoteMachine;
  }

  connect(far: SimulatedStream): void {
    this.#far = far;
    far.#far = this;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  attach(events: StreamEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (first) this.life.after(0, () => this.#deliver());
  }

  write(buffers: readonly Buffer[]): boolean {
    if (this.#state !== 'open') return true;
    for (const buffer of buffers) {
      this.#queue.push(buffer);
      this.#queuedBytes += buffer.length;
    }
    this.#flush();
    if (this.#queuedBytes > 0) this.#wantsDrain = true;
    return this.#queuedBytes === 0;
  }

  giveBack(chunk: Buffer, bytes: number): void {
    receivedMemory.giveBack(chunk, bytes);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.life.after(0, () => this.#deliver());
  }

  close(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#flush();
    this.#network.time.after(lingerMs, () => {
      if (this.#state === 'closing') this.#end(undefined);
    });
  }

  abort(): void {
    if (this.#state === 'closed') return;
    this.#sendEnd(resetError());
    this.#end(undefined);
  }

  breakBoth(): void {
    const far = this.#far;
    if (far !== undefined) far.#end(resetError());
    this.#end(resetError());
  }

  vanish(powerLost: boolean): void {
    if (!powerLost) this.#sendEnd(resetError());
    this.#state = 'closed';
    this.#network.forget(this);
  }

  /** What is queued leaves, as far as the window lets it. */
  #flush(): void {
    while (this.#flyingBytes < windowBytes) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#queuedBytes -= next.length;
      let rest = Buffer.from(next);
      while (rest.length > 0) {
        const bytes = this.#network.pieces(rest.length);
        const packet = rest.subarray(0, bytes);
        this.#send(this.#network.carried(this.life.machineName, this.remoteMachine, packet));
        rest = rest.subarray(bytes);
      }
    }
    if (this.#queue.length > 0) return;
    if (this.#wantsDrain) {
      this.#wantsDrain = false;
      this.life.after(0, () => {
        if (this.#state !== 'closed') this.#events?.drained();
      });
    }
    if (this.#state === 'closing') {
      this.#sendEnd(undefined);
      this.life.after(0, () => this.#end(undefined));
    }
  }

  #send(bytes: Buffer): void {
    this.#flyingBytes += bytes.length;
    this.#inOrder((far) => {
      this.#flyingBytes -= bytes.length;
      if (far.#state === 'closed') {
        // Nobody is there: the other machine answers with a reset.
        far.#inOrder((near) => near.#end(resetError()));
        return;
      }
      far.#arrived.push(bytes);
      if (far.life.alive) far.life.after(0, () => far.#deliver());
      this.#flush();
    });
  }

  #sendEnd(error: Error | undefined): void {
    this.#inOrder((far) => {
      far.#ended ??= { error };
      if (far.life.alive) far.life.after(0, () => far.#deliver());
    });
  }

  /** Does it at the far end, after everything that was sent before. */
  #inOrder(go: (far: SimulatedStream) => void): void {
    const far = this.#far;
    if (far === undefined) return;
    const { time } = this.#network;
    const [from, to] = [this.life.machineName, this.remoteMachine];
    const dueMs = time.nowMs + this.#network.delay(from, to);
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, dueMs);
    const arrive = (): void => {
      const direction = this.#network.direction(from, to);
      if (direction.blocked) direction.waiting.push(() => go(far));
      else go(far);
    };
    time.at(this.#lastArrivalMs, arrive);
  }

  #deliver(): void {
    while (this.#events !== undefined && !this.#paused && this.#state !== 'closed') {
      const bytes = this.#arrived.shift();
      if (bytes === undefined) break;
      if (this.#state === 'open') this.#events.data(this.#inSlab(bytes));
      else continue;
    }
    if (this.#ended !== undefined && this.#arrived.length === 0) this.#end(this.#ended.error);
  }

  /** As the real socket does: into memory that is used again when all of it was given back. */
  #inSlab(bytes: Buffer): Buffer {
    if (this.#slab !== undefined && this.#slab.length - this.#slabPosition < bytes.length) {
      receivedMemory.seal(this.#slab);
      this.#slab = undefined;
      this.#slabPosition = 0;
    }
    this.#slab ??= receivedMemory.take();
    if (bytes.length > this.#slab.length) return bytes;
    const chunk = this.#slab.subarray(this.#slabPosition, this.#slabPosition + bytes.length);
    bytes.copy(chunk);
    receivedMemory.hold(this.#slab, bytes.length);
    this.#slabPosition += bytes.length;
    return chunk;
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#network.forget(this);
    this.life.after(0, () => this.#events?.closed(error));
  }
}

function resetError(): Error {
  return new Error('read ECONNRESET');
}
