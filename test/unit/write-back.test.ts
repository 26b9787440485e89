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

t.test('windows that were written to are written back in order, each once', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  for (const at of [41, 3, 17, 18, 5, 100]) writeBack.note(at * mebibyte, at * mebibyte + 4096);
  await writeBack.run(() => true);
  t.strictSame(ranges, [
    [0, 4],
    [4, 4],
    [16, 4],
    [40, 4],
    [100, 4],
  ]);
  await writeBack.run(() => true);
  t.equal(ranges.length, 5, 'nothing is dirty any more');
});

t.test('a little is left for the sync', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  writeBack.note(0, 4096);
  writeBack.note(9 * mebibyte, 10 * mebibyte);
  await writeBack.run(() => true);
  t.strictSame(ranges, []);
});

t.test('writes that go on do not keep it busy for ever', async (t) => {
  const { writeBack, ranges, whenRange } = await watchedFile();
  const dirtyAll = (): void => writeBack.note(0, 40 * mebibyte);
  dirtyAll();
  whenRange(dirtyAll);
  await writeBack.run(() => true);
  t.equal(ranges.length, 40, 'four passes over ten windows');
});

t.test('it stops when the volume is closed', async (t) => {
  const { writeBack, ranges } = await watchedFile();
  writeBack.note(0, 40 * mebibyte);
  await writeBack.run(() => ranges.length < 2);
  t.equal(ranges.length, 2);
});
