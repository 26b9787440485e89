/** A volume store on the simulated disk, compared with a plain buffer under random load. */
import t from 'tap';
import { VolumeStore, type VolumeStoreOptions } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { applyToModel, randomRecord, writeRecord, zeroRecord } from '../simulation/volume-model.ts';

const directory = '/volumes';

function optionsFor(disk: SimulatedDisk, sizeBytes: number): VolumeStoreOptions {
  return {
    disk,
    directory,
    name: 'v',
    sizeBytes,
    checksumCacheBytesMax: 0,
    applyConcurrency: 4,
    nowMs: () => 0,
    onProgress: () => undefined,
    onFailure: (error) => {
      throw error;
    },
    onStall: () => undefined,
    delay: () => Promise.resolve(),
    gathered: () => Promise.resolve(),
  };
}

for (let seed = 1; seed <= 60; seed += 1) {
  t.test(`reads see every committed record at every moment, seed ${seed}`, async (t) => {
    const random = new SeededRandom(seed);
    const disk = new SimulatedDisk({ random });
    const sizeBytes = 40 * 4096 + random.pick([0, 0, 512, 1000]);
    const store = await disk.run(VolumeStore.open(optionsFor(disk, sizeBytes)));
    const model = Buffer.alloc(sizeBytes);
    const reads: Promise<void>[] = [];
    let sequence = 0;
    let appliedBefore = 0;

    const check = (target: Buffer, offset: number): void => {
      const committed = model.subarray(offset, offset + target.length);
      if (!target.equals(committed)) throw new Error(`wrong data, ${target.length} at ${offset}`);
    };
    const readSomething = (): void => {
      const lengthBytes = 1 + random.below(random.pick([100, 4096, 30_000]));
      const offset = random.below(sizeBytes - lengthBytes + 1);
      const target = Buffer.alloc(lengthBytes);
      if (store.readNow(target, offset)) check(target, offset);
      else reads.push(store.read(target, offset).then(() => check(target, offset)));
    };

    for (let round = 0; round < 300; round += 1) {
      const action = random.below(10);
      if (action < 4) {
        const records = Array.from({ length: 1 + random.below(5) }, () =>
          randomRecord(random, sizeBytes),
        );
        sequence += records.length;
        for (const record of records) applyToModel(model, record);
        store.commit(records, sequence);
      } else if (action < 8) readSomething();
      const applied = Math.min(store.appliedThrough, sequence);
      if (applied < appliedBefore) t.fail('applied went back');
      appliedBefore = applied;
      for (let steps = random.below(12); steps > 0; steps -= 1) await disk.step();
    }
    await disk.run(Promise.all(reads));
    await disk.run(store.idle());
    t.equal(store.appliedThrough, Number.POSITIVE_INFINITY);
    t.equal(store.backlogBytes, 0, 'nothing is kept');
    await disk.run(store.sync());
    const content = disk.contentOf(`${directory}/v.data`).subarray(0, sizeBytes);
    t.ok(content.equals(model), 'the file has it all');

    const crashed = disk.crash('nothing');
    const again = await crashed.run(VolumeStore.open(optionsFor(crashed, sizeBytes)));
    const whole = Buffer.alloc(sizeBytes);
    await crashed.run(again.read(whole, 0));
    t.ok(whole.equals(model), 'synced content and checksums survive a crash');
    const extents = await crashed.run(again.extents(0, sizeBytes));
    let end = 0;
    for (const extent of extents) {
      t.equal(extent.offsetBytes, end);
      end += extent.lengthBytes;
      if (extent.allocated) continue;
      const hole = model.subarray(extent.offsetBytes, end);
      t.ok(hole.equals(Buffer.alloc(hole.length)), 'a hole is zeros');
    }
    t.equal(end, sizeBytes);
    await crashed.run(again.close());
  });
}

t.test('a volume larger than its cache of checksums', async (t) => {
  const random = new SeededRandom(77);
  const disk = new SimulatedDisk({ random, runsByItself: true });
  // 200 pages of checksums, 64 in the cache.
  const sizeBytes = 200 * 1024 * 4096;
  const store = await VolumeStore.open(optionsFor(disk, sizeBytes));
  const written = new Map<number, number>();
  for (let sequence = 1; sequence <= 1500; sequence += 1) {
    const block = random.below(200) * 1024 + random.below(3);
    const value = 1 + random.below(255);
    const data = Buffer.alloc(4096, value);
    store.commit([writeRecord(data, block * 4096)], sequence);
    written.set(block, value);
    if (sequence % 100 === 0) await store.idle();
    if (sequence % 400 === 0) await store.sync();
  }
  await store.idle();
  await store.sync();
  await store.close();
  const again = await VolumeStore.open(optionsFor(disk, sizeBytes));
  for (const [block, value] of written) {
    const target = Buffer.alloc(4096);
    await again.read(target, block * 4096);
    if (!target.equals(Buffer.alloc(4096, value))) t.fail(`block ${block}`);
  }
  again.commit([zeroRecord('trim', 4096, sizeBytes - 4096)], 1);
  const target = Buffer.alloc(4096);
  for (const block of [...written.keys()].filter((key) => key > 0).slice(0, 20)) {
    if (!again.readNow(target, block * 4096)) await again.read(target, block * 4096);
    t.ok(target.equals(Buffer.alloc(4096)), 'trimmed before it is applied');
  }
  await again.idle();
  for (const block of written.keys()) {
    if (block === 0) continue;
    await again.read(target, block * 4096);
    if (!target.equals(Buffer.alloc(4096))) t.fail(`block ${block} is trimmed`);
  }
  await again.sync();
  t.ok((await again.allocatedBytes()) <= 4096, 'the space is free');
  await again.close();
  const file = await disk.open(`${directory}/v.checksums`, {
    create: false,
    durableWrites: false,
  });
  t.ok((await file.allocatedBytes()) <= 3 * 4096, 'and so is that of the checksums');
});

t.test('checksums read from the file while a large trim frees them', async (t) => {
  const sizeBytes = 80 * 1024 * 4096;
  const offsetBytes = 40 * 1024 * 4096;
  for (let seed = 1; seed <= 60; seed += 1) {
    const disk = new SimulatedDisk({ random: new SeededRandom(seed), coldReadProbability: 1 });
    const store = await disk.run(VolumeStore.open(optionsFor(disk, sizeBytes)));
    store.commit([writeRecord(Buffer.alloc(4096, 1), offsetBytes)], 1);
    await disk.run(store.idle());
    await disk.run(store.sync());
    await disk.run(store.close());
    const again = await disk.run(VolumeStore.open(optionsFor(disk, sizeBytes)));
    const target = Buffer.alloc(4096);
    const reading = again.read(target, offsetBytes);
    for (let steps = seed % 5; steps > 0; steps -= 1) await disk.step();
    again.commit([zeroRecord('trim', 0, sizeBytes)], 2);
    await disk.run(Promise.all([reading, again.idle()]));
    t.ok(target.equals(Buffer.alloc(4096)), 'trimmed when the read ended');
    await disk.run(again.read(target, offsetBytes));
    t.ok(target.equals(Buffer.alloc(4096)));
    await disk.run(again.close());
  }
});
