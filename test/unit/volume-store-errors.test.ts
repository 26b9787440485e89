/** What a volume store does when the disk fails, is full, or has lost bits. */
import t, { type Test } from 'tap';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { writeRecord, zeroRecord } from '../simulation/volume-model.ts';

const block = 4096;
const sizeBytes = 64 * block;
const dataPath = '/volumes/v.data';
const checksumPath = '/volumes/v.checksums';

interface Opened {
  readonly store: VolumeStore;
  readonly failures: Error[];
  readonly stalls: (Error | undefined)[];
  /** Ends the waits for room on a full disk. */
  readonly passTime: () => void;
}

async function open(disk: SimulatedDisk, size = sizeBytes): Promise<Opened> {
  const failures: Error[] = [];
  const stalls: (Error | undefined)[] = [];
  const waits: (() => void)[] = [];
  const store = await disk.run(
    VolumeStore.open({
      disk,
      directory: '/volumes',
      name: 'v',
      sizeBytes: size,
      checksumCacheBytesMax: 0,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => failures.push(error),
      onStall: (error) => stalls.push(error),
      delay: () => new Promise((resolve) => waits.push(resolve)),
    }),
  );
  const passTime = (): void => {
    for (const wake of waits.splice(0)) wake();
  };
  return { store, failures, stalls, passTime };
}

function newDisk(seed = 1): SimulatedDisk {
  return new SimulatedDisk({ random: new SeededRandom(seed), coldReadProbability: 0 });
}

/** Four scattered blocks, parts of blocks too, so that every path of writing is taken. */
function mixedRecords(value: number) {
  return [
    writeRecord(Buffer.alloc(block, value), 0),
    writeRecord(Buffer.alloc(block, value), 8 * block),
    writeRecord(Buffer.alloc(100, value), 20 * block + 50),
    writeRecord(Buffer.alloc(3 * block, value), 30 * block + 512),
  ];
}

async function readAll(disk: SimulatedDisk, store: VolumeStore): Promise<Buffer> {
  const target = Buffer.alloc(sizeBytes);
  await disk.run(store.read(target, 0));
  return target;
}

t.test('a full disk stalls the application, and nothing is lost', async (t) => {
  for (let nth = 1; nth <= 6; nth += 1) {
    const disk = newDisk(nth);
    const { store, failures, stalls, passTime } = await open(disk);
    store.commit(mixedRecords(7), 4);
    await disk.run(store.idle());
    disk.inject({ operation: 'apply-data', code: 'ENOSPC', nth, times: 5 });
    store.commit(mixedRecords(8), 8);
    const before = await readAll(disk, store);
    await disk.settle();
    if (nth <= 5) {
      t.equal(stalls.length, 1, 'said once');
      t.match(stalls[0], { code: 'ENOSPC' });
      t.ok(store.appliedThrough < 8);
      t.ok(store.backlogBytes > 0);
    }
    while (store.appliedThrough !== Number.POSITIVE_INFINITY) {
      passTime();
      await disk.settle();
    }
    t.equal(stalls.at(-1), undefined, 'and that it goes on');
    t.same(failures, []);
    t.same(await readAll(disk, store), before);
    await disk.run(store.sync());
    await disk.run(store.close());
  }
});

t.test('a store that waits for room can be closed', async (t) => {
  const disk = newDisk();
  const { store, failures, passTime } = await open(disk);
  disk.inject({ operation: 'apply-data', code: 'ENOSPC', times: 1000 });
  store.commit(mixedRecords(7), 4);
  await disk.settle();
  const closed = store.close();
  passTime();
  await disk.run(closed);
  t.same(failures, []);
  await t.rejects(store.read(Buffer.alloc(10), 0), { code: 'ERR_STORE_CLOSED' });
});

for (const operation of ['apply-data', 'read-data', 'punch-hole'] as const) {
  t.test(`an error of ${operation} on apply is final`, async (t) => {
    const disk = new SimulatedDisk({ random: new SeededRandom(3), coldReadProbability: 1 });
    const { store, failures } = await open(disk);
    store.commit(mixedRecords(1), 4);
    await disk.run(store.idle());
    disk.inject({ operation, code: 'EIO' });
    store.commit([...mixedRecords(2), zeroRecord('trim', 40 * block, block)], 9);
    await disk.settle();
    t.equal(failures.length, 1);
    t.match(failures[0], { name: 'DiskError', code: 'EIO', operation });
    t.ok(store.appliedThrough < 9);
    store.commit(mixedRecords(3), 13);
    await disk.settle();
    t.equal(failures.length, 1, 'told once, nothing is tried again');
    await t.rejects(disk.run(store.idle()), { code: 'EIO' });
    await t.rejects(disk.run(store.sync()), { code: 'EIO' });
    await disk.run(store.close());
  });
}

for (const operation of ['sync-data', 'sync-checksums', 'write-checksums'] as const) {
  t.test(`after a failed ${operation} no later sync claims success`, async (t) => {
    const disk = newDisk();
    const { store, failures } = await open(disk);
    store.commit(mixedRecords(1), 4);
    await disk.run(store.idle());
    disk.inject({ operation, code: 'EIO' });
    const first = store.sync();
    const second = store.sync();
    second.catch(() => undefined);
    await t.rejects(disk.run(first), { code: 'EIO', operation });
    await t.rejects(disk.run(second), { code: 'EIO' });
    await t.rejects(disk.run(store.sync()), { code: 'EIO' });
    t.equal(failures.length, 1);
    await disk.run(store.close());
  });
}

