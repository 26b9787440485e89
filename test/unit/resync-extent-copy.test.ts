/** Extents that are copied (R26): what is asked, what is written, and what is never overwritten. */
import t, { type Test } from 'tap';
import type { BulkCall, BulkCallResult } from '../../daemon/resync/bulk-calls.ts';
import { copySome } from '../../daemon/resync/extent-copy.ts';
import { extentHash } from '../../daemon/resync/extents.ts';
import { ResyncPace } from '../../daemon/resync/resync-pace.ts';
import { WantedExtents } from '../../daemon/resync/wanted-extents.ts';
import { crc32c } from '../../wal/checksum.ts';
import { SparseSet } from '../../wal/sparse-set.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const extent = 64 * 1024;
const block = 4096;
const extents = 4;

type ExtentAnswer = BulkCallResult<'resyncExtents'>['extents'][number];

/** One volume on a disk in memory, and a source that is a plain buffer. */
class Copy {
  readonly source = Buffer.alloc(extents * extent);
  readonly wanted = new WantedExtents(0);
  readonly store: VolumeStore;
  committed = 7;
  upTo = 7;
  asked: { readonly extent: number; readonly hash: Uint8Array | null }[] = [];
  receivedBytes = 0;
  /** Called while the question is under way. */
  meanwhile: () => void = () => undefined;
  /** What becomes of each answer on its way. */
  damage: (answer: ExtentAnswer) => ExtentAnswer = (answer) => answer;

  private constructor(store: VolumeStore) {
    this.store = store;
    const all = new SparseSet();
    all.add(0, extents);
    this.wanted.want(1, all);
  }

  static async open(t: Test): Promise<Copy> {
    const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
    await disk.makeDirectory('/volumes');
    const store = await VolumeStore.open({
      disk,
      directory: '/volumes',
      name: 'v',
      sizeBytes: extents * extent,
      checksumCacheBytesMax: 1024 * 1024,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => t.fail(error.message),
      onStall: () => undefined,
      delay: () => Promise.resolve(),
    });
    t.teardown(() => store.close());
    return new Copy(store);
  }

  run(): Promise<boolean> {
    const delay = (): Promise<void> => Promise.resolve();
    return copySome({
      groupId: '0'.repeat(32),
      site: {
        ask: this.#ask,
        pace: new ResyncPace({ concurrency: 1, nowMs: () => 0, delay }),
        stageBytesMax: extent,
      },
      wanted: this.wanted,
      full: false,
      inPlace: () => false,
      store: () => this.store,
      committedThrough: () => this.committed,
      copied: ({ receivedBytes }) => {
        this.receivedBytes += receivedBytes;
      },
    });
  }

  async content(): Promise<Buffer> {
    const content = Buffer.alloc(extents * extent);
    await this.store.read(content, 0);
    return content;
  }

  readonly #ask: BulkCall = (method, parameters) => {
    if (method !== 'resyncExtents' || !('extents' in parameters)) throw new Error(method);
    this.asked = parameters.extents.map(({ extent: number, hash }) => ({ extent: number, hash }));
    this.meanwhile();
    const answer = {
      upTo: this.upTo,
      reach: this.upTo,
      rateBytes: 1e9,
      extents: this.asked.map(({ extent: number, hash }) =>
        this.damage(this.#answer(number, hash)),
      ),
    };
    // The type of the answer follows from the method, which was checked.
    return Promise.resolve(answer) as ReturnType<BulkCall> as never;
  };

  #answer(number: number, hash: Uint8Array | null): ExtentAnswer {
    const data = this.source.subarray(number * extent, (number + 1) * extent);
    if (data.every((byte) => byte === 0)) return { kind: 'hole' } as const;
    if (hash !== null && extentHash(data).equals(hash)) return { kind: 'same' } as const;
    const checksums = Buffer.alloc((extent / block) * 4);
    for (let at = 0; at < extent; at += block) {
      checksums.writeUInt32LE(crc32c(data.subarray(at, at + block)), (at / block) * 4);
    }
    return { kind: 'data', data, checksums } as const;
  }
}

t.test('what differs comes, holes stay holes, and the same is not sent again', async (t) => {
  const copy = await Copy.open(t);
  copy.source.fill(5, 0, extent);
  copy.source.fill(6, 2 * extent, 2 * extent + block);
  t.ok(await copy.run());
  t.ok((await copy.content()).equals(copy.source));
  t.equal(copy.receivedBytes, 2 * extent);
  t.notOk((await copy.store.extents(extent, extent)).some(({ allocated }) => allocated));
  t.notOk(await copy.run(), 'everything is held');

  const again = new WantedExtents(0);
  const all = new SparseSet();
  all.add(0, extents);
  again.want(1, all);
  Object.assign(copy, { wanted: again, receivedBytes: 0 });
  copy.source.fill(0, 2 * extent, 3 * extent);
  copy.source.fill(9, 3 * extent, 3 * extent + 1);
  await copy.run();
  t.same(
    copy.asked.map(({ hash }) => hash !== null),
    [true, false, true, false],
    'a hole has no hash',
  );
  t.equal(copy.receivedBytes, extent, 'only what differs was sent');
  t.ok((await copy.content()).equals(copy.source), 'and what is a hole there became one');
});

t.test('an answer older than what is here is not written (H23)', async (t) => {
  const copy = await Copy.open(t);
  copy.source.fill(5);
  copy.upTo = 6;
  await t.rejects(copy.run(), { code: 'ERR_RESYNC_SOURCE' });
  t.ok((await copy.content()).every((byte) => byte === 0));
  t.equal(copy.wanted.heldBytes, 0);
});

t.test('records that are committed while the question is under way do not void it', async (t) => {
  const copy = await Copy.open(t);
  copy.source.fill(5);
  // Nothing of them can be in the files, for nothing is applied meanwhile.
  copy.meanwhile = () => {
    copy.committed += 10;
  };
  t.ok(await copy.run());
  t.equal(copy.wanted.heldBytes, extents * extent);
  t.ok((await copy.content()).equals(copy.source));
});

t.test(
  'data that is not what its checksums say is refused, and nothing fails for it',
  async (t) => {
    const copy = await Copy.open(t);
    copy.source.fill(5);
    copy.damage = (answer) =>
      answer.kind === 'data' ? { ...answer, data: Buffer.alloc(extent, 6) } : answer;
    await t.rejects(copy.run(), { code: 'ERR_RESYNC_SOURCE' }, 'it is asked for again');
    t.equal(copy.wanted.heldBytes, 0);
    copy.damage = (answer) => answer;
    t.ok(await copy.run(), 'the site goes on');
    t.ok((await copy.content()).equals(copy.source));
  },
);

t.test('what has no hash can not be the same', async (t) => {
  const copy = await Copy.open(t);
  copy.source.fill(5);
  copy.damage = () => ({ kind: 'same' });
  await t.rejects(copy.run(), { code: 'ERR_RESYNC_SOURCE' });
  t.equal(copy.wanted.heldBytes, 0);
});
