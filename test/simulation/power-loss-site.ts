/**
 * One site below the daemon, for power-loss tests: the production Log and VolumeStores of several
 * groups on a simulated disk, driven as a daemon without a peer would (durable = committed), and
 * beside it what was issued, what was acknowledged, and what the volumes should contain.
 */
import assert from 'node:assert/strict';
import {
  emptyHistoryDigest,
  type Frame,
  type HistoryPoint,
  type LogRecord,
} from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import { type Appender, Log, type LogEntry, type LogMarks } from '../../wal/log.ts';
import { VolumeStore } from '../../wal/volume-store.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { applyToModel, randomRecord } from './volume-model.ts';

const storeId = '5'.repeat(32);
const epochId = 'e'.repeat(32);
const segmentSizeBytes = 64 * 1024;
const framePayloadBytesMax = 40_000;

/** What outlives a crash, apart from the disk: the checkpoints (SQLite in a real site). */
interface DurableMarks {
  marks: LogMarks;
}

/** A group's story, told by its issuer: all records that may count, by sequence, from 1 on. */
export class GroupStory {
  readonly groupId: string;
  readonly volumeSizes: readonly number[];
  readonly issued: LogRecord[] = [];
  acknowledged = 0;
  readonly durable: DurableMarks = {
    marks: { checkpoint: { sequence: 0, digest: emptyHistoryDigest }, acknowledgedMark: 0 },
  };

  constructor(groupId: string, volumeSizes: readonly number[]) {
    this.groupId = groupId;
    this.volumeSizes = volumeSizes;
  }

  /** What the volumes contain when the first `sequence` records are applied. */
  contentAt(sequence: number): Buffer[] {
    const contents = this.volumeSizes.map((sizeBytes) => Buffer.alloc(sizeBytes));
    for (const record of this.issued.slice(0, sequence)) {
      const content = contents[record.volume - 1];
      assert(content !== undefined);
      applyToModel(content, record);
    }
    return contents;
  }
}

/** A group in one life of the site. */
class LiveGroup implements Appender {
  readonly groupId: string;
  readonly story: GroupStory;
  readonly stores: VolumeStore[] = [];
  readonly #random: SeededRandom;
  #queued: LogEntry[] = [];
  #end: HistoryPoint;
  /** The ends of frames, up to the newest committed one. */
  #boundaries: HistoryPoint[];
  committed: number;

  constructor(story: GroupStory, end: HistoryPoint, random: SeededRandom) {
    this.groupId = story.groupId;
    this.story = story;
    this.#random = random;
    this.#end = end;
    this.#boundaries = [];
    this.committed = 0;
  }

  get end(): HistoryPoint {
    return this.#end;
  }

  get urgent(): boolean {
    return this.#queued.some(({ kind }) => kind === 'cut');
  }

  takeEntries(budgetBytes: number): readonly LogEntry[] {
    const taken: LogEntry[] = [];
    let bytes = 0;
    for (let next = this.#queued[0]; next?.kind === 'frame'; next = this.#queued[0]) {
      if (taken.length > 0 && bytes + next.frame.sizeBytes > budgetBytes) break;
      bytes += next.frame.sizeBytes;
      taken.push(next);
      this.#queued.shift();
    }
    return taken;
  }

