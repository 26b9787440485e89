/**
 * An NBD client that does just what a test says, byte for byte. The numbers are written out here,
 * not imported from the server, so that a wrong constant there shows.
 */
import { connect, type Socket } from 'node:net';

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface Reply {
  readonly cookie: bigint;
  /** Simple reply: its error. Structured: that of an error chunk, else 0. */
  readonly error: number;
  /** Type of a structured chunk; undefined for a simple reply. */
  readonly type: number | undefined;
  readonly done: boolean;
  /** Payload of a chunk; data of a simple read. */
  readonly data: Buffer;
}

export interface RequestFields {
  readonly type: number;
  readonly cookie?: bigint;
  readonly flags?: number;
  readonly offset?: bigint | number;
  readonly length?: number;
  readonly payload?: Buffer;
  readonly magic?: number;
}

export class RawClient {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  #receivedBytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#receivedBytes += chunk.length;
      this.#wake?.();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
  }

  static connect(target: string | number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = typeof target === 'string' ? connect(target) : connect(target, '127.0.0.1');
      socket.setNoDelay(true);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        resolve(new RawClient(socket));
      });
    });
  }

  /** Takes the greeting and sends the client flags (fixed newstyle, no zeroes). */
  async greet(flags = 3): Promise<Buffer> {
    const greeting = await this.read(18);
    this.send(uint32(flags));
    return greeting;
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The next bytes; throws when the server closes before they have come. */
  async read(length: number): Promise<Buffer> {
    while (this.#receivedBytes < length) {
      if (this.#ended) throw new Error(`closed after ${this.#receivedBytes} of ${length} bytes`);
      await this.#more();
    }
    const [first] = this.#chunks;
    if (first === undefined || first.length < length) this.#chunks = [Buffer.concat(this.#chunks)];
    const joined = this.#chunks[0] ?? Buffer.alloc(0);
    this.#chunks[0] = joined.subarray(length);
    this.#receivedBytes -= length;
    return joined.subarray(0, length);
  }

  /** Resolves with what was still sent when the server has closed the connection. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) await this.#more();
    return Buffer.concat(this.#chunks);
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  sendOption(option: number, data: Buffer = Buffer.alloc(0)): void {
    this.send(Buffer.from('IHAVEOPT'), uint32(option), uint32(data.length), data);
  }

  async readOptionReply(): Promise<OptionReply> {
    const header = await this.read(20);
    if (header.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('bad option reply magic');
    const data = await this.read(header.readUInt32BE(16));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
  }

  /** Sends an option and gives its replies, the final one last. */
  async option(option: number, data: Buffer = Buffer.alloc(0)): Promise<OptionReply[]> {
    this.sendOption(option, data);
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.readOptionReply();
      replies.push(reply);
      if (reply.type === 1 || reply.type >= 0x80000000) return replies;
    }
  }

  /** From the greeting into transmission by NBD_OPT_GO. */
  async go(
    exportName: string,
    negotiate: { structured?: boolean; context?: boolean } = {},
  ): Promise<void> {
    await this.greet();
    if (negotiate.structured === true) await this.option(8);
    if (negotiate.context === true) {
      await this.option(10, metaContextData(exportName, ['base:allocation']));
    }
    const replies = await this.option(7, infoData(exportName, []));
    if (replies.at(-1)?.type !== 1) throw new Error('NBD_OPT_GO was refused');
  }

  request(fields: RequestFields): void {
    this.send(encodeRequest(fields));
  }

  /** The next reply; `readLength`: bytes of data that follow a successful simple reply. */
  async reply(readLength = 0): Promise<Reply> {
    const magic = (await this.read(4)).readUInt32BE(0);
    if (magic === 0x67446698) {
      const header = await this.read(12);
      const error = header.readUInt32BE(0);
      const data = await this.read(error === 0 ? readLength : 0);
      return { cookie: header.readBigUInt64BE(4), error, type: undefined, done: true, data };
    }
    if (magic !== 0x668e33ef) throw new Error(`bad reply magic ${magic.toString(16)}`);
    const header = await this.read(16);
    const type = header.readUInt16BE(2);
    const data = await this.read(header.readUInt32BE(12));
    return {
      cookie: header.readBigUInt64BE(4),
      error: (type & 0x8000) === 0 ? 0 : data.readUInt32BE(0),
      type,
      done: (header.readUInt16BE(0) & 1) === 1,
      data,
    };
  }

  /** Sends a request and gives the next reply. */
  async ask(fields: RequestFields): Promise<Reply> {
    this.request(fields);
    return await this.reply(fields.type === 0 ? (fields.length ?? 0) : 0);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function encodeRequest(fields: RequestFields): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(fields.magic ?? 0x25609513, 0);
  header.writeUInt16BE(fields.flags ?? 0, 4);
  header.writeUInt16BE(fields.type, 6);
  header.writeBigUInt64BE(fields.cookie ?? 0n, 8);
  header.writeBigUInt64BE(BigInt(fields.offset ?? 0), 16);
  header.writeUInt32BE(fields.length ?? fields.payload?.length ?? 0, 24);
  return fields.payload === undefined ? header : Buffer.concat([header, fields.payload]);
}

/** Data of NBD_OPT_INFO and NBD_OPT_GO. */
export function infoData(name: string, types: readonly number[]): Buffer {
  const bytes = Buffer.from(name);
  const list = Buffer.alloc(2 + 2 * types.length);
  list.writeUInt16BE(types.length, 0);
  types.forEach((type, index) => {
    list.writeUInt16BE(type, 2 + 2 * index);
  });
  return Buffer.concat([uint32(bytes.length), bytes, list]);
}

/** Data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
export function metaContextData(name: string, queries: readonly string[]): Buffer {
  const bytes = Buffer.from(name);
  const encoded = queries.flatMap((query) => [
    uint32(Buffer.byteLength(query)),
    Buffer.from(query),
  ]);
  return Buffer.concat([uint32(bytes.length), bytes, uint32(queries.length), ...encoded]);
}
