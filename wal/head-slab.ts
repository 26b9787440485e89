/** Memory for the heads of frames: carved from slabs, one allocation for dozens of frames. */
const slabBytes = 64 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let slabUsedBytes = 0;

/** A buffer of so many bytes, with anything in it. */
export function allocateHead(lengthBytes: number): Buffer {
  if (lengthBytes > slabBytes / 4) return Buffer.allocUnsafeSlow(lengthBytes);
  if (slabUsedBytes + lengthBytes > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    slabUsedBytes = 0;
  }
  const head = slab.subarray(slabUsedBytes, slabUsedBytes + lengthBytes);
  slabUsedBytes += (lengthBytes + 7) & ~7;
  return head;
}
