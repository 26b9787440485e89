/** Writes past the page cache: what is not for them is left alone, and no disk stops the loop. */
import fs from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { DirectWriter, directWriteBytesMax } from '../../wal/system-direct-write.ts';

const block = 4096;

function openDirect(t: Test): { readonly name: string; readonly fd: number } {
  const { O_CREAT, O_DIRECT, O_DSYNC, O_RDWR } = fs.constants;
  const name = path.join(t.testdir(), 'file');
  const fd = fs.openSync(name, O_CREAT | O_RDWR | O_DIRECT | O_DSYNC);
  t.teardown(() => fs.closeSync(fd));
  return { name, fd };
}

function writerOf(t: Test, waitInLoopNs?: number): DirectWriter {
  const writer = DirectWriter.make(waitInLoopNs);
  if (writer === undefined) t.bailout('kernel AIO is there');
  return writer as DirectWriter;
}

t.test('writes that end in time, and writes that are waited for elsewhere', async (t) => {
  for (const waitInLoopNs of [undefined, 1_000_000_000, 0]) {
    const { name, fd } = openDirect(t);
    const writer = writerOf(t, waitInLoopNs);
    for (let index = 0; index < 20; index += 1) {
      const buffers = [Buffer.alloc(96, index), Buffer.alloc(2 * block - 96, index + 1)];
      t.equal(await writer.write(fd, buffers, index * block), 2 * block);
      const expected = Buffer.concat(buffers);
      t.ok(
        fs
          .readFileSync(name)
          .subarray(index * block)
          .equals(expected),
        `${waitInLoopNs}`,
      );
    }
  }
});

t.test('what is not for it', async (t) => {
  const { fd } = openDirect(t);
  const writer = writerOf(t);
  t.equal(writer.write(fd, [Buffer.alloc(block - 1)], 0), undefined, 'less than a block');
  t.equal(writer.write(fd, [Buffer.alloc(block)], 512), undefined, 'between blocks');
  t.equal(writer.write(fd, [Buffer.alloc(directWriteBytesMax + block)], 0), undefined, 'too much');
  t.equal(await writer.write(fd, [Buffer.alloc(directWriteBytesMax)], 0), directWriteBytesMax);
  const first = writer.write(fd, [Buffer.alloc(block, 1)], 0);
  t.equal(writer.write(fd, [Buffer.alloc(block, 2)], 0), undefined, 'one is under way');
  t.equal(await first, block);
  t.equal(writer.write(1_000_000, [Buffer.alloc(block)], 0), undefined, 'no such file');
  t.equal(await writer.write(fd, [Buffer.alloc(block)], 0), block, 'and then it writes again');
});

t.test('an error of the disk is told', async (t) => {
  const { fd } = openDirect(t);
  const result = await writerOf(t).write(fd, [Buffer.alloc(block)], 2 ** 50);
  t.ok(result !== undefined && result < 0, 'minus the errno');
});
