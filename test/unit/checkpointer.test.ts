/**
 * A checkpoint of several groups: once the store has it, all of them take note of it before
 * anything else happens, whatever one of them has to wait for then.
 */
import t from 'tap';
import { type CheckpointedGroup, Checkpointer } from '../../daemon/checkpointer.ts';
import { GroupCounters } from '../../daemon/volume/group-counters.ts';

const point = { sequence: 7, digest: '7'.padStart(32, '0') };

/** A group in the middle of a resync; tells what happens to it, and gives up room in its time. */
function groupNamed(
  name: string,
  happened: string[],
  release: () => Promise<void>,
): CheckpointedGroup {
  const groupId = name.repeat(32);
  return {
    groupId,
    appliedPoint: point,
    closed: false,
    counters: new GroupCounters(),
    checkpointed: () => undefined,
    history: { at: () => ({ epochHistory: [], config: undefined }) },
    changes: { take: () => ({ chunks: [], kept: () => undefined }) },
    view: { commit: point.sequence },
    volumes: { table: () => [], sync: () => Promise.resolve() },
    resync: {
      wantsSave: true,
      takeHeld: () => undefined,
      save: () => ({
        checkpointStays: true,
        save: { groupId, stage: undefined, chunks: [], completes: false },
        kept: () => happened.push(`kept ${name}`),
        release: async () => {
          happened.push(`release ${name}`);
          await release();
        },
      }),
    },
  };
}

function checkpointerOf(groups: readonly CheckpointedGroup[], happened: string[]): Checkpointer {
  return new Checkpointer({
    groups: () => groups,
    store: { saveCheckpoint: () => happened.push('stored') },
    log: { bytesSinceCheckpointHint: 0 },
    intervalMs: 1000,
    logBytes: 1,
    nowMs: () => 0,
    wallMs: () => 0,
    failed: (error) => happened.push(`failed: ${error}`),
    postponed: (error) => happened.push(`postponed: ${error}`),
  });
}

t.test('no group waits with what is kept for the room that another gives up', async (t) => {
  const happened: string[] = [];
  let goOn = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const groups = [
    groupNamed('a', happened, () => held),
    groupNamed('b', happened, () => Promise.resolve()),
  ];
  const made = checkpointerOf(groups, happened).run();
  await new Promise(setImmediate);
  // What b keeps now, such as that it is no old image any more, is newer than the checkpoint.
  t.same(happened, ['stored', 'kept a', 'kept b', 'release a']);
  goOn();
  await made;
  t.same(happened.slice(4), ['release b']);
});
