/**
 * The gate: which requests an export takes, and the error that the NBD document names for each that
 * it does not. Behind it the fields are trusted.
 */
import { type BlockDevice, type BlockError, blockError } from './block-device.ts';
import { command, commandFlag, payloadBytesMax } from './constants.ts';
import type { NegotiatedExport } from './negotiation.ts';
import type { RequestHeader } from './request-parser.ts';

/** An error and what to tell a person about it. */
export interface Refusal {
  readonly error: BlockError;
  readonly message: string;
}

const refusal = {
  unknownCommand: { error: blockError.invalid, message: 'unknown command' },
  unknownFlag: { error: blockError.invalid, message: 'flag not known for this command' },
  readOnly: { error: blockError.permission, message: 'the export is read-only' },
  beyondEnd: { error: blockError.invalid, message: 'beyond the end of the export' },
  writeBeyondEnd: { error: blockError.noSpace, message: 'write beyond the end of the export' },
  tooLong: { error: blockError.overflow, message: 'read longer than the maximum payload' },
  noContext: { error: blockError.invalid, message: 'no metadata context was negotiated' },
  emptyStatus: { error: blockError.invalid, message: 'block status of nothing' },
  flushFields: { error: blockError.invalid, message: 'offset and length of a flush must be 0' },
} as const satisfies Record<string, Refusal>;

const { forceUnitAccess, noHole, dontFragment, requestOne, fastZero } = commandFlag;

/** Flags that a command may carry. FUA is to be accepted with every command, and is in each. */
function allowedFlags(type: number, structuredReplies: boolean): number {
  switch (type) {
    case command.read:
      return structuredReplies ? forceUnitAccess | dontFragment : forceUnitAccess;
    case command.writeZeroes:
      return forceUnitAccess | noHole | fastZero;
    case command.blockStatus:
      return forceUnitAccess | requestOne;
    default:
      return forceUnitAccess;
  }
}

/**
 * Gives why the request is refused, or undefined if the device may have it. NBD_CMD_DISC is not a
 * request in this sense.
 */
export function checkRequest(
  header: RequestHeader,
  negotiated: NegotiatedExport,
): Refusal | undefined {
  const { type, offsetBytes, lengthBytes } = header;
  if (type > command.blockStatus || type === command.disconnect) return refusal.unknownCommand;
  const { device, structuredReplies } = negotiated;
  if ((header.flags & ~allowedFlags(type, structuredReplies)) !== 0) return refusal.unknownFlag;
  if (type === command.flush) {
    return offsetBytes === 0 && lengthBytes === 0 ? undefined : refusal.flushFields;
  }
  if (type === command.blockStatus) {
    if (!negotiated.allocationStatus) return refusal.noContext;
    if (lengthBytes === 0) return refusal.emptyStatus;
  }
  const modifies = type === command.write || type === command.writeZeroes || type === command.trim;
  if (modifies && device.readOnly) return refusal.readOnly;
  if (!insideExport(device, offsetBytes, lengthBytes)) {
    const takesSpace = type === command.write || type === command.writeZeroes;
    return takesSpace ? refusal.writeBeyondEnd : refusal.beyondEnd;
  }
  if (type === command.read && lengthBytes > payloadBytesMax) return refusal.tooLong;
  return undefined;
}

function insideExport(device: BlockDevice, offsetBytes: number, lengthBytes: number): boolean {
  // Written so that nothing overflows: the offset may be Infinity.
  return offsetBytes <= device.sizeBytes && lengthBytes <= device.sizeBytes - offsetBytes;
}
