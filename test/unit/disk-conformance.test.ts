/**
 * The same cases against the real disk and the simulated one: a simulated disk that behaves unlike
 * the real one would make every simulation lie.
 */
import path from 'node:path';
import t, { type Test } from 'tap';
import type { Disk, DiskFile } from '../../wal/disk.ts';
import { SystemDisk } from '../../wal/system-disk.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const block = 4096;
const volatile = { create: true, durableWrites: false };

async function readAt(file: DiskFile, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
  const target = Buffer.alloc(lengthBytes, 0xee);
  await file.read(target, offsetBytes, 'read-data');
  return target;
}

async function contentCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const file = await disk.open(path.join(directory, 'content'), volatile);
  t.equal(await file.sizeBytes(), 0, 'a new file is empty');
  await file.write(
    [Buffer.from('hello '), Buffer.alloc(0), Buffer.from('world')],
    10,
    'apply-data',
  );
  t.equal(await file.sizeBytes(), 21);
  t.same(await readAt(file, 0, 10), Buffer.alloc(10), 'before the first write there are zeros');
  t.equal((await readAt(file, 10, 11)).toString(), 'hello world');
  t.same(await readAt(file, 16, 10), Buffer.concat([Buffer.from('world'), Buffer.alloc(5)]));
  t.same(await readAt(file, 5000, 4), Buffer.alloc(4), 'past the end there are zeros');
  await file.write([], 0, 'apply-data');
  await file.write([Buffer.from('HE')], 10, 'apply-data');
  t.equal((await readAt(file, 10, 11)).toString(), 'HEllo world');
  await file.sync('sync-data');

  const many = Array.from({ length: 2500 }, (_, index) => Buffer.alloc(3, index % 251));
  await file.write(many, 8191, 'apply-data');
  t.same(await readAt(file, 8191, 7500), Buffer.concat(many), 'more buffers than one call takes');

  await file.resize(3 * block);
  t.equal(await file.sizeBytes(), 3 * block);
  await file.resize(12);
  await file.resize(64);
  t.same(await readAt(file, 8, 8), Buffer.from('\0\0HE\0\0\0\0'), 'what was cut off stays away');
  await file.close();
}

async function durableWriteCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const file = await disk.open(path.join(directory, 'durable'), {
    create: true,
    durableWrites: true,
  });
  const expected = Buffer.alloc(2 ** 20);
  const write = async (offsetBytes: number, sizes: readonly number[]): Promise<void> => {
    const buffers = sizes.map((sizeBytes, index) => Buffer.alloc(sizeBytes, offsetBytes + index));
    Buffer.concat(buffers).copy(expected, offsetBytes);
    await file.write(buffers, offsetBytes, 'append-log');
  };
  const same = async (words: string): Promise<void> => {
    t.ok((await readAt(file, 0, expected.length)).equals(expected), words);
  };
  await write(0, [2 ** 20]);
  await same('more than is written directly');
  await write(2 * block, [64, 4000, 32, 4096]);
  await same('whole blocks from odd pieces');
  await write(5 * block, [100, 28]);
  await same('less than a block');
  await write(7 * block + 512, [block]);
  await same('a whole block at an odd place');
  await Promise.all([0, 1, 2, 3, 4].map((index) => write((20 + index) * block, [block])));
  await same('several at once');
  for (let index = 0; index < 100; index += 1) await write((30 + index) * block, [block, block]);
  await same('one after the other');
  await file.close();
  await t.rejects(write(0, [block]), 'after it was closed');
}

async function manyWritesCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const file = await disk.open(path.join(directory, 'many'), volatile);
  const expected = Buffer.alloc(700 * 100);
  for (const count of [0, 1, 2, 3, 40, 256, 257, 600]) {
    const writes = [];
    for (let index = 0; index < count; index += 1) {
      const buffers = [Buffer.alloc(30, index + count), Buffer.alloc(10, 1)];
      writes.push({ offsetBytes: index * 100, buffers });
      Buffer.concat(buffers).copy(expected, index * 100);
    }
    await file.writeMany(writes.reverse(), 'apply-data');
    t.ok((await readAt(file, 0, expected.length)).equals(expected), `${count} writes`);
  }
  const farBytes = 5 * 1024 ** 3 + 12345;
  const far = [0, 1, 2, 3].map((index) => ({
    offsetBytes: farBytes + index * 10,
    buffers: [Buffer.alloc(10, index)],
  }));
  await file.writeMany(far, 'apply-data');
  t.equal((await readAt(file, farBytes + 25, 1))[0], 2, 'beyond 4 GiB');
  await Promise.all(
    Array.from({ length: 30 }, (_, batch) => {
      const buffers = [Buffer.alloc(4, batch)];
      const writes = [0, 1, 2, 3].map((part) => ({ offsetBytes: batch * 16 + part * 4, buffers }));
      return file.writeMany(writes, 'apply-data');
    }),
  );
  for (let batch = 0; batch < 30; batch += 1) {
    t.same(await readAt(file, batch * 16, 16), Buffer.alloc(16, batch), 'batches at the same time');
  }
  await file.writeBack(0, farBytes * 2);
  t.equal((await readAt(file, farBytes + 25, 1))[0], 2, 'writing back changes nothing');
  await file.close();
}

