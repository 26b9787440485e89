/** A resync of a group that is removed, or closed with its site, in the middle of it (R26, R39). */
import t, { type Test } from 'tap';
import type { BulkCall } from '../../daemon/resync/bulk-calls.ts';
import { GroupResync } from '../../daemon/resync/group-resync.ts';
import type { ResyncGroup } from '../../daemon/resync/resync-group.ts';
import { SiteStore } from '../../daemon/store/site-store.ts';
import { GroupChanges } from '../../daemon/volume/group-changes.ts';
import type { GroupContext } from '../../daemon/volume/group-context.ts';
import { GroupCounters } from '../../daemon/volume/group-counters.ts';
import { GroupHistory } from '../../daemon/volume/group-history.ts';
import { GroupVolumes } from '../../daemon/volume/group-volumes.ts';
import type { CoreEvent, CoreView } from '../../replication/core/events.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedDatabases } from '../simulation/sites/simulated-databases.ts';
import { idleVolume } from '../support/idle-volume.ts';
import { pollUntil } from '../support/poll.ts';

const block = 4096;
const groupId = 'a'.repeat(32);
const point = (sequence: number) => ({ sequence, digest: `${sequence}`.padStart(32, '0') });
const entry = { volume: 1, name: 'v', sizeBytes: 8 * block, removed: false };

class Rig {
  readonly disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  readonly store: SiteStore;
  readonly resync: GroupResync;
  readonly volumes: GroupVolumes;
  readonly told: CoreEvent['kind'][] = [];
  readonly failures: unknown[] = [];
  readonly stores: VolumeStore[] = [];
  isClosed = false;
  /** Called when a volume is about to be opened. */
  opening: () => void = () => undefined;

  constructor(t: Test) {
    this.store = SiteStore.open({
      directory: '/volumes',
      cluster: 'c',
      site: 's',
      eventsCountMax: 10,
      openDatabase: new SimulatedDatabases().openDatabase,
    });
    t.teardown(() => this.store.close());
    const mode = { onPeerLoss: 'suspend', preferredSite: undefined, createdAtMs: 0 } as const;
    this.store.createGroup({ groupId, name: 'g', ...mode });
    this.resync = new GroupResync(this.#context(), groupId);
    this.volumes = new GroupVolumes({
      openStore: (volume, sizeBytes) => this.#open(volume, sizeBytes),
      makeVolume: idleVolume,
      tableChanged: () => undefined,
      progressed: () => undefined,
      keepsFiles: () => false,
      failed: (error) => this.failures.push(error),
    });
  }

  async begin(): Promise<void> {
    await this.disk.makeDirectory('/volumes');
    await this.volumes.load([entry], 0);
    this.resync.start(this.#group());
  }

  /** The core wants a resync. */
  prepare(): void {
    const config = {
      epoch: 2,
      epochId: 'b'.repeat(32),
      primary: 'c'.repeat(32),
      inSync: ['c'.repeat(32)],
      acceptors: ['c'.repeat(32), 'd'.repeat(32)],
      leaseMs: 1000,
      graceMs: 2000,
    };
    this.resync.prepare({
      kind: 'prepareResync',
      session: 1,
      changed: false,
      from: point(50),
      base: undefined,
      epochHistory: [],
      config,
    });
  }

  async remove(): Promise<void> {
    this.isClosed = true;
    await this.volumes.close();
    this.store.removeGroup(groupId);
  }

  /** What has been begun is over. */
  async settled(): Promise<void> {
    await this.resync.abandon();
  }

  async openFiles(): Promise<number> {
    let open = 0;
    for (const store of this.stores) {
      await store.allocatedBytes().then(
        () => {
          open += 1;
        },
        () => undefined,
      );
    }
    return open;
  }

  async #open(volume: number, sizeBytes: number): Promise<VolumeStore> {
    this.opening();
    const store = await VolumeStore.open({
      disk: this.resync.disk,
      directory: '/volumes',
      name: `${groupId}-${volume}`,
      sizeBytes,
      checksumCacheBytesMax: 1024 * 1024,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => this.failures.push(error),
      onStall: () => undefined,
      delay: () => Promise.resolve(),
    });
    this.stores.push(store);
    return store;
  }

  #group(): ResyncGroup {
    const isClosed = (): boolean => this.isClosed;
    const { volumes, store } = this;
    return {
      groupId,
      groupName: 'g',
      volumes,
      counters: new GroupCounters(),
      history: new GroupHistory(),
      changes: new GroupChanges({ groupId, base: undefined, store, volumes }),
      view: { resolving: false } as unknown as CoreView,
      get closed() {
        return isClosed();
      },
      tell: ({ kind }) => this.told.push(kind),
      waitFor: (condition) => (condition() ? Promise.resolve() : new Promise(() => undefined)),
      retain: () => undefined,
    };
  }

  #context(): GroupContext {
    let running: Promise<void> = Promise.resolve();
    const context: Partial<GroupContext> = {
      disk: this.disk,
      dataDirectory: '/volumes',
      store: this.store,
      resync: {
        ask: (async (name: string) => {
          const map = { chunks: [] };
          const volumes = { knowsChanges: false, reach: 50, volumes: [entry] };
          return name === 'resyncMap' ? map : volumes;
        }) as BulkCall,
        pace: {} as unknown as GroupContext['resync']['pace'],
        stageBytesMax: 1024 * block,
      },
      nowMs: () => 0,
      wallMs: () => 0,
      exclusively: (task) => {
        const run = running.then(task);
        running = run.catch(() => undefined);
        return run;
      },
      event: () => undefined,
      failed: (error) => this.failures.push(error),
      bug: (error) => this.failures.push(error),
    };
    return context as GroupContext;
  }
}

t.test('a resync begins, and can be given up', async (t) => {
  const rig = new Rig(t);
  await rig.begin();
  rig.prepare();
  await pollUntil('it has begun', () => rig.told.includes('resyncBegun'));
  await rig.resync.abandon();
  t.same(rig.told, ['resyncBegun', 'stageDropped']);
  t.same(rig.failures, []);
  await rig.volumes.close();
});

t.test('what is removed while its files are closed for a resync stays closed', async (t) => {
  const rig = new Rig(t);
  await rig.begin();
  const { volumes } = rig;
  const close = volumes.close.bind(volumes);
  let removed: Promise<void> | undefined;
  volumes.close = () => {
    volumes.close = close;
    removed = rig.remove();
    return close();
  };
  rig.prepare();
  await pollUntil('it is removed', () => removed !== undefined);
  await removed;
  await rig.settled();
  t.equal(rig.stores.length, 1, 'nothing is opened any more');
  t.equal(await rig.openFiles(), 0);
  t.same(rig.told, []);
  t.same(rig.failures, []);
  t.equal(rig.store.stage(groupId), undefined);
});

t.test('what is removed while its files are opened for a resync is closed', async (t) => {
  const rig = new Rig(t);
  await rig.begin();
  let removed: Promise<void> | undefined;
  rig.opening = () => {
    removed ??= rig.remove();
  };
  rig.prepare();
  await pollUntil('it is removed', () => removed !== undefined);
  await removed;
  t.equal(await rig.openFiles(), 0, 'before anybody removes its files');
  await rig.settled();
  t.same(rig.told, []);
  t.same(rig.failures, []);
  t.equal(rig.store.stage(groupId), undefined);
});
