/** What the simulated disk keeps and loses when the power goes, and how it fails on demand. */
import t from 'tap';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const plain = { create: true, durableWrites: false };

async function diskWithFile(seed: number, durableWrites = false) {
  const disk = new SimulatedDisk({ random: new SeededRandom(seed) });
  await disk.run(disk.makeDirectory('/d'));
  const file = await disk.run(disk.open('/d/file', { create: true, durableWrites }));
  await disk.run(file.resize(8192));
  await disk.run(file.sync('sync-data'));
  await disk.run(disk.syncDirectory('/d'));
  await disk.run(disk.syncDirectory('/'));
  return { disk, file };
}

t.test('of unsynced sectors any subset survives, each whole, of any write', async (t) => {
  const seen = new Set<number>();
  const combinations = new Set<string>();
  for (let seed = 0; seed < 200; seed += 1) {
    const { disk, file } = await diskWithFile(seed);
    await disk.run(file.write([Buffer.alloc(2048, 1)], 0, 'apply-data'));
    await disk.run(file.sync('sync-data'));
    await disk.run(file.write([Buffer.alloc(2048, 2)], 0, 'apply-data'));
    await disk.run(file.write([Buffer.alloc(2048, 3)], 0, 'apply-data'));
    const content = disk.crash().contentOf('/d/file');
    let combination = '';
    for (let sector = 0; sector < 4; sector += 1) {
      const bytes = content.subarray(sector * 512, (sector + 1) * 512);
      t.ok(bytes.equals(Buffer.alloc(512, bytes[0])), 'a sector is not torn');
      seen.add(bytes[0] ?? 0);
      combination += bytes[0];
    }
    combinations.add(combination);
  }
  t.same([...seen].sort(), [1, 2, 3], 'what was synced before is the oldest that comes back');
  t.ok(combinations.size > 30, 'in many combinations');
});

t.test('a durable write is kept once it has resolved, and torn before', async (t) => {
  let torn = 0;
  for (let seed = 0; seed < 100; seed += 1) {
    const { disk, file } = await diskWithFile(seed, true);
    await disk.run(file.write([Buffer.alloc(4096, 1)], 0, 'append-log'));
    file.write([Buffer.alloc(4096, 2)], 4096, 'append-log').catch(t.fail);
    // Its two halves, and its end.
    for (let steps = seed % 4; steps > 0; steps -= 1) disk.completeOne();
    const finished = disk.pendingCalls === 0;
    const content = disk.crash().contentOf('/d/file');
    t.ok(content.subarray(0, 4096).equals(Buffer.alloc(4096, 1)));
    const second = content.subarray(4096);
    if (finished) t.ok(second.equals(Buffer.alloc(4096, 2)));
    else if (second.includes(2) && second.includes(0)) torn += 1;
  }
  t.ok(torn > 5, 'a write under way may be torn');
});

t.test('names that were not synced may be lost', async (t) => {
  let lost = 0;
  for (let seed = 0; seed < 50; seed += 1) {
    const { disk, file } = await diskWithFile(seed);
    await disk.run(file.write([Buffer.alloc(512, 1)], 0, 'apply-data'));
    await disk.run(file.sync('sync-data'));
    const next = await disk.run(disk.open('/d/next', plain));
    await disk.run(next.write([Buffer.alloc(512, 2)], 0, 'apply-data'));
    await disk.run(next.sync('sync-data'));
    await disk.run(disk.rename('/d/next', '/d/file'));
    const crashed = disk.crash();
    const first = crashed.contentOf('/d/file')[0];
    t.ok(first === 1 || first === 2, 'the old file or the new one');
    if (first === 1) lost += 1;
    await crashed.run(crashed.syncDirectory('/d'));
    t.equal(crashed.crash('nothing').contentOf('/d/file')[0], first, 'kept once synced');
  }
  t.ok(lost > 5 && lost < 45);
});

t.test('after a failed sync nothing is known, and no later sync helps', async (t) => {
  let lost = 0;
  for (let seed = 0; seed < 60; seed += 1) {
    const { disk, file } = await diskWithFile(seed);
    await disk.run(file.write([Buffer.alloc(512, 1)], 0, 'apply-data'));
    disk.inject({ operation: 'sync-data', code: 'EIO' });
    await t.rejects(disk.run(file.sync('sync-data')), { code: 'EIO', operation: 'sync-data' });
    await disk.run(file.sync('sync-data'));
    if (disk.crash().contentOf('/d/file')[0] === 0) lost += 1;
  }
  t.ok(lost > 5 && lost < 55);
});

t.test('faults by purpose and count, calls held back, dead after a crash', async (t) => {
  const { disk, file } = await diskWithFile(1);
  disk.inject({ operation: 'append-log', code: 'ENOSPC', nth: 2, times: 2 });
  const write = () => disk.run(file.write([Buffer.alloc(512, 1)], 0, 'append-log'));
  await write();
  await t.rejects(write(), { code: 'ENOSPC' });
  await t.rejects(write(), { code: 'ENOSPC' });
  await write();

  disk.hold('read-data');
  const target = Buffer.alloc(512);
  let done = false;
  const reading = file.read(target, 0, 'read-data').then(() => {
    done = true;
  });
  await disk.settle();
  t.notOk(done);
  disk.release('read-data');
  await disk.run(reading);
  t.ok(done);

  let completed = false;
  const after = () => {
    completed = true;
  };
  file.write([Buffer.alloc(512, 2)], 0, 'append-log').then(after, after);
  disk.crash();
  file.write([Buffer.alloc(512, 3)], 0, 'append-log').then(after, after);
  disk.open('/d/file', plain).then(after, after);
  await disk.settle();
  t.notOk(completed, 'nothing of a dead disk ever completes');
  t.notOk(file.readCached(target, 0));
});

t.test('the same seed gives the same history', async (t) => {
  const run = async (seed: number): Promise<Buffer> => {
    const { disk, file } = await diskWithFile(seed);
    const writes = Array.from({ length: 20 }, (_, index) =>
      file.write([Buffer.alloc(700, index + 1)], index * 300, 'apply-data'),
    );
    for (const written of writes) written.catch(t.fail);
    for (let steps = 0; steps < 30; steps += 1) await disk.step();
    return disk.crash().contentOf('/d/file');
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
});
