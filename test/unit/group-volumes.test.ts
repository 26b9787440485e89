/**
 * A change of the volume table that is under way, such as one that waits for room, when the volumes
 * are closed or replaced (R26, R40): it counts no more, and touches nothing of what comes after it.
 */
import t, { type Test } from 'tap';
import { GroupVolumes, type OpenHow } from '../../daemon/volume/group-volumes.ts';
import { documentRecord } from '../../daemon/volume/record-payloads.ts';
import { type Frame, frameWeightBytes, type LogRecord, recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { writeRecord } from '../simulation/volume-model.ts';
import { idleVolume } from '../support/idle-volume.ts';
import { pollUntil } from '../support/poll.ts';

const block = 4096;
const sizeBytes = 8 * block;
const groupId = 'a'.repeat(32);

interface Opening {
  readonly volume: number;
  readonly how: OpenHow;
  /** Lets it go on: the files are opened. */
  readonly goOn: () => void;
  readonly fail: (error: Error) => void;
}

class Rig {
  readonly disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  readonly volumes: GroupVolumes;
  readonly stores: VolumeStore[] = [];
  readonly failures: unknown[] = [];
  /** Each waits until the test lets it go on. */
  readonly openings: Opening[] = [];
  readonly #waits: (() => void)[] = [];
  holdsOpenings = false;
  progress = 0;

  constructor(t: Test) {
    this.volumes = new GroupVolumes({
      openStore: async (volume, size, how) => {
        if (this.holdsOpenings) await this.#held(volume, how);
        return await this.#open(volume, size, how);
      },
      makeVolume: idleVolume,
      tableChanged: () => undefined,
      progressed: () => {
        this.progress += 1;
      },
      keepsFiles: () => false,
      failed: (error) => this.failures.push(error),
    });
    t.teardown(() => this.volumes.close());
  }

  async begin(volumes: readonly number[]): Promise<void> {
    await this.disk.makeDirectory('/volumes');
    await this.volumes.load(entries(...volumes), 10);
  }

  /** The waits for room of the stores end. */
  passTime(): void {
    for (const wake of this.#waits.splice(0)) wake();
  }

  /** Everything that was opened is closed. */
  async allClosed(): Promise<boolean> {
    for (const store of this.stores) {
      const isClosed = await store.allocatedBytes().then(
        () => false,
        () => true,
      );
      if (!isClosed) return false;
    }
    return true;
  }

  #held(volume: number, how: OpenHow): Promise<void> {
    return new Promise((resolve, reject) => {
      this.openings.push({ volume, how, goOn: resolve, fail: reject });
    });
  }

  async #open(volume: number, size: number, { isNew }: OpenHow): Promise<VolumeStore> {
    const store = await VolumeStore.open({
      disk: this.disk,
      directory: '/volumes',
      name: `${groupId}-${volume}`,
      sizeBytes: size,
      isNew,
      checksumCacheBytesMax: 1024 * 1024,
      applyConcurrency: 2,
      nowMs: () => 0,
      onProgress: () => undefined,
      onFailure: (error) => this.failures.push(error),
      onStall: () => undefined,
      delay: () => new Promise((resolve) => this.#waits.push(resolve)),
    });
    this.stores.push(store);
    return store;
  }
}

function entries(...volumes: readonly number[]) {
  return volumes.map((volume) => ({ volume, name: `v${volume}`, sizeBytes, removed: false }));
}

function frameOf(sequence: number, ...records: readonly LogRecord[]): Frame {
  return encodeFrame({
    groupId,
    epoch: 1,
    epochId: 'b'.repeat(32),
    firstSequence: sequence,
    commit: 0,
    timeMs: 0,
    digestBefore: '0'.repeat(32),
    records,
  });
}

function added(sequence: number, volume: number): Frame {
  const document = { volume, name: `v${volume}`, sizeBytes };
  return frameOf(sequence, documentRecord(recordKind.volumeAdd, 0, document));
}

function resized(sequence: number, volume: number): Frame {
  const document = { volume, sizeBytes: 4096 * block };
  return frameOf(sequence, documentRecord(recordKind.volumeResize, 0, document));
}

function written(sequence: number, volume: number, value: number): Frame {
  return frameOf(sequence, writeRecord(Buffer.alloc(block, value), 0, volume));
}

/** Commits the frames; what became of them, in order. */
function commitAll(volumes: GroupVolumes, ...frames: readonly Frame[]): string[] {
  const outcomes: string[] = [];
  for (const frame of frames) {
    volumes.commit(
      frame,
      false,
      () => outcomes.push(`${frame.lastSequence} done`),
      () => outcomes.push(`${frame.lastSequence} dropped`),
    );
  }
  return outcomes;
}

async function contentOf(volumes: GroupVolumes, volume: number): Promise<number> {
  const content = Buffer.alloc(block);
  await volumes.byNumber(volume)?.store.read(content, 0);
  return content[0] ?? -1;
}

t.test('volumes that are replaced drop a volume that is being added, and what waits', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1]);
  rig.holdsOpenings = true;
  const outcomes = commitAll(volumes, added(11, 2), written(12, 1, 7), written(13, 1, 8));
  await pollUntil('the new volume is being opened', () => rig.openings.length === 1);
  t.ok(volumes.busy);
  rig.holdsOpenings = false;
  let isReplaced = false;
  const replaced = volumes.replace(entries(1, 2), 5).then(() => {
    isReplaced = true;
  });
  const [old] = rig.openings;
  t.ok(old?.how.isOver(), 'the opening of old is told so');
  t.notOk(volumes.busy);
  t.notOk(isReplaced, 'nothing is opened anew before it has ended');
  old?.goOn();
  await replaced;
  t.same(outcomes.sort(), ['11 dropped', '12 dropped', '13 dropped']);
  t.equal(volumes.committedThrough, 5);
  t.equal(await contentOf(volumes, 1), 0, 'nothing of what waited is in the volume');
  const after = commitAll(volumes, written(6, 2, 9));
  t.same(after, ['6 done']);
  t.equal(await contentOf(volumes, 2), 9);
  t.equal(volumes.committedThrough, 6);
  await volumes.close();
  t.ok(await rig.allClosed(), 'also the files of the volume that was not added');
  t.same(rig.failures, []);
});

