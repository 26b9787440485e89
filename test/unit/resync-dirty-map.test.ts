import t from 'tap';
import { DirtyMap, extentSizeBytes } from '../../replication/resync/dirty-map.ts';
import { type LogRecord, type RecordKind, recordKind } from '../../wal/frame.ts';

function record(kind: RecordKind, offsetBytes: number, lengthBytes: number, volume = 1): LogRecord {
  const origin = { boot: 1n, number: 1 };
  return { kind, volume, offsetBytes, lengthBytes, origin, flags: 0, payload: [], checksums: [] };
}

t.test('every extent that a record touches is marked, no other', async (t) => {
  const map = new DirtyMap();
  map.mark([
    record(recordKind.write, extentSizeBytes - 512, 1024),
    record(recordKind.trim, 10 * extentSizeBytes, 3 * extentSizeBytes),
    record(recordKind.writeZeroes, 20 * extentSizeBytes + 5, 1, 2),
  ]);
  t.same(
    [...map.extents(1).runs()],
    [
      { first: 0, end: 2 },
      { first: 10, end: 13 },
    ],
  );
  t.same([...map.extents(2).runs()], [{ first: 20, end: 21 }]);
  t.equal(map.size, 6);
});

t.test('records that change no data mark nothing', async (t) => {
  const map = new DirtyMap();
  map.mark([
    record(recordKind.epochStart, 0, 300, 0),
    record(recordKind.volumeAdd, 0, 300),
    record(recordKind.volumeResize, 0, 300),
    record(recordKind.write, 4096, 0),
  ]);
  t.equal(map.size, 0);
});

t.test('changes are told until they are kept', async (t) => {
  const map = new DirtyMap();
  map.mark([record(recordKind.write, 0, 4096)]);
  const first = map.changes();
  map.mark([record(recordKind.write, extentSizeBytes, 4096)]);
  map.kept(first);
  t.equal(map.changes()[0]?.changes.chunks.length, 1);
  map.kept(map.changes());
  t.equal(map.changes()[0]?.changes.chunks.length, 0);
  t.equal(map.size, 2, 'what is kept is still marked');
  map.clear();
  t.equal(map.size, 0);
});
