/**
 * The handshake and option haggling of one connection: a state machine over received bytes that
 * gives bytes to send and, at its end, the export and what was negotiated for it. It has no socket
 * and no clock; time-outs are the connection's.
 *
 * Only what an option needs is kept: data beyond `optionDataBytesMax` is counted and skipped, and a
 * client that announces absurd lengths, sends options without end, or breaks the framing is
 * dropped.
 */
import type { BlockDevice, ExportDirectory } from './block-device.ts';
import {
  allocationContext,
  allocationContextId,
  handshakeFlag,
  infoType,
  initMagic,
  option,
  optionMagic,
  optionReply,
  stringBytesMax,
} from './constants.ts';
import type { NbdLimits } from './limits.ts';
import { decodeInfoOption, decodeMetaContextOption } from './option-data.ts';
import {
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeMetaContextReply,
  encodeOptionError,
  encodeOptionReply,
  encodeServerReply,
  encodeTextInfo,
  transmissionFlags,
} from './option-replies.ts';

export interface NegotiatedExport {
  readonly device: BlockDevice;
  readonly structuredReplies: boolean;
  /** base:allocation was selected for this export: NBD_CMD_BLOCK_STATUS is allowed. */
  readonly allocationStatus: boolean;
}

export type NegotiationOutcome =
  | { readonly kind: 'more' }
  /** Transmission begins with the bytes of the chunk from `position` on. */
  | {
      readonly kind: 'transmission';
      readonly negotiated: NegotiatedExport;
      readonly position: number;
    }
  /** NBD_OPT_STARTTLS was agreed to: what the client sends next is TLS. */
  | { readonly kind: 'start-tls' }
  /** NBD_OPT_ABORT: send what is queued, then close. */
  | { readonly kind: 'aborted' }
  /** A violation that ends the session at once. */
  | { readonly kind: 'drop'; readonly reason: string };

export interface NegotiationHost {
  readonly exports: ExportDirectory;
  readonly limits: NbdLimits;
  /** True once the server is closing: every option but ABORT is refused. */
  readonly closing: boolean;
  /** Whether STARTTLS can be, has to be, or has been done. */
  readonly tls: 'none' | 'offered' | 'required' | 'active';
  readonly send: (bytes: Buffer) => void;
}

const more: NegotiationOutcome = { kind: 'more' };
const clientFlagsBytes = 4;
const optionHeaderBytes = 16;
const paddingBytes = 124;

function drop(reason: string): NegotiationOutcome {
  return { kind: 'drop', reason };
}

type Phase =
  | { readonly kind: 'client-flags' }
  | { readonly kind: 'option-header' }
  | { readonly kind: 'option-data'; readonly option: number }
  | { readonly kind: 'skip'; readonly option: number };

export class Negotiation {
  readonly #host: NegotiationHost;
  #phase: Phase = { kind: 'client-flags' };
  #collected: Buffer = Buffer.allocUnsafe(optionHeaderBytes);
  #collectedBytes = 0;
  #neededBytes = clientFlagsBytes;
  #noZeroes = false;
  #structuredReplies = false;
  #optionCount = 0;
  /** The export that the last successful NBD_OPT_SET_META_CONTEXT selected the context for. */
  #contextDevice: BlockDevice | undefined;

  constructor(host: NegotiationHost) {
    this.#host = host;
  }

