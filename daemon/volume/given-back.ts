/**
 * When received memory may be used again (`daemon/slab-pool.ts`). A payload is looked at by the
 * log, by the link (on the primary) and by the volume's store, in that order or nearly; only where
 * it is sure that the first two are done does the store give it back, when it is applied and no
 * read needs it. In every other case nobody gives it back, and the collector finds it.
 */
import type { Frame, LogRecord } from '../../wal/frame.ts';
import type { FrameInFlight } from './frames-in-flight.ts';

export type GiveBack = (memory: Buffer, bytes: number) => void;

/**
 * A committed frame, which therefore is in the local log. True if its payloads are the store's
 * alone: it came from the peer and was sent nowhere, or the peer has it, so that its bytes have
 * left this site (bytes of an older session on the same connection left before those, on another
 * connection they are lost). A site that has taken over may send what it had received. Gives the
 * head of a frame back that was only received.
 */
export function letGo(entry: FrameInFlight, giveBack: GiveBack): boolean {
  if (!entry.receivedOnly) return entry.peerDurableAtMs > 0;
  giveBackHead(entry.frame, giveBack);
  return true;
}

function giveBackHead(frame: Frame, giveBack: GiveBack): void {
  let leftBytes = frame.sizeBytes;
  for (const { payload, lengthBytes } of frame.records) {
    if (payload.length > 0) leftBytes -= lengthBytes;
  }
  for (const slice of frame.bytes) {
    if (leftBytes === 0) return;
    const bytes = Math.min(leftBytes, slice.length);
    giveBack(slice, bytes);
    leftBytes -= bytes;
  }
}

/** The store is done with a record that was its alone. */
export function giveBackPayload(record: LogRecord, giveBack: GiveBack): void {
  for (const slice of record.payload) giveBack(slice, slice.length);
}
