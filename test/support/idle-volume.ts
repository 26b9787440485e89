/** A volume that nobody uses, for tests of the table that it is in. */
import type { VolumeEntry } from '../../daemon/volume/group-volumes.ts';
import { Volume } from '../../daemon/volume/volume.ts';
import { LatencyHistogram } from '../../wal/latency-histogram.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';

export function idleVolume(entry: VolumeEntry, store: VolumeStore): Volume {
  return new Volume({
    ...entry,
    number: entry.volume,
    store,
    host: {
      groupName: 'g',
      mayRead: () => true,
      submit: () => undefined,
      congested: false,
      whenRoom: () => undefined,
      nowMs: () => 0,
    },
    counters: {
      operations: { read: 0, write: 0, writeZeroes: 0, trim: 0, flush: 0 },
      readBytes: 0,
      writtenBytes: 0,
      errors: 0,
      readLatency: new LatencyHistogram(),
      writeLatency: new LatencyHistogram(),
    },
  });
}
