/** Which extents a resync gets (R26): a source that answers nonsense is kept within bounds. */
import t from 'tap';
import type { BulkCall } from '../../daemon/resync/bulk-calls.ts';
import { findWanted } from '../../daemon/resync/find-wanted.ts';
import { WantedExtents } from '../../daemon/resync/wanted-extents.ts';
import { DirtyMap } from '../../replication/resync/dirty-map.ts';

const extent = 64 * 1024;
const full = new Uint8Array(4096).fill(0xff);
const extentsPerChunk = 32_768;
/** One volume of a chunk and a half. */
const sizeBytes = 1.5 * extentsPerChunk * extent;

interface MapPart {
  readonly chunks: readonly { readonly chunk: number; readonly bits: Uint8Array }[];
  readonly nextChunk: number | null;
}

/** What is wanted when the source answers so, and how often it was asked. */
async function wantedBy(answer: (fromChunk: number) => MapPart) {
  const wanted = new WantedExtents(0);
  let asked = 0;
  const ask: BulkCall = (method, parameters) => {
    if (method !== 'resyncMap' || !('fromChunk' in parameters)) throw new Error(method);
    asked += 1;
    if (asked > 100) throw new Error('it is asked for ever');
    // The type of the answer follows from the method, which was checked.
    return Promise.resolve(answer(parameters.fromChunk)) as ReturnType<BulkCall> as never;
  };
  await findWanted(wanted, {
    group: {
      groupId: '0'.repeat(32),
      volumes: { byNumber: () => undefined },
      changes: { map: new DirtyMap() },
      view: { resolving: false },
    },
    source: {
      knowsChanges: true,
      volumes: [{ volume: 1, name: 'v', sizeBytes, removed: false }],
    },
    full: false,
    ask,
    staged: undefined,
  });
  return { wantedBytes: wanted.wantedBytes, asked };
}

t.test('a map comes in parts, as far as the volume goes', async (t) => {
  const result = await wantedBy((fromChunk) => ({
    chunks: [{ chunk: fromChunk, bits: full }],
    nextChunk: fromChunk === 0 ? 1 : null,
  }));
  t.same(result, { wantedBytes: sizeBytes, asked: 2 });
});

t.test('of a volume that has grown meanwhile the rest comes with the records', async (t) => {
  const result = await wantedBy((fromChunk) => ({
    chunks: [{ chunk: fromChunk, bits: full }],
    nextChunk: fromChunk + 1,
  }));
  t.same(result, { wantedBytes: sizeBytes, asked: 2 });
});

t.test('what lies far outside takes no memory', async (t) => {
  const chunks = [{ chunk: Number.MAX_SAFE_INTEGER, bits: full }];
  const result = await wantedBy(() => ({ chunks, nextChunk: null }));
  t.same(result, { wantedBytes: 0, asked: 1 });
});

t.test('a source that goes round in circles is refused', async (t) => {
  const circle = wantedBy(() => ({ chunks: [], nextChunk: 0 }));
  await t.rejects(circle, { code: 'ERR_RESYNC_SOURCE' });
});