  entriesDurable(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      assert(entry.kind === 'frame');
      this.commit(entry.frame);
      this.story.acknowledged = Math.max(this.story.acknowledged, entry.frame.lastSequence);
    }
  }

  commit(frame: Frame): void {
    assert.equal(frame.firstSequence, this.committed + 1, 'in order, without gaps');
    this.stores.forEach((store, index) => {
      const records = frame.records.filter((record) => record.volume === index + 1);
      if (records.length > 0) store.commit(records, frame.lastSequence);
    });
    this.committed = frame.lastSequence;
    this.#boundaries.push({ sequence: frame.lastSequence, digest: frame.digestAfter });
  }

  startAt(checkpoint: HistoryPoint): void {
    this.committed = checkpoint.sequence;
    this.#boundaries = [checkpoint];
  }

  issueFrame(): void {
    const records: LogRecord[] = [];
    let bytes = 0;
    for (let count = 1 + this.#random.below(4); count > 0; count -= 1) {
      const volume = 1 + this.#random.below(this.stores.length);
      const sizeBytes = this.story.volumeSizes[volume - 1] ?? 0;
      const record = randomRecord(this.#random, sizeBytes, volume);
      bytes += record.payload.length === 0 ? 0 : record.lengthBytes;
      if (records.length > 0 && bytes > framePayloadBytesMax) break;
      records.push(record);
    }
    const frame = encodeFrame({
      groupId: this.groupId,
      epoch: 1,
      epochId,
      firstSequence: this.#end.sequence + 1,
      commit: this.committed,
      timeMs: 1,
      digestBefore: this.#end.digest,
      records,
    });
    this.story.issued.push(...records);
    this.#end = { sequence: frame.lastSequence, digest: frame.digestAfter };
    this.#queued.push({ kind: 'frame', frame });
  }

  get queuedFrames(): number {
    return this.#queued.length;
  }

  /** The newest frame end that all volumes have applied. */
  appliedPoint(): HistoryPoint {
    let applied = this.committed;
    for (const store of this.stores) applied = Math.min(applied, store.appliedThrough);
    const passed = this.#boundaries.filter((point) => point.sequence <= applied);
    const last = passed.at(-1);
    assert(last !== undefined, 'the checkpoint is always applied');
    this.#boundaries = this.#boundaries.filter((point) => point.sequence >= last.sequence);
    return last;
  }
}

export class PowerLossSite {
  readonly groups: LiveGroup[] = [];
  /** Records found at the start that had not been acknowledged. */
  keptRecords = 0;
  readonly #disk: SimulatedDisk;
  readonly #random: SeededRandom;
  readonly #log: Log;
  #failure: unknown;
  #checkpointing = false;

  private constructor(disk: SimulatedDisk, random: SeededRandom, log: Log) {
    this.#disk = disk;
    this.#random = random;
    this.#log = log;
    log.onFailure = (error) => this.#fail(error);
  }

  /** Starts the site: recovers the log, replays it, and checks everything that can be read. */
  static async start(
    disk: SimulatedDisk,
    stories: readonly GroupStory[],
    random: SeededRandom,
  ): Promise<PowerLossSite> {
    const marks = new Map(stories.map((story) => [story.groupId, story.durable.marks]));
    const { log, recovery } = await Log.open({
      disk,
      directory: '/site/log',
      storeId,
      segmentSizeBytes,
      sizeBytesMax: 4 * segmentSizeBytes,
      commitBytesMax: 32 * 1024,
      marks,
      nowMs: () => 0,
    });
    const site = new PowerLossSite(disk, random, log);
    for (const story of stories) {
      const recovered = recovery.groups.get(story.groupId);
      assert.equal(recovered?.damaged, undefined, 'a power loss does no damage');
      const { checkpoint } = story.durable.marks;
      const end = recovered?.end ?? checkpoint;
      assert(end.sequence >= story.acknowledged, 'nothing that was acknowledged is missing');
      assert(end.sequence <= story.issued.length, 'nothing is there that was never issued');
      story.issued.length = end.sequence;
      const known = Math.max(checkpoint.sequence, recovered?.lastFrameCommit ?? 0);
      await site.#startGroup(story, end, known);
    }
    return site;
  }