  /** What the server says first. */
  static greeting(): Buffer {
    const greeting = Buffer.allocUnsafe(18);
    greeting.writeBigUInt64BE(initMagic, 0);
    greeting.writeBigUInt64BE(optionMagic, 8);
    greeting.writeUInt16BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes, 16);
    return greeting;
  }

  receive(chunk: Buffer): NegotiationOutcome {
    let position = 0;
    for (;;) {
      const taken = Math.min(this.#neededBytes - this.#collectedBytes, chunk.length - position);
      if (this.#phase.kind !== 'skip') {
        chunk.copy(this.#collected, this.#collectedBytes, position, position + taken);
      }
      position += taken;
      this.#collectedBytes += taken;
      if (this.#collectedBytes < this.#neededBytes) return more;
      const outcome = this.#collectedAll(position, chunk.length);
      if (outcome !== more) return outcome;
    }
  }

  #expect(phase: Phase, bytes: number): NegotiationOutcome {
    this.#phase = phase;
    this.#collectedBytes = 0;
    this.#neededBytes = bytes;
    if (phase.kind !== 'skip' && this.#collected.length < bytes) {
      this.#collected = Buffer.allocUnsafe(bytes);
    }
    return more;
  }

  #collectedAll(position: number, chunkBytes: number): NegotiationOutcome {
    const phase = this.#phase;
    switch (phase.kind) {
      case 'client-flags':
        return this.#onClientFlags(this.#collected.readUInt32BE(0));
      case 'option-header':
        return this.#onOptionHeader();
      case 'option-data': {
        const data = this.#collected.subarray(0, this.#neededBytes);
        this.#expect({ kind: 'option-header' }, optionHeaderBytes);
        return this.#onOption(phase.option, data, position, chunkBytes);
      }
      case 'skip':
        this.#expect({ kind: 'option-header' }, optionHeaderBytes);
        this.#refuse(phase.option, optionReply.errorTooBig, 'the data of the option is too long');
        return more;
      default: {
        const never: never = phase;
        throw new Error(`no such phase ${String(never)}`);
      }
    }
  }

  #onClientFlags(flags: number): NegotiationOutcome {
    const known = handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes;
    if ((flags & ~known) !== 0) return drop('unknown client flags');
    this.#noZeroes = (flags & handshakeFlag.noZeroes) !== 0;
    return this.#expect({ kind: 'option-header' }, optionHeaderBytes);
  }

  #onOptionHeader(): NegotiationOutcome {
    const { limits } = this.#host;
    if (this.#collected.readBigUInt64BE(0) !== optionMagic) return drop('bad option magic');
    const code = this.#collected.readUInt32BE(8);
    const length = this.#collected.readUInt32BE(12);
    this.#optionCount += 1;
    if (this.#optionCount > limits.optionsMax) return drop('too many options');
    if (length > limits.optionSkipBytesMax) return drop('the data of an option is far too long');
    if (code === option.exportName && length > stringBytesMax) {
      return drop('export name too long');
    }
    if (length > limits.optionDataBytesMax)
      return this.#expect({ kind: 'skip', option: code }, length);
    return this.#expect({ kind: 'option-data', option: code }, length);
  }

  #onOption(code: number, data: Buffer, position: number, chunkBytes: number): NegotiationOutcome {
    if (code === option.abort) {
      this.#host.send(encodeOptionReply(code, optionReply.ack));
      return { kind: 'aborted' };
    }
    if (this.#host.tls === 'required' && code !== option.startTls) {
      // This option can't be answered with an error.
      if (code === option.exportName) return drop('TLS is required here');
      return this.#refuse(code, optionReply.errorTlsRequired, 'TLS is required here');
    }
    if (code === option.exportName) return this.#onExportName(data, position);
    if (this.#host.closing) {
      return this.#refuse(code, optionReply.errorShutdown, 'the server is shutting down');
    }
    switch (code) {
      case option.list:
        return this.#onList(code, data);
      case option.info:
      case option.go:
        return this.#onInfo(code, data, position);
      case option.structuredReply:
        return this.#onStructuredReply(code, data);
      case option.listMetaContext:
        return this.#onListMetaContext(code, data);
      case option.setMetaContext:
        return this.#onSetMetaContext(code, data);
      case option.startTls:
        return this.#onStartTls(code, data, position, chunkBytes);
      default:
        return this.#refuse(code, optionReply.errorUnsupported, 'this option is not known here');
    }
  }

  /** What was said before is forgotten, so that nobody on the way can have slipped it in. */
  #onStartTls(
    code: number,
    data: Buffer,
    position: number,
    chunkBytes: number,
  ): NegotiationOutcome {
    const { tls } = this.#host;
    if (tls === 'none') {
      return this.#refuse(code, optionReply.errorUnsupported, 'TLS is not offered here');
    }
    if (tls === 'active' || data.length > 0) {
      const why = tls === 'active' ? 'TLS is active already' : 'STARTTLS has no data';
      return this.#refuse(code, optionReply.errorInvalid, why);
    }
    if (position < chunkBytes) return drop('more was sent before TLS had begun');
    this.#structuredReplies = false;
    this.#contextDevice = undefined;
    this.#acknowledge(code);
    return { kind: 'start-tls' };
  }

  #onExportName(data: Buffer, position: number): NegotiationOutcome {
    // This option can't be answered with an error: the document has the session end.
    if (this.#host.closing) return drop('the server is shutting down');
    const device = this.#host.exports.find(data.toString('utf8'));
    if (device === undefined) return drop('no such export');
    const reply = Buffer.alloc(10 + (this.#noZeroes ? 0 : paddingBytes));
    reply.writeBigUInt64BE(BigInt(device.sizeBytes), 0);
    reply.writeUInt16BE(transmissionFlags(device, this.#structuredReplies), 8);
    this.#host.send(reply);
    return this.#enter(device, position);
  }

  #onList(code: number, data: Buffer): NegotiationOutcome {
    if (data.length > 0) return this.#refuse(code, optionReply.errorInvalid, 'LIST has no data');
    for (const device of this.#host.exports.list()) {
      this.#host.send(encodeServerReply(code, device));
    }
    return this.#acknowledge(code);
  }

  #onInfo(code: number, data: Buffer, position: number): NegotiationOutcome {
    const request = decodeInfoOption(data);
    if (request === undefined) {
      return this.#refuse(code, optionReply.errorInvalid, 'the data of the option is malformed');
    }
    const device = this.#find(code, request.exportName);
    if (device === undefined) return more;
    const { send } = this.#host;
    send(encodeExportInfo(code, device, transmissionFlags(device, this.#structuredReplies)));
    if (request.infoTypes.has(infoType.name)) {
      send(encodeTextInfo(code, infoType.name, device.name));
    }
    if (request.infoTypes.has(infoType.description)) {
      send(encodeTextInfo(code, infoType.description, device.description));
    }
    if (request.infoTypes.has(infoType.blockSize)) send(encodeBlockSizeInfo(code));
    this.#acknowledge(code);
    return code === option.go ? this.#enter(device, position) : more;
  }

  #onStructuredReply(code: number, data: Buffer): NegotiationOutcome {
    if (data.length > 0) {
      return this.#refuse(code, optionReply.errorInvalid, 'STRUCTURED_REPLY has no data');
    }
    this.#structuredReplies = true;
    return this.#acknowledge(code);
  }

  #onListMetaContext(code: number, data: Buffer): NegotiationOutcome {
    const request = this.#metaContextRequest(code, data);
    if (request === undefined) return more;
    const { queries } = request;
    const wanted = (query: string): boolean => query === 'base:' || query === allocationContext;
    if (queries.length === 0 || queries.some(wanted)) {
      this.#host.send(encodeMetaContextReply(code, 0, allocationContext));
    }
    return this.#acknowledge(code);
  }

  #onSetMetaContext(code: number, data: Buffer): NegotiationOutcome {
    // Whatever was selected before is gone, also when this fails.
    this.#contextDevice = undefined;
    const request = this.#metaContextRequest(code, data);
    if (request === undefined) return more;
    if (request.queries.includes(allocationContext)) {
      this.#contextDevice = request.device;
      this.#host.send(encodeMetaContextReply(code, allocationContextId, allocationContext));
    }
    return this.#acknowledge(code);
  }

  /** Undefined: the client has been told why. */
  #metaContextRequest(
    code: number,
    data: Buffer,
  ): { device: BlockDevice; queries: readonly string[] } | undefined {
    if (!this.#structuredReplies) {
      this.#refuse(code, optionReply.errorInvalid, 'structured replies come first');
      return undefined;
    }
    const request = decodeMetaContextOption(data);
    if (request === undefined) {
      this.#refuse(code, optionReply.errorInvalid, 'the data of the option is malformed');
      return undefined;
    }
    const device = this.#find(code, request.exportName);
    return device === undefined ? undefined : { device, queries: request.queries };
  }

  #find(code: number, name: string): BlockDevice | undefined {
    const device = this.#host.exports.find(name);
    if (device === undefined) {
      this.#refuse(code, optionReply.errorUnknown, 'there is no such export');
    }
    return device;
  }

  #acknowledge(code: number): NegotiationOutcome {
    this.#host.send(encodeOptionReply(code, optionReply.ack));
    return more;
  }

  #refuse(code: number, type: number, message: string): NegotiationOutcome {
    this.#host.send(encodeOptionError(code, type, message));
    return more;
  }

  #enter(device: BlockDevice, position: number): NegotiationOutcome {
    const negotiated = {
      device,
      structuredReplies: this.#structuredReplies,
      allocationStatus: this.#contextDevice === device,
    };
    return { kind: 'transmission', negotiated, position };
  }
}
