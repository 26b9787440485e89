/**
 * Putting back in place what is missing in the middle of a log: only what the digests on both
 * sides of the place prove, and only if it fills it exactly.
 */
import t from 'tap';
import type { Frame } from '../../wal/frame.ts';
import { follows, type LogSurvey } from '../../wal/log-survey.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
  directory,
  marksOf,
  openLog,
  simulatedDisk,
  start,
  storeId,
  TestGroup,
} from '../support/wal-log-harness.ts';

const slotOne = `${directory}/segment-000001`;
/** Where the first entry of a new log goes, in its file: after the header and the life start. */
const firstEntry = 8192;

interface Made {
  readonly disk: SimulatedDisk;
  readonly marks: ReturnType<typeof marksOf>;
  /** In the order of the log: one, two, one, two, … each of one page. */
  readonly frames: readonly Frame[];
}

async function twoGroups(frames: number): Promise<Made> {
  const disk = simulatedDisk();
  const { log } = await openLog(disk);
  const groups = [new TestGroup(log, 1), new TestGroup(log, 2)];
  const made: Frame[] = [];
  for (let count = 1; count <= frames; count += 1) {
    for (const group of groups) {
      made.push(group.append(1000));
      await group.whenDurable(count);
    }
  }
  await log.close();
  const marks = marksOf(groups.map(({ groupId }) => [groupId, start]));
  return { disk, marks, frames: made };
}

async function surveyed<Result>(
  { disk, marks }: Made,
  look: (survey: LogSurvey) => Promise<Result>,
): Promise<{ damaged: number; result: Result }> {
  const { log, recovery } = await openLog(disk, { marks });
  const survey = await log.survey(storeId, marks);
  const result = await look(survey);
  await log.close();
  return { damaged: recovery.report.damagedGroups.length, result };
}

t.test('frames of two groups in one bad place are put back', async (t) => {
  const made = await twoGroups(4);
  // Two entries side by side, one of each group: headers and all.
  for (const page of [2, 3]) made.disk.corrupt(slotOne, firstEntry + page * 4096 + 8);
  const first = await surveyed(made, async (survey) => {
    const [gap, ...others] = survey.gaps;
    t.same(others, [], 'one place');
    if (gap === undefined) return t.fail('no gap was found');
    t.equal(gap.missing.length, 2);
    const missing: Frame[] = [];
    for (const run of gap.missing) {
      const frame = made.frames.find((each) => follows(run, run.after, each) !== undefined);
      if (frame === undefined) return t.fail('no frame follows');
      t.same(follows(run, run.after, frame), run.until, 'the digest behind it proves it');
      missing.push(frame);
    }
    t.notOk(await survey.fill(gap, missing.slice(1)), 'half of it does not fill the place');
    t.ok(await survey.fill(gap, missing));
    return undefined;
  });
  t.equal(first.damaged, 2);
  const second = await surveyed(made, async (survey) => survey.gaps);
  t.equal(second.damaged, 0, 'recovery finds the log whole');
  t.same(second.result, []);
});

t.test('a frame of another history does not follow', async (t) => {
  const made = await twoGroups(3);
  made.disk.corrupt(slotOne, firstEntry + 2 * 4096 + 900);
  await surveyed(made, async (survey) => {
    const run = survey.gaps[0]?.missing[0];
    const [one, two, right] = made.frames;
    if (run === undefined || one === undefined || two === undefined || right === undefined) {
      return t.fail('no gap was found');
    }
    t.same(follows(run, run.after, right), run.until);
    t.equal(follows(run, run.after, one), undefined, 'another place');
    t.equal(follows(run, run.after, two), undefined, 'another group');
    const forged = { ...right, digestBefore: 'f'.repeat(32) };
    t.equal(follows(run, run.after, forged), undefined, 'another history');
    t.equal(follows(run, run.after, { ...right, lastSequence: 9 }), undefined, 'too much');
    return undefined;
  });
});

t.test('where digests prove nothing the place is left alone', async (t) => {
  const last = await twoGroups(2);
  // The last frame of the first group: nothing of that group follows.
  last.disk.corrupt(slotOne, firstEntry + 2 * 4096 + 900);
  t.same((await surveyed(last, async (survey) => survey.gaps)).result, []);
  const apart = await twoGroups(4);
  // Two frames of the first group in a row, with a good one of the second between them.
  for (const page of [2, 4]) apart.disk.corrupt(slotOne, firstEntry + page * 4096 + 900);
  t.same((await surveyed(apart, async (survey) => survey.gaps)).result, []);
});

t.test('what lies beyond the damage is given to who misses it', async (t) => {
  const made = await twoGroups(4);
  made.disk.corrupt(slotOne, firstEntry + 2 * 4096 + 900);
  await surveyed(made, async (survey) => {
    const groupId = made.frames[0]?.groupId ?? '';
    const found = async (after: number) => (await survey.frameAfter(groupId, after))?.digestAfter;
    t.equal(await found(0), made.frames[0]?.digestAfter);
    t.equal(await found(1), undefined, 'the one that is lost');
    t.equal(await found(3), made.frames[6]?.digestAfter);
    t.equal(await found(4), undefined, 'the end');
  });
});