  async #startGroup(story: GroupStory, end: HistoryPoint, knownCommit: number): Promise<void> {
    const group = new LiveGroup(story, end, this.#random);
    for (const [index, sizeBytes] of story.volumeSizes.entries()) {
      const store = await VolumeStore.open({
        disk: this.#disk,
        directory: '/site/volumes',
        name: `${story.groupId.slice(0, 4)}-${index + 1}`,
        sizeBytes,
        checksumCacheBytesMax: 0,
        applyConcurrency: 1 + this.#random.below(4),
        nowMs: () => 0,
        onProgress: () => undefined,
        onFailure: (error) => this.#fail(error),
        onStall: (error) => this.#fail(error),
        delay: () => Promise.reject(new Error('nothing is full here')),
      });
      store.setReplaying(true);
      group.stores.push(store);
    }
    const { checkpoint } = story.durable.marks;
    group.startAt(checkpoint);
    await this.#replay(group, knownCommit);
    // What was not known to be committed is found to be, later: it may be in the files already.
    for (const store of group.stores) {
      await store.idle();
      store.setReplaying(false, end.sequence);
    }
    await this.#replay(group, end.sequence);
    // Reads show it from now on, so it counts as acknowledged.
    const newly = end.sequence - story.acknowledged;
    this.keptRecords += newly;
    story.acknowledged = end.sequence;
    assert.deepEqual(
      this.#log.digestAt(group.groupId, end.sequence) ?? checkpoint.digest,
      end.digest,
    );
    this.groups.push(group);
    await this.#checkAll(group, this.#random.chance(0.5));
    this.#log.retain(group.groupId, { own: checkpoint.sequence, peer: checkpoint.sequence });
  }

  async #replay(group: LiveGroup, through: number): Promise<void> {
    for (;;) {
      if (group.committed >= Math.min(through, group.end.sequence)) return;
      const frames = await this.#log.readFrames(group.groupId, group.committed, 32 * 1024);
      for (const frame of frames) {
        if (frame.lastSequence > through) return;
        group.commit(frame);
      }
      this.assertHealthy();
    }
  }

  async #checkAll(group: LiveGroup, whenIdle: boolean): Promise<void> {
    const contents = group.story.contentAt(group.committed);
    for (const [index, store] of group.stores.entries()) {
      if (whenIdle) await store.idle();
      const expected = contents[index];
      const target = Buffer.alloc(store.sizeBytes);
      await store.read(target, 0);
      assert(expected !== undefined && target.equals(expected), `volume ${index + 1} is wrong`);
    }
    this.assertHealthy();
  }

  /** Something a daemon does: takes writes, reads, makes a checkpoint. */
  act(): void {
    this.assertHealthy();
    const group = this.#random.pick(this.groups);
    const dice = this.#random.below(20);
    if (dice < 5) {
      if (group.queuedFrames > 4) return;
      for (let frames = 1 + this.#random.below(2); frames > 0; frames -= 1) group.issueFrame();
      this.#log.schedule(group);
    } else if (dice < 7) {
      this.#readNow(group);
    } else if (dice === 7 || this.#log.stats().waitsForRoom) {
      if (this.#checkpointing) return;
      this.#checkpointing = true;
      this.#checkpoint().then(
        () => {
          this.#checkpointing = false;
        },
        (error: unknown) => this.#fail(error),
      );
    }
  }

  #readNow(group: LiveGroup): void {
    const index = this.#random.below(group.stores.length);
    const store = group.stores[index];
    assert(store !== undefined);
    const lengthBytes = 1 + this.#random.below(9000);
    const offsetBytes = this.#random.below(store.sizeBytes - lengthBytes + 1);
    const target = Buffer.alloc(lengthBytes);
    if (!store.readNow(target, offsetBytes)) return;
    const expected = group.story.contentAt(group.committed)[index];
    assert(expected?.subarray(offsetBytes, offsetBytes + lengthBytes).equals(target), 'a read');
  }

  /** As a daemon does it: what is applied, made durable, then noted, then the log may let go. */
  async #checkpoint(): Promise<void> {
    for (const group of this.groups) {
      const point = group.appliedPoint();
      await Promise.all(group.stores.map((store) => store.sync()));
      group.story.durable.marks = {
        checkpoint: point,
        acknowledgedMark: group.story.acknowledged,
      };
      this.#log.retain(group.groupId, { own: point.sequence, peer: point.sequence });
    }
  }

  assertHealthy(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(error: unknown): void {
    this.#failure ??= error ?? new Error('failed');
  }
}