t.test('an error of a change that counts no more is nobody’s', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1]);
  rig.holdsOpenings = true;
  const outcomes = commitAll(volumes, added(11, 2), written(12, 1, 7));
  await pollUntil('the new volume is being opened', () => rig.openings.length === 1);
  const closed = volumes.close();
  rig.openings[0]?.fail(new Error('the files are closed'));
  await closed;
  t.same(outcomes.sort(), ['11 dropped', '12 dropped']);
  t.same(rig.failures, []);
  t.same(commitAll(volumes, written(13, 1, 8)), ['13 dropped'], 'nothing is committed any more');
});

t.test('volumes can be closed while one waits for room to grow', async (t) => {
  const rig = new Rig(t);
  const { volumes, disk } = rig;
  await rig.begin([1]);
  disk.inject({ operation: 'resize-data', code: 'ENOSPC', times: 1000 });
  const outcomes = commitAll(volumes, resized(11, 1));
  await disk.settle();
  const closed = volumes.close();
  rig.passTime();
  await closed;
  t.same(outcomes, ['11 dropped']);
  t.same(rig.failures, [], 'the disk has not failed');
});

t.test('volumes that are closed while one grows wait for both of its files', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1]);
  const outcomes = commitAll(volumes, resized(11, 1));
  await volumes.close();
  t.same(outcomes, ['11 dropped']);
  t.same(rig.failures, []);
});

