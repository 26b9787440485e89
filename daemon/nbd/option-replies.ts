/** The server's side of option haggling, encoded: every reply but those of NBD_OPT_EXPORT_NAME. */
import type { BlockDevice } from './block-device.ts';
import {
  infoType,
  minimumBlockSizeBytes,
  optionReply,
  optionReplyMagic,
  payloadBytesMax,
  preferredBlockSizeBytes,
  stringBytesMax,
  transmissionFlag,
} from './constants.ts';

const noData = Buffer.alloc(0);

/** | 8 magic | 4 option | 4 reply type | 4 length | data | */
export function encodeOptionReply(option: number, type: number, data: Buffer = noData): Buffer {
  const reply = Buffer.allocUnsafe(20 + data.length);
  reply.writeBigUInt64BE(optionReplyMagic, 0);
  reply.writeUInt32BE(option, 8);
  reply.writeUInt32BE(type, 12);
  reply.writeUInt32BE(data.length, 16);
  data.copy(reply, 20);
  return reply;
}

/** An error reply with a sentence for a person. */
export function encodeOptionError(option: number, type: number, message: string): Buffer {
  return encodeOptionReply(option, type, encodeString(message));
}

/** NBD_REP_SERVER: one line of NBD_OPT_LIST. */
export function encodeServerReply(option: number, device: BlockDevice): Buffer {
  const name = encodeString(device.name);
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(name.length, 0);
  const data = Buffer.concat([length, name, encodeString(device.description)]);
  return encodeOptionReply(option, optionReply.server, data);
}

export function encodeExportInfo(option: number, device: BlockDevice, flags: number): Buffer {
  const data = Buffer.allocUnsafe(12);
  data.writeUInt16BE(infoType.export, 0);
  data.writeBigUInt64BE(BigInt(device.sizeBytes), 2);
  data.writeUInt16BE(flags, 10);
  return encodeOptionReply(option, optionReply.info, data);
}

export function encodeTextInfo(option: number, type: number, text: string): Buffer {
  const designator = Buffer.allocUnsafe(2);
  designator.writeUInt16BE(type, 0);
  const data = Buffer.concat([designator, encodeString(text)]);
  return encodeOptionReply(option, optionReply.info, data);
}

export function encodeBlockSizeInfo(option: number): Buffer {
  const data = Buffer.allocUnsafe(14);
  data.writeUInt16BE(infoType.blockSize, 0);
  data.writeUInt32BE(minimumBlockSizeBytes, 2);
  data.writeUInt32BE(preferredBlockSizeBytes, 6);
  data.writeUInt32BE(payloadBytesMax, 10);
  return encodeOptionReply(option, optionReply.info, data);
}

/** NBD_REP_META_CONTEXT; the id is 0 in answers to NBD_OPT_LIST_META_CONTEXT. */
export function encodeMetaContextReply(option: number, id: number, name: string): Buffer {
  const identifier = Buffer.allocUnsafe(4);
  identifier.writeUInt32BE(id, 0);
  const data = Buffer.concat([identifier, encodeString(name)]);
  return encodeOptionReply(option, optionReply.metaContext, data);
}

/** What the export offers in transmission; "don't fragment" exists with structured replies only. */
export function transmissionFlags(device: BlockDevice, structuredReplies: boolean): number {
  const flag = transmissionFlag;
  let flags =
    flag.hasFlags |
    flag.sendFlush |
    flag.sendFua |
    flag.sendTrim |
    flag.sendWriteZeroes |
    flag.sendFastZero |
    flag.sendCache |
    flag.canMultiConnect;
  if (device.readOnly) flags |= flag.readOnly;
  if (structuredReplies) flags |= flag.sendDontFragment;
  return flags;
}

/** UTF-8, cut at a character so that it is no longer than the document allows. */
function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= stringBytesMax) return bytes;
  let end = stringBytesMax;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}
