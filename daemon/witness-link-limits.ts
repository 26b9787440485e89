/** Limits of the connection between a site and its witness: short calls, nothing else. */
import { defaultLinkLimits, type LinkLimits } from '../replication/link/limits.ts';

const kibibyte = 1024;

export const witnessLinkLimits: LinkLimits = {
  ...defaultLinkLimits,
  linkQueueBytesMax: 8 * kibibyte * kibibyte,
  linkDrainedBytes: 64 * kibibyte,
  documentBytesMax: 64 * kibibyte,
  callBytesMax: 64 * kibibyte,
  forwardBytesMax: 64 * kibibyte,
};