t.test('volumes that are closed while they are replaced stay closed', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1, 2]);
  rig.holdsOpenings = true;
  const replaced = volumes.replace(entries(1, 2, 3), 5);
  await pollUntil('the first is opened anew', () => rig.openings.length === 1);
  rig.openings[0]?.goOn();
  await pollUntil('and the second', () => rig.openings.length === 2);
  const closed = volumes.close();
  rig.openings[1]?.goOn();
  await Promise.all([replaced, closed]);
  t.equal(rig.openings.length, 2, 'no more files are opened');
  t.ok(await rig.allClosed());
  t.same(rig.failures, []);
});

t.test('what waits for a change of the table counts as backlog', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1]);
  rig.holdsOpenings = true;
  const frames = [written(12, 1, 7), written(13, 1, 8)];
  const outcomes = commitAll(volumes, added(11, 2), ...frames);
  await pollUntil('the new volume is being opened', () => rig.openings.length === 1);
  t.equal(
    volumes.backlogBytes,
    frames.reduce((bytes, frame) => bytes + frameWeightBytes(frame), 0),
  );
  rig.openings[0]?.goOn();
  await pollUntil('all of it has taken effect', () => outcomes.length === 3);
  t.ok(rig.progress > 0, 'who is slowed down by it is told that it goes on');
  await volumes.idle();
  t.equal(volumes.backlogBytes, 0);
  commitAll(volumes, added(14, 3), written(15, 1, 9));
  await pollUntil('another one is being opened', () => rig.openings.length === 2);
  const closed = volumes.close();
  t.equal(volumes.backlogBytes, 0, 'what is dropped is none');
  rig.openings[1]?.goOn();
  await closed;
});

function removed(sequence: number, volume: number): Frame {
  return frameOf(sequence, documentRecord(recordKind.volumeRemove, volume, { volume }));
}

async function filesOf(disk: SimulatedDisk, volume: number): Promise<readonly string[]> {
  const names = await disk.list('/volumes');
  return names.filter((name) => name.startsWith(`${groupId}-${volume}.`));
}

t.test('files that could not be removed go with a later checkpoint', async (t) => {
  const rig = new Rig(t);
  const { volumes, disk } = rig;
  await rig.begin([1, 2, 3]);
  commitAll(volumes, removed(11, 1), removed(12, 2), removed(13, 3));
  await pollUntil('they are removed from the table', () => volumes.count === 0);
  // Of the first volume one file is gone by then, the other is not.
  disk.inject({ operation: 'remove', code: 'EPERM', nth: 2 });
  await t.rejects(volumes.checkpointed(12), { code: 'EPERM' });
  t.equal((await filesOf(disk, 1)).length, 1);
  t.same(await filesOf(disk, 2), [], 'the others are removed all the same');
  t.equal((await filesOf(disk, 3)).length, 2, 'but for those that the checkpoint has not passed');
  await volumes.checkpointed(13);
  t.same(await disk.list('/volumes'), []);
});

t.test('files that can’t be removed are told of once', async (t) => {
  const rig = new Rig(t);
  const { volumes, disk } = rig;
  await rig.begin([1]);
  commitAll(volumes, removed(11, 1));
  await pollUntil('it is removed from the table', () => volumes.count === 0);
  disk.inject({ operation: 'remove', code: 'EPERM', times: 2 });
  await t.rejects(volumes.checkpointed(11), { code: 'EPERM' });
  await volumes.checkpointed(12);
  t.equal((await filesOf(disk, 1)).length, 2);
  await volumes.checkpointed(13);
  t.same(await filesOf(disk, 1), []);
});

t.test('volumes are opened anew when what removes files has ended', async (t) => {
  const rig = new Rig(t);
  const { volumes } = rig;
  await rig.begin([1]);
  commitAll(volumes, removed(11, 1));
  await pollUntil('it is removed from the table', () => volumes.count === 0);
  const checkpointed = volumes.checkpointed(11);
  await volumes.replace(entries(1), 5);
  t.same(commitAll(volumes, written(6, 1, 9)), ['6 done']);
  await checkpointed;
  await volumes.idle();
  t.equal((await filesOf(rig.disk, 1)).length, 2, 'the files are those of the new volume');
});
