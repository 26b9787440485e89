/**
 * Blocks that rot or can't be read, and the other site's help (R34, H45): what is taken from it,
 * what is not, and that nothing is ever read that is not what was written (I7).
 */
import t from 'tap';
import type { FetchBlocks, HealingReport, PeerBlocks } from '../../wal/block-healing.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { applyToModel, randomRecord, writeRecord } from '../simulation/volume-model.ts';

const block = 4096;
const sizeBytes = 16 * block + 512;
const dataPath = '/volumes/v.data';
const checksumPath = '/volumes/v.checksums';

/** A volume whose other site is a plain buffer, or not there. */
class HealedVolume {
  readonly disk: SimulatedDisk;
  readonly peer = Buffer.alloc(sizeBytes);
  readonly failures: Error[] = [];
  readonly reports: HealingReport[] = [];
  readonly asked: number[] = [];
  peerIsThere = true;
  peerInSync = true;
  /** Called before the other site answers. */
  beforeAnswer: () => void = () => undefined;

  #store: VolumeStore | undefined;

  private constructor(disk: SimulatedDisk) {
    this.disk = disk;
  }

  static async open(seed = 1, coldReadProbability = 0.5): Promise<HealedVolume> {
    const random = new SeededRandom(seed);
    const volume = new HealedVolume(new SimulatedDisk({ random, coldReadProbability }));
    await volume.reopen();
    return volume;
  }

  get store(): VolumeStore {
    if (this.#store === undefined) throw new Error('not open');
    return this.#store;
  }

  async reopen(): Promise<void> {
    this.#store = await this.disk.run(
      VolumeStore.open({
        disk: this.disk,
        directory: '/volumes',
        name: 'v',
        sizeBytes,
        checksumCacheBytesMax: 0,
        applyConcurrency: 2,
        nowMs: () => 0,
        onProgress: () => undefined,
        onFailure: (error) => this.failures.push(error),
        onStall: () => undefined,
        delay: () => Promise.resolve(),
        fetchBlocks: this.fetch,
        onHealing: (report) => this.reports.push(report),
      }),
    );
  }

  readonly fetch: FetchBlocks = async (offsetBytes, lengthBytes) => {
    this.asked.push(offsetBytes / block);
    await Promise.resolve();
    this.beforeAnswer();
    if (!this.peerIsThere) return undefined;
    const data = Buffer.from(this.peer.subarray(offsetBytes, offsetBytes + lengthBytes));
    const found: PeerBlocks = { data, inSync: this.peerInSync };
    return found;
  };

  /** Writes here and at the other site. */
  async write(data: Buffer, offsetBytes: number, sequence: number): Promise<void> {
    const record = writeRecord(data, offsetBytes);
    applyToModel(this.peer, record);
    this.store.commit([record], sequence);
    await this.disk.run(this.store.idle());
  }

  rot(at: number): void {
    this.disk.corrupt(dataPath, at, 0x11);
  }

  read(offsetBytes = 0, lengthBytes = sizeBytes): Promise<Buffer> {
    const target = Buffer.alloc(lengthBytes);
    return this.disk.run(this.store.read(target, offsetBytes).then(() => target));
  }
}

t.test('a rotten block is read from the other site and written in place', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(3 * block, 7), 4 * block, 1);
  volume.rot(5 * block + 17);
  volume.rot(6 * block + 4095);
  t.same(await volume.read(), volume.peer);
  t.same(volume.reports, [
    { kind: 'healed', offsetBytes: 5 * block, lengthBytes: block },
    { kind: 'healed', offsetBytes: 6 * block, lengthBytes: block },
  ]);
  t.equal(volume.store.damage.healedBlocks, 2);
  t.equal(volume.store.damage.badBlockCount, 0);
  volume.asked.length = 0;
  t.same(await volume.read(), volume.peer);
  t.same(volume.asked, [], 'nobody is asked again');
  await volume.disk.run(volume.store.sync());
  await volume.disk.run(volume.store.close());
  t.same(volume.disk.contentOf(dataPath).subarray(0, sizeBytes), volume.peer);
});

t.test('a block that the disk does not give is healed, the last one too', async (t) => {
  const volume = await HealedVolume.open(3);
  await volume.write(Buffer.alloc(512, 9), 16 * block, 1);
  volume.disk.inject({ operation: 'read-data', code: 'EIO', times: 3 });
  t.same(await volume.read(16 * block, 512), Buffer.alloc(512, 9));
  t.equal(volume.store.damage.healedBlocks, 1);
  t.same(volume.failures, []);
});

t.test('without help a read fails, the rest is served, and later help heals it', async (t) => {
  const volume = await HealedVolume.open();
  volume.peerIsThere = false;
  await volume.write(Buffer.alloc(2 * block, 7), 4 * block, 1);
  volume.rot(5 * block);
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM', offsetBytes: 5 * block });
  t.same(await volume.read(4 * block, block), Buffer.alloc(block, 7));
  t.same(volume.store.damage.badRanges(), [{ offsetBytes: 5 * block, lengthBytes: block }]);
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM' });
  const unreadable = { kind: 'unreadable', offsetBytes: 5 * block, lengthBytes: block };
  t.same(volume.reports, [unreadable], 'told once');
  await volume.disk.run(volume.store.healKnown());
  t.equal(volume.store.damage.badBlockCount, 1, 'still nobody there');
  volume.peerIsThere = true;
  await volume.disk.run(volume.store.healKnown());
  t.equal(volume.store.damage.badBlockCount, 0);
  volume.peerIsThere = false;
  t.same(await volume.read(), volume.peer);
  t.same(volume.failures, []);
});