async function holeCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const file = await disk.open(path.join(directory, 'holes'), volatile);
  await file.resize(16 * block);
  t.equal(await file.allocatedBytes(), 0, 'new space is a hole');
  await file.write([Buffer.alloc(4 * block, 7)], 4 * block, 'apply-data');
  await file.sync('sync-data');
  t.equal(await file.allocatedBytes(), 4 * block);
  t.same(await file.extents(0, 16 * block), [
    { offsetBytes: 0, lengthBytes: 4 * block, allocated: false },
    { offsetBytes: 4 * block, lengthBytes: 4 * block, allocated: true },
    { offsetBytes: 8 * block, lengthBytes: 8 * block, allocated: false },
  ]);
  t.same(await file.extents(5 * block + 512, 1024), [
    { offsetBytes: 5 * block + 512, lengthBytes: 1024, allocated: true },
  ]);
  await file.punchHole(5 * block, block);
  t.same(await readAt(file, 5 * block, block), Buffer.alloc(block));
  t.same(await readAt(file, 6 * block, block), Buffer.alloc(block, 7));
  t.equal((await file.extents(4 * block, 4 * block)).length, 3);
  await file.punchHole(7 * block, 100 * block);
  t.equal(await file.sizeBytes(), 16 * block, 'punching past the end leaves the size');
  await file.punchHole(17 * block, block);
  t.same(await file.extents(14 * block, 2 * block), [
    { offsetBytes: 14 * block, lengthBytes: 2 * block, allocated: false },
  ]);
  await file.punchHole(6 * block + 100, 50);
  const edge = Buffer.alloc(block, 7);
  edge.fill(0, 100, 150);
  t.same(await readAt(file, 6 * block, block), edge, 'a part of a block is zeroed');
  await file.close();
}

async function cachedReadCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const file = await disk.open(path.join(directory, 'cached'), volatile);
  await file.write([Buffer.alloc(block, 1), Buffer.alloc(block, 2)], 0, 'apply-data');
  const whole = Buffer.alloc(3 * block);
  let hits = 0;
  for (let round = 0; round < 100; round += 1) {
    const target = whole.subarray(512, 1024);
    target.fill(0);
    if (!file.readCached(target, block - 256)) continue;
    hits += 1;
    t.equal(target[255], 1);
    t.equal(target[256], 2);
  }
  t.ok(hits > 0, 'what was just written is cached');
  t.equal(file.readCached(whole, 0), false, 'past the end is not answered');
  await file.close();
}

async function nameCases(t: Test, disk: Disk, directory: string): Promise<void> {
  const inside = path.join(directory, 'a', 'b');
  t.same(await disk.list(inside), [], 'a missing directory is empty');
  await t.rejects(disk.open(path.join(inside, 'x'), volatile), {
    name: 'DiskError',
    code: 'ENOENT',
    path: path.join(inside, 'x'),
    operation: 'open',
  });
  await disk.makeDirectory(inside);
  await disk.makeDirectory(inside);
  const file = await disk.open(path.join(inside, 'two'), volatile);
  await (await disk.open(path.join(inside, 'one'), volatile)).close();
  t.same(await disk.list(inside), ['one', 'two']);
  t.same(await disk.list(path.join(directory, 'a')), ['b']);
  await file.write([Buffer.from('2')], 0, 'apply-data');
  await disk.rename(path.join(inside, 'two'), path.join(inside, 'one'));
  t.same(await disk.list(inside), ['one']);
  t.equal((await readAt(file, 0, 1)).toString(), '2', 'an open file stays itself');
  await disk.syncDirectory(inside);
  const again = await disk.open(path.join(inside, 'one'), { create: false, durableWrites: true });
  t.equal((await readAt(again, 0, 1)).toString(), '2');
  await again.write([Buffer.from('3')], 0, 'append-log');
  t.equal((await readAt(file, 0, 1)).toString(), '3');
  await disk.remove(path.join(inside, 'one'));
  t.same(await disk.list(inside), []);
  t.equal((await readAt(file, 0, 1)).toString(), '3', 'a removed file lives until it is closed');
  await t.rejects(disk.remove(path.join(inside, 'one')), { code: 'ENOENT', operation: 'remove' });
  await t.rejects(disk.open(path.join(inside, 'one'), { create: false, durableWrites: false }), {
    code: 'ENOENT',
  });
  await again.close();
  await file.close();
}

async function cases(t: Test, disk: Disk, directory: string): Promise<void> {
  await t.test('content', (t) => contentCases(t, disk, directory));
  await t.test('durable writes', (t) => durableWriteCases(t, disk, directory));
  await t.test('many writes at once', (t) => manyWritesCases(t, disk, directory));
  await t.test('holes and extents', (t) => holeCases(t, disk, directory));
  await t.test('reads that must not wait', (t) => cachedReadCases(t, disk, directory));
  await t.test('names', (t) => nameCases(t, disk, directory));
}

t.test('the real disk', async (t) => cases(t, new SystemDisk(), t.testdir()));

for (const seed of [1, 2, 3]) {
  t.test(`the simulated disk, seed ${seed}`, async (t) => {
    const disk = new SimulatedDisk({ random: new SeededRandom(seed), runsByItself: true });
    await disk.makeDirectory('/disk');
    await cases(t, disk, '/disk');
  });
}
