/** What the site offers the resyncs of its groups; `site-resync.ts` has it. */
import type { BulkCall } from './bulk-calls.ts';
import type { ResyncPace } from './resync-pace.ts';

export interface ResyncServices {
  readonly ask: BulkCall;
  readonly pace: ResyncPace;
  /** Bytes of all volumes of one group that may be staged beside its data files. */
  readonly stageBytesMax: number;
}
