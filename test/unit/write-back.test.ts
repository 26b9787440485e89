/** What is dirty goes to the device in pieces, in order, and the passes over it have an end. */
import t from 'tap';
import { WriteBack } from '../../wal/write-back.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const mebibyte = 2 ** 20;

async function watchedFile() {
  const disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  await disk.makeDirectory('/data');
  const file = await disk.open('/data/file', { create: true, durableWrites: false });
  const ranges: [number, number][] = [];
  let onRange = (): void => undefined;
  const watched = Object.create(file, {
    writeBack: {
      value: async (offsetBytes: number, lengthBytes: number) => {
        ranges.push([offsetBytes / mebibyte, lengthBytes / mebibyte]);
        onRange();
        await file.writeBack(offsetBytes, lengthBytes);
      },
    },
  });
  return {
    writeBack: new WriteBack(watched),
    ranges,
    whenRange: (call: () => void) => {
      onRange = call;
    },
  };
}

/** One block in each of `count` windows, from a megabyte on. */
function dirtyWindows(writeBack: WriteBack, fromMebibyte: number, count: number): void {
  for (let window = 0; window < count; window += 1) {
    const offsetBytes = fromMebibyte * mebibyte + window * (mebibyte / 4);
    writeBack.note(offsetBytes, offsetBytes + 4096);
  }
}

t.test('what is dirty is written back in order, once, a little at a time', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  writeBack.note(50 * mebibyte, 51 * mebibyte);
  writeBack.note(7 * mebibyte, 7.5 * mebibyte);
  await writeBack.run(() => true);
  t.strictSame(ranges, [
    [7, 0.25],
    [7.25, 0.25],
    [50, 0.25],
    [50.25, 0.25],
    [50.5, 0.25],
    [50.75, 0.25],
  ]);
  await writeBack.run(() => true);
  t.equal(ranges.length, 6, 'nothing is dirty any more');
});

t.test('blocks that lie apart are written back together, as many as fill a portion', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  dirtyWindows(writeBack, 10, 130);
  await writeBack.run(() => true);
  t.strictSame(ranges, [
    [10, 16],
    [26, 16],
    [42, 0.5],
  ]);
});

t.test('a block that is written again and again counts as no more than its window', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  for (let time = 0; time < 1000; time += 1) writeBack.note(0, 4096);
  dirtyWindows(writeBack, 10, 70);
  await writeBack.run(() => true);
  t.strictSame(ranges, [
    [0, 0.25],
    [10, 16],
    [26, 1.5],
  ]);
});

t.test('a little is left for the sync', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  dirtyWindows(writeBack, 0, 64);
  writeBack.note(90 * mebibyte, 90.25 * mebibyte);
  await writeBack.run(() => true);
  t.strictSame(ranges, []);
});

t.test('writes that go on do not keep it busy for ever', async (t) => {
  const { writeBack, ranges, whenRange } = await watchedFile();
  const dirtyAll = (): void => writeBack.note(0, 10 * mebibyte);
  dirtyAll();
  whenRange(dirtyAll);
  await writeBack.run(() => true);
  t.equal(ranges.length, 160, 'four passes over forty windows');
});

t.test('it stops when the volume is closed', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  writeBack.note(0, 40 * mebibyte);
  await writeBack.run(() => ranges.length < 2);
  t.equal(ranges.length, 2);
});
