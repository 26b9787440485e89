/** A volume that nobody uses, for tests of what it is in. */
import type { VolumeEntry } from '../../daemon/volume/group-volumes.ts';
import { newCounters, Volume } from '../../daemon/volume/volume.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';

export function idleVolume(entry: VolumeEntry, store: VolumeStore, mayRead = true): Volume {
  return new Volume({
    ...entry,
    number: entry.volume,
    store,
    host: {
      groupName: 'g',
      mayRead: () => mayRead,
      submit: () => undefined,
      congested: false,
      whenRoom: () => undefined,
      nowMs: () => 0,
    },
    counters: newCounters(),
  });
}
