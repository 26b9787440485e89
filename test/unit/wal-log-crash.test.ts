/**
 * The log under power cuts at any moment, any subset of the unsynced sectors surviving: what was
 * told to be durable is there, what is there was appended, and no group is taken for damaged.
 */
import t from 'tap';
import type { Frame, GroupId, HistoryPoint } from '../../wal/frame.ts';
import type { Log, LogMarks } from '../../wal/log.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { bytesOf, groupIdOf, openLog, start, TestGroup } from '../support/wal-log-harness.ts';

/** What is known of one group over all lives of the log. */
interface Model {
  readonly groupId: GroupId;
  readonly number: number;
  /** Every point the group's history ever had, and the frame that led to it. */
  readonly frames: Map<string, Frame>;
  marks: LogMarks;
  recovered: HistoryPoint;
  group: TestGroup | undefined;
  life: number;
}

class Story {
  readonly random: SeededRandom;
  disk: SimulatedDisk;
  log: Log | undefined;
  readonly models: Model[];

  constructor(seed: number, groups: number) {
    this.random = new SeededRandom(seed);
    this.disk = new SimulatedDisk({ random: this.random });
    this.models = Array.from({ length: groups }, (_, number) => ({
      groupId: groupIdOf(number + 1),
      number: number + 1,
      frames: new Map(),
      marks: { checkpoint: start, acknowledgedMark: 0 },
      recovered: start,
      group: undefined,
      life: 0,
    }));
  }

  /** Opens the log; undefined if the power went off meanwhile. */
  async open(crashAfterSteps: number): Promise<boolean> {
    const marks = new Map(this.models.map((model) => [model.groupId, model.marks]));
    let opened: Awaited<ReturnType<typeof openLog>> | undefined;
    let failure: unknown;
    openLog(this.disk, { marks, sizeBytesMax: 6 * 65_536 }).then(
      (value) => {
        opened = value;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    for (let step = 0; opened === undefined; step += 1) {
      if (failure !== undefined) throw failure;
      if (step === crashAfterSteps) return false;
      await this.disk.step();
    }
    this.log = opened.log;
    for (const model of this.models) {
      const recovered = opened.recovery.groups.get(model.groupId);
      if (recovered === undefined) throw new Error('every group with marks is recovered');
      if (recovered.damaged !== undefined) throw new Error(`damaged: ${recovered.damaged}`);
      this.#checkEnd(model, recovered.end);
      model.recovered = recovered.end;
      model.life += 1;
      model.group = new TestGroup(opened.log, model.number, recovered.end, model.life * 100_000);
      await this.#checkFrames(model, recovered.end);
    }
    return true;
  }

  /** The recovered end continues what was durable, or a cut that was under way. */
  #checkEnd(model: Model, end: HistoryPoint): void {
    const { group } = model;
    if (group === undefined) return;
    const last = group.durable.length === 0 ? model.recovered : group.durablePoint;
    const origins = [last, ...group.cuts.slice(group.cutsDurable)];
    if (!origins.some((origin) => isOnPath(model, end, origin))) {
      throw new Error(`the log ends at ${end.sequence}, durable was ${last.sequence}`);
    }
  }

  async #checkFrames(model: Model, end: HistoryPoint): Promise<void> {
    const { log } = this;
    if (log === undefined) return;
    let position = Math.max(model.marks.checkpoint.sequence, log.firstSequence(model.groupId) - 1);
    while (position < end.sequence) {
      const frames = await this.disk.run(log.readFrames(model.groupId, position, 30_000));
      for (const frame of frames) {
        const made = model.frames.get(frame.digestAfter);
        if (made === undefined) throw new Error('a frame that nobody appended was read');
        if (!bytesOf(made).equals(bytesOf(frame))) throw new Error('a frame came back changed');
        position = frame.lastSequence;
      }
    }
  }

  /** Lets groups append, cut, checkpoint, while the disk works, for so many steps. */
  async work(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      if (this.random.chance(0.4)) this.#act(this.random.pick(this.models));
      await this.disk.step();
    }
  }

  #act(model: Model): void {
    const { group } = model;
    if (group === undefined) return;
    const dice = this.random.below(20);
    if (dice < 14) {
      const frame = group.append(1 + this.random.below(this.random.chance(0.1) ? 30_000 : 6_000));
      model.frames.set(frame.digestAfter, frame);
    } else if (dice < 15) {
      this.#cut(model, group);
    } else {
      this.#checkpoint(model, group);
    }
  }

  /** Cuts to some point between what is durable and the end; the driver's rule (I3). */
  #cut(model: Model, group: TestGroup): void {
    const durable = group.durablePoint.sequence;
    const floor = Math.max(durable, model.marks.checkpoint.sequence, model.marks.acknowledgedMark);
    const points = [...model.frames.values()].filter(
      (frame) =>
        group.made.get(frame.digestAfter) === frame &&
        frame.lastSequence >= floor &&
        frame.lastSequence < group.end.sequence,
    );
    const chosen = points.length === 0 ? undefined : this.random.pick(points);
    if (chosen === undefined) return;
    const to = { sequence: chosen.lastSequence, digest: chosen.digestAfter };
    if (isOnPath(model, group.end, to)) group.cut(to);
  }

  #checkpoint(model: Model, group: TestGroup): void {
    const point = group.durablePoint;
    if (point.sequence <= model.marks.checkpoint.sequence) return;
    // What a cut under way will void is not committed.
    if (!isOnPath(model, group.end, point)) return;
    model.marks = { checkpoint: point, acknowledgedMark: point.sequence };
    const peer = this.random.chance(0.5) ? 0 : point.sequence;
    this.log?.retain(model.groupId, { own: point.sequence, peer });
  }

  crash(): void {
    this.disk = this.disk.crash();
    this.log = undefined;
  }
}

/** Does the history that ends at `end` go through `point`? */
function isOnPath(model: Model, end: HistoryPoint, point: HistoryPoint): boolean {
  let { digest } = end;
  while (digest !== point.digest) {
    const last = model.frames.get(digest);
    if (last === undefined) return false;
    digest = last.digestBefore;
  }
  return true;
}

t.test('power cuts at any moment lose nothing durable and invent nothing', async (t) => {
  const seeds = Number(process.env['LOG_CRASH_SEEDS'] ?? 60);
  const first = Number(process.env['LOG_CRASH_SEED'] ?? 1);
  for (let seed = first; seed < first + seeds; seed += 1) {
    const story = new Story(seed, 1 + (seed % 4));
    try {
      for (let life = 0; life < 12; life += 1) {
        const crashAfterSteps = story.random.chance(0.3) ? story.random.below(60) : -1;
        if (await story.open(crashAfterSteps)) await story.work(story.random.below(400));
        story.crash();
      }
      await story.open(-1);
    } catch (error) {
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
      break;
    }
  }
  t.pass('all seeds');
});