t.test('what does not have the checksum kept here is not taken', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.peer.fill(8, 4 * block, 5 * block);
  volume.rot(4 * block);
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM', offsetBytes: 4 * block });
  t.equal(volume.store.damage.healedBlocks, 0);
  t.ok(volume.asked.length > 1, 'asked more than once: the block might have changed meanwhile');
});

t.test('a block of a later commit point is not taken before that is applied here', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.rot(4 * block);
  const later = writeRecord(Buffer.alloc(block, 8), 4 * block);
  applyToModel(volume.peer, later);
  let answers = 0;
  volume.beforeAnswer = () => {
    answers += 1;
    if (answers === 2) volume.store.commit([later], 2);
  };
  t.same(await volume.read(), volume.peer);
  t.equal(volume.store.damage.healedBlocks, 0, 'the write that came healed it');
});

t.test('a checksum that rotted is set right when both sites have the same block', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  await volume.disk.run(volume.store.sync());
  await volume.disk.run(volume.store.close());
  volume.disk.corrupt(checksumPath, 4096 + 4 * 4, 0x40);
  await volume.reopen();
  t.same(await volume.read(), volume.peer);
  t.equal(volume.store.damage.healedBlocks, 1);
});

t.test('a part of a rotten block is changed with the help of the other site', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.rot(4 * block + 3000);
  await volume.write(Buffer.alloc(512, 9), 4 * block, 2);
  t.equal(volume.store.damage.healedBlocks, 1);
  volume.peerIsThere = false;
  t.same(await volume.read(), volume.peer);
  t.same(volume.failures, []);
});

t.test('a part of a rotten block is changed alone: kept, marked, and never read', async (t) => {
  const volume = await HealedVolume.open();
  volume.peerIsThere = false;
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.rot(4 * block + 3000);
  await volume.write(Buffer.alloc(512, 9), 4 * block, 2);
  await volume.write(Buffer.alloc(512, 10), 4 * block + 512, 3);
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM', offsetBytes: 4 * block });
  t.same(volume.failures, [], 'the site goes on');
  await volume.disk.run(volume.store.sync());
  await volume.disk.run(volume.store.close());
  await volume.reopen();
  volume.store.setReplaying(true);
  await volume.write(Buffer.alloc(512, 10), 4 * block + 512, 3);
  volume.store.setReplaying(false);
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM' }, 'in a later life too');
  volume.peerIsThere = true;
  volume.peerInSync = false;
  await t.rejects(volume.read(), { code: 'ERR_BLOCK_CHECKSUM' }, 'only proven the same it helps');
  volume.peerInSync = true;
  t.same(await volume.read(), volume.peer);
  volume.peerIsThere = false;
  t.same(await volume.read(), volume.peer);
});

t.test('a part of a block that the disk does not give', async (t) => {
  for (const peerIsThere of [true, false]) {
    const volume = await HealedVolume.open(5, 1);
    volume.peerIsThere = peerIsThere;
    await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
    volume.disk.inject({ operation: 'read-data', code: 'EIO' });
    const record = writeRecord(Buffer.alloc(512, 9), 4 * block);
    applyToModel(volume.peer, record);
    volume.store.commit([record], 2);
    await volume.disk.settle();
    if (peerIsThere) {
      t.same(volume.failures, []);
      t.same(await volume.read(), volume.peer);
    } else {
      t.match(volume.failures, [{ code: 'EIO', operation: 'read-data' }], 'final, nothing is lost');
    }
  }
});

t.test('a failed rewrite is final, as every failed write of a data file (I8)', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.rot(4 * block);
  volume.disk.inject({ operation: 'apply-data', code: 'EIO' });
  await t.rejects(volume.read(), { code: 'EIO' });
  t.match(volume.failures, [{ code: 'EIO' }]);
});

t.test('a store with a read that waits for the other site can be closed', async (t) => {
  const volume = await HealedVolume.open();
  await volume.write(Buffer.alloc(block, 7), 4 * block, 1);
  volume.rot(4 * block);
  let closed: Promise<void> | undefined;
  volume.beforeAnswer = () => {
    closed ??= volume.store.close();
  };
  await t.rejects(volume.read(), { code: 'ERR_STORE_CLOSED' });
  await volume.disk.run(closed ?? Promise.reject(new Error('not asked')));
  t.same(volume.failures, []);
});

t.test('random rot under random writes: what is read is what was written', async (t) => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const random = new SeededRandom(seed);
    const volume = await HealedVolume.open(seed);
    for (let step = 1; step <= 60; step += 1) {
      if (random.chance(0.3)) volume.rot(random.below(sizeBytes));
      const record = randomRecord(random, sizeBytes);
      applyToModel(volume.peer, record);
      volume.store.commit([record], step);
      if (random.chance(0.3)) await volume.disk.run(volume.store.idle());
      if (random.chance(0.3)) {
        const target = await volume.read();
        if (!target.equals(volume.peer)) t.fail(`seed ${seed}, step ${step}: another content`);
      }
    }
    await volume.disk.run(volume.store.idle());
    t.same(await volume.read(), volume.peer);
    t.same(volume.failures, [], `seed ${seed}`);
  }
});
