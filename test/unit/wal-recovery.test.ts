/** The decision tables of recovery, each with every combination of its facts. */
import t, { type Test } from 'tap';
import {
  type CutFacts,
  type FrameFacts,
  type GroupEndFacts,
  judgeCut,
  judgeFrame,
  judgeGroup,
  judgePlace,
  type PlaceFacts,
} from '../../wal/recovery.ts';

type Combination = Readonly<Record<string, unknown>>;

/** Every combination of the values that each fact can have. */
function combinations(facts: Readonly<Record<string, readonly unknown[]>>): Combination[] {
  let all: Combination[] = [{}];
  for (const [name, values] of Object.entries(facts)) {
    all = all.flatMap((each) => values.map((value) => ({ ...each, [name]: value })));
  }
  return all;
}

const either = [false, true];

/** A row of a table: the facts that it asks for, and what it decides. */
type Row = readonly [Combination, string];

/** Each combination meets exactly one row, each row meets a combination, and the code agrees. */
function checkTable(
  t: Test,
  facts: Readonly<Record<string, readonly unknown[]>>,
  rows: readonly Row[],
  judge: (facts: Combination) => string,
): void {
  const met = new Set<Row>();
  for (const combination of combinations(facts)) {
    const fitting = rows.filter(([asked]) =>
      Object.entries(asked).every(([name, value]) =>
        Array.isArray(value) ? value.includes(combination[name]) : combination[name] === value,
      ),
    );
    const words = JSON.stringify(combination);
    t.equal(fitting.length, 1, `one row for ${words}`);
    const [row] = fitting;
    if (row === undefined) continue;
    met.add(row);
    t.equal(judge(combination), row[1], words);
  }
  t.equal(met.size, rows.length, 'no row is in vain');
}

t.test('a place in the log', async (t) => {
  checkTable(
    t,
    { entryValid: either, nextSegmentContinues: either, laterProvesSynced: either },
    [
      [{ entryValid: true }, 'accept'],
      [{ entryValid: false, nextSegmentContinues: true }, 'next-segment'],
      [{ entryValid: false, nextSegmentContinues: false, laterProvesSynced: true }, 'damage'],
      [{ entryValid: false, nextSegmentContinues: false, laterProvesSynced: false }, 'torn-tail'],
    ],
    (facts) => judgePlace(facts as unknown as PlaceFacts),
  );
});

t.test('a frame and its group', async (t) => {
  const begins = ['first', 'gap'];
  const sound = { damaged: false, digestFits: true };
  checkTable(
    t,
    {
      damaged: either,
      place: ['first', 'next', 'gap', 'overlap'],
      digestFits: either,
      reachesCheckpoint: either,
    },
    [
      [{ damaged: true }, 'ignore'],
      [{ damaged: false, place: 'overlap' }, 'damage'],
      [{ damaged: false, place: ['first', 'next', 'gap'], digestFits: false }, 'damage'],
      [{ ...sound, place: 'next' }, 'append'],
      [{ ...sound, place: begins, reachesCheckpoint: true }, 'begin'],
      [{ ...sound, place: begins, reachesCheckpoint: false }, 'damage'],
    ],
    (facts) => judgeFrame(facts as unknown as FrameFacts),
  );
});

t.test('a cut and its group', async (t) => {
  checkTable(
    t,
    { restart: either, target: ['known', 'before', 'unknown'], withinCheckpoint: either },
    [
      [{ restart: true }, 'restart'],
      [{ restart: false, target: 'known' }, 'truncate'],
      [{ restart: false, target: 'before', withinCheckpoint: true }, 'restart'],
      [{ restart: false, target: 'before', withinCheckpoint: false }, 'damage'],
      [{ restart: false, target: 'unknown' }, 'damage'],
    ],
    (facts) => judgeCut(facts as unknown as CutFacts),
  );
});

t.test('a group at the end of the log', async (t) => {
  const ends = { damaged: false, suspect: false, belowCheckpoint: false };
  checkTable(
    t,
    {
      damaged: either,
      suspect: either,
      belowCheckpoint: either,
      belowAcknowledgedMark: either,
      checkpointDigest: ['same', 'differs', 'unknown'],
    },
    [
      [{ damaged: true }, 'damaged'],
      [{ damaged: false, suspect: true }, 'suspect'],
      [{ damaged: false, suspect: false, belowCheckpoint: true }, 'below-checkpoint'],
      [{ ...ends, belowAcknowledgedMark: true }, 'below-acknowledged-mark'],
      [{ ...ends, belowAcknowledgedMark: false, checkpointDigest: 'same' }, 'whole'],
      [
        { ...ends, belowAcknowledgedMark: false, checkpointDigest: ['differs', 'unknown'] },
        'other-history',
      ],
    ],
    (facts) => judgeGroup(facts as unknown as GroupEndFacts),
  );
});
