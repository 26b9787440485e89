/** What a resync holds is given up if the source has lost what it had answered with (R26). */
import t from 'tap';
import { isOfLostHistory, WantedExtents } from '../../daemon/resync/wanted-extents.ts';
import { SparseSet } from '../../wal/sparse-set.ts';

function wantedOf(extents: number): WantedExtents {
  const wanted = new WantedExtents(0);
  const all = new SparseSet();
  all.add(0, extents);
  wanted.want(1, all);
  return wanted;
}

t.test('a reign that began below what an earlier one had answered with is noticed', (t) => {
  const wanted = wantedOf(3);
  wanted.hold(1, [0], { epoch: 5, reach: 90 });
  wanted.hold(1, [1], { epoch: 5, reach: 95 });
  const began = (firstSequence: number) => [
    { epoch: 5, firstSequence: 10 },
    { epoch: 6, firstSequence },
  ];
  t.notOk(isOfLostHistory(wanted.reaches, began(96)), 'as after any restart');
  t.ok(isOfLostHistory(wanted.reaches, began(95)));
  // What came later hides nothing.
  wanted.hold(1, [2], { epoch: 6, reach: 120 });
  t.notOk(isOfLostHistory(wanted.reaches, began(96)));
  t.ok(isOfLostHistory(wanted.reaches, began(93)));
  const again = new WantedExtents(wanted.reach, wanted.take().reaches);
  t.ok(isOfLostHistory(again.reaches, began(93)), 'after a restart here, too');
  t.end();
});

t.test('what is released is asked for again, all of it', (t) => {
  const wanted = wantedOf(3);
  wanted.hold(1, [0, 1, 2], { epoch: 5, reach: 95 });
  wanted.take().kept();
  t.equal(wanted.next(16), undefined);
  wanted.release();
  t.same(wanted.next(16), { volume: 1, extents: [0, 1, 2] });
  const taken = wanted.take();
  t.notOk(taken.all);
  t.match(taken.chunks, [{ kind: 'held', volume: 1, chunk: 0, bits: undefined }]);
  t.same(taken.reaches, []);
  t.equal(taken.reach, 95, 'what was newer than that is applied before it is complete');
  t.end();
});
