/** Received memory is used again when, and only when, nobody looks at it any more. */
import t from 'tap';
import { ReceiveSlab } from '../../daemon/receive-slab.ts';
import { receivedMemory, SlabPool, slabBytes } from '../../daemon/slab-pool.ts';

t.test('a slab is used again when it is full and all of it was given back', async (t) => {
  const pool = new SlabPool();
  const slab = pool.take();
  pool.hold(slab, 100);
  pool.hold(slab, 28);
  pool.giveBack(slab.subarray(10, 110), 100);
  pool.seal(slab);
  t.not(pool.take(), slab, 'while 28 bytes are held it is not');
  pool.giveBack(slab.subarray(0, 28), 28);
  t.equal(pool.take(), slab);
});

t.test(
  'a slab that is being received into is not given out, even when nothing is held',
  async (t) => {
    const pool = new SlabPool();
    const slab = pool.take();
    pool.hold(slab, 8);
    pool.giveBack(slab, 8);
    t.not(pool.take(), slab);
    pool.seal(slab);
    t.equal(pool.take(), slab);
  },
);

t.test('what was given back before it was counted as held is counted right', async (t) => {
  const pool = new SlabPool();
  const slab = pool.take();
  pool.giveBack(slab, 24);
  pool.hold(slab, 64);
  pool.seal(slab);
  t.not(pool.take(), slab);
  pool.giveBack(slab, 40);
  t.equal(pool.take(), slab);
});

t.test('giving back twice is a mistake that is noticed', async (t) => {
  const pool = new SlabPool();
  const slab = pool.take();
  pool.hold(slab, 24);
  pool.seal(slab);
  t.throws(() => pool.giveBack(slab, 25), /given back once/);
});

t.test('memory that is of no slab is left alone', async (t) => {
  const pool = new SlabPool();
  const other = Buffer.alloc(64);
  pool.hold(other, 64);
  pool.seal(other);
  pool.giveBack(other, 64);
  t.not(pool.take(), other);
});

t.test('the free slabs that are kept have a limit', async (t) => {
  const pool = new SlabPool();
  const slabs = Array.from({ length: 300 }, () => pool.take());
  for (const slab of slabs) pool.seal(slab);
  const again = new Set(Array.from({ length: 300 }, () => pool.take()));
  t.equal(slabs.filter((slab) => again.has(slab)).length, 256);
});

t.test('a connection that receives much ends up in slabs that are used again', async (t) => {
  const slab = new ReceiveSlab();
  const seen = new Map<ArrayBufferLike, number>();
  const kept: Buffer[] = [];
  for (let read = 0; read < 64; read += 1) {
    const chunk = slab.chunk(slab.space.length);
    const before = seen.get(chunk.buffer) ?? 0;
    seen.set(chunk.buffer, before + 1);
    kept.push(chunk);
    slab.keep(chunk.length, chunk.length);
    if (kept.length > 4) {
      const oldest = kept.shift();
      if (oldest !== undefined) receivedMemory.giveBack(oldest, oldest.length);
    }
  }
  t.ok(Math.max(...seen.values()) > 5, 'the same memory came again and again');
  t.equal(slab.space.length, slabBytes);
  const inUse = new Set(kept.map(({ buffer }) => buffer));
  t.equal(inUse.size, kept.length, 'no two chunks that are kept share memory');
});