t.test('a read error concerns that read only', async (t) => {
  const disk = new SimulatedDisk({ random: new SeededRandom(3), coldReadProbability: 1 });
  const { store, failures } = await open(disk);
  disk.inject({ operation: 'read-data', code: 'EIO', times: 2 });
  await t.rejects(disk.run(store.read(Buffer.alloc(block), 0)), { code: 'EIO' });
  await disk.run(store.read(Buffer.alloc(block), 0));
  t.same(failures, []);
  await disk.run(store.close());
});

async function rotten(t: Test, disk: SimulatedDisk, path: string, at: number): Promise<void> {
  const { store } = await open(disk);
  const target = Buffer.alloc(block);
  const wrong = { code: 'ERR_BLOCK_CHECKSUM', offsetBytes: 8 * block };
  t.equal(store.readNow(target, 8 * block), true);
  disk.corrupt(path, at, 0x10);
  await disk.run(store.close());
  const again = await open(disk);
  t.equal(again.store.readNow(target, 8 * block), false);
  t.equal(again.store.readNow(target.subarray(0, 1), 8 * block + 77), false);
  await t.rejects(disk.run(again.store.read(Buffer.alloc(sizeBytes), 0)), wrong);
  t.equal(again.store.readNow(target, 9 * block), true, 'other blocks are read');
  again.store.commit([writeRecord(Buffer.alloc(block, 3), 8 * block)], 10);
  t.equal(again.store.readNow(target, 8 * block), true, 'a whole new block heals it');
  await disk.run(again.store.idle());
  t.equal(again.store.readNow(target, 8 * block), true);
  await disk.run(again.store.close());
}

t.test('bits that rot are not given to anyone', async (t) => {
  for (const [path, at] of [
    [dataPath, 8 * block + 4000],
    [checksumPath, 4096 + 8 * 4 + 1],
  ] as const) {
    const disk = newDisk();
    const { store } = await open(disk);
    store.commit(mixedRecords(1), 4);
    await disk.run(store.idle());
    await disk.run(store.sync());
    await disk.run(store.close());
    await rotten(t, disk, path, at);
  }
});

t.test('a record whose payload has changed since its check is not applied', async (t) => {
  const disk = newDisk();
  const { store, failures } = await open(disk);
  const data = Buffer.alloc(block, 1);
  const record = writeRecord(data, block);
  data[100] = 2;
  store.commit([record], 1);
  await disk.settle();
  t.match(failures, [{ code: 'ERR_RECORD_CHECKSUM', offsetBytes: block }]);
  t.same(disk.contentOf(dataPath), Buffer.alloc(sizeBytes));
  await disk.run(store.close());
});

t.test('growing, allocation and removal', async (t) => {
  const disk = newDisk();
  const { store } = await open(disk, 10 * block + 512);
  t.equal(await disk.run(store.allocatedBytes()), 0);
  store.commit([writeRecord(Buffer.alloc(512, 1), 10 * block)], 1);
  t.same(await disk.run(store.extents(0, 10 * block + 512)), [
    { offsetBytes: 0, lengthBytes: 10 * block, allocated: false },
    { offsetBytes: 10 * block, lengthBytes: 512, allocated: true },
  ]);
  await disk.run(store.idle());
  await disk.run(store.resize(2000 * block));
  t.equal(store.sizeBytes, 2000 * block);
  store.commit([writeRecord(Buffer.alloc(block, 2), 1999 * block)], 2);
  const target = Buffer.alloc(1024);
  await disk.run(store.read(target, 10 * block));
  t.same(target, Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(512)]));
  await disk.run(store.idle());
  t.equal(await disk.run(store.allocatedBytes()), 2 * block);
  const keeps = zeroRecord('writeZeroes', 10 * block, block, { noHole: true });
  store.commit([keeps, zeroRecord('trim', 1999 * block, block)], 4);
  await disk.run(store.idle());
  t.equal(await disk.run(store.allocatedBytes()), block, 'zeroes keep space, a trim frees it');
  await disk.run(store.sync());
  await disk.run(store.remove());
  t.same(await disk.run(disk.list('/volumes')), []);
});

t.test('data without its checksums is refused', async (t) => {
  const disk = newDisk();
  const { store } = await open(disk);
  store.commit(mixedRecords(1), 4);
  await disk.run(store.idle());
  await disk.run(store.close());
  await disk.run(disk.rename(checksumPath, '/volumes/elsewhere'));
  await t.rejects(open(disk), { code: 'ERR_CHECKSUM_FILE' });
  await disk.run(disk.rename('/volumes/elsewhere', checksumPath));
  disk.corrupt(checksumPath, 9);
  disk.corrupt(checksumPath, 2048 + 17);
  await t.rejects(open(disk), { code: 'ERR_CHECKSUM_FILE' });
});

t.test('either copy of the header of the checksums repairs the other', async (t) => {
  const disk = newDisk();
  const first = await open(disk);
  first.store.commit(mixedRecords(1), 4);
  await disk.run(first.store.idle());
  await disk.run(first.store.sync());
  await disk.run(first.store.close());
  const whole = disk.contentOf(checksumPath);
  for (const offsetBytes of [0, 9, 2048, 2060]) {
    disk.corrupt(checksumPath, offsetBytes);
    const { store } = await open(disk);
    t.same(disk.contentOf(checksumPath), whole, `byte ${offsetBytes} is as it was`);
    await disk.run(store.close());
  }
});
