/**
 * The msgpack documents of the link. Before the decoder sees bytes of the peer they are walked once
 * here: only plain values (nil, booleans, integers, 64-bit floats, strings, byte strings, arrays,
 * maps with short string keys), nested to a small depth, counts that fit the bytes that are there.
 * So a few hostile bytes can neither claim a huge array nor reach the decoder's extensions.
 */
import assert from 'node:assert/strict';
import { Packr } from 'msgpackr';
import { LinkFormatError } from './errors.ts';

const depthMax = 16;
const keyBytesMax = 64;
/** The peer can make this site build one object per byte; a document of calls needs far fewer. */
const valuesMax = 1_000_000;

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  moreTypes: false,
  encodeUndefinedAsNil: true,
  bundleStrings: false,
});

/** Encodes a plain value; `undefined` becomes null. */
export function packDocument(value: unknown): Buffer {
  // The encoder reuses its buffer in some modes; a copy of these small documents is cheap.
  return Buffer.from(packr.pack(value));
}

/**
 * Decodes what `packDocument` made. Byte strings are slices of `bytes`.
 * @throws LinkFormatError when the bytes are not one plain msgpack value.
 */
export function unpackDocument(bytes: Buffer): unknown {
  const reason = checkPlainMsgpack(bytes);
  if (reason !== undefined) throw new LinkFormatError(`document: ${reason}`);
  return packr.unpack(bytes);
}

/** Says what is wrong with the bytes, or undefined if they are exactly one plain value. */
export function checkPlainMsgpack(bytes: Buffer): string | undefined {
  const walk = new MsgpackWalk(bytes);
  const reason = walk.value(0);
  if (reason !== undefined) return reason;
  return walk.offset === bytes.length ? undefined : 'bytes after the end';
}

class MsgpackWalk {
  offset = 0;
  #values = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(depth: number): string | undefined {
    if (depth > depthMax) return `nested deeper than ${depthMax}`;
    this.#values += 1;
    if (this.#values > valuesMax) return `more than ${valuesMax} values`;
    const token = this.#bytes[this.offset];
    if (token === undefined) return 'ends too early';
    this.offset += 1;
    if (token <= 0x7f || token >= 0xe0) return undefined;
    if (token <= 0x8f) return this.#map(token & 0x0f, depth);
    if (token <= 0x9f) return this.#array(token & 0x0f, depth);
    if (token <= 0xbf) return this.#skip(token & 0x1f);
    return this.#longValue(token, depth);
  }

  #longValue(token: number, depth: number): string | undefined {
    switch (token) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return undefined;
      case 0xc4:
      case 0xd9:
        return this.#sized(1, (count) => this.#skip(count));
      case 0xc5:
      case 0xda:
        return this.#sized(2, (count) => this.#skip(count));
      case 0xc6:
      case 0xdb:
        return this.#sized(4, (count) => this.#skip(count));
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#skip(4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#skip(8);
      case 0xcc:
      case 0xd0:
        return this.#skip(1);
      case 0xcd:
      case 0xd1:
        return this.#skip(2);
      case 0xdc:
        return this.#sized(2, (count) => this.#array(count, depth));
      case 0xdd:
        return this.#sized(4, (count) => this.#array(count, depth));
      case 0xde:
        return this.#sized(2, (count) => this.#map(count, depth));
      case 0xdf:
        return this.#sized(4, (count) => this.#map(count, depth));
      default:
        return `type byte 0x${token.toString(16)} is not allowed`;
    }
  }

  #array(count: number, depth: number): string | undefined {
    if (count > this.#bytes.length - this.offset) return 'array longer than the document';
    for (let index = 0; index < count; index += 1) {
      const reason = this.value(depth + 1);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  #map(count: number, depth: number): string | undefined {
    if (count > this.#bytes.length - this.offset) return 'map longer than the document';
    for (let index = 0; index < count; index += 1) {
      const reason = this.#key() ?? this.value(depth + 1);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  #key(): string | undefined {
    const token = this.#bytes[this.offset];
    if (token === undefined) return 'ends too early';
    this.offset += 1;
    if (token >= 0xa0 && token <= 0xbf) return this.#skip(token & 0x1f);
    if (token !== 0xd9) return 'a map key is not a short string';
    return this.#sized(1, (count) =>
      count > keyBytesMax ? 'a map key is too long' : this.#skip(count),
    );
  }

  #sized(lengthBytes: 1 | 2 | 4, use: (count: number) => string | undefined): string | undefined {
    if (this.offset + lengthBytes > this.#bytes.length) return 'ends too early';
    const count = this.#bytes.readUIntBE(this.offset, lengthBytes);
    this.offset += lengthBytes;
    return use(count);
  }

  #skip(count: number): string | undefined {
    if (count > this.#bytes.length - this.offset) return 'ends too early';
    this.offset += count;
    assert(this.offset <= this.#bytes.length, 'the walk stays within the document');
    return undefined;
  }
}
