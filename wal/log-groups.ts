/**
 * What the running log knows of each group: where its frames are, how far they are durable, and
 * that what is appended continues what is there.
 *
 * Frames enter the index when they are appended, so that a cut in the same write finds them; they
 * are readable when they are durable. What of a segment a group needs changes only when the entry
 * that changes it is durable: a segment freed because of a cut that is then lost in a crash would
 * leave a gap.
 */
import assert from 'node:assert/strict';
import type { GroupId, HistoryPoint } from './frame.ts';
import { FrameIndex } from './frame-index.ts';
import type { LogEntry } from './log-types.ts';
import type { Segment } from './segments.ts';

export interface LogGroup {
  readonly index: FrameIndex;
  /** Frames up to here may be read. */
  durableSequence: number;
  /** A frame up to here could not be read back: nobody can be brought up to date across it. */
  unreadableThrough: number;
  /**
   * The recovered log holds entries of the group beyond its good end: before anything is appended a
   * cut has to void them.
   */
  mustCut: boolean;
}

export class LogGroups {
  readonly #groups = new Map<GroupId, LogGroup>();
  readonly #forgotten = new Set<GroupId>();

  /** A group as recovery found it. */
  add(groupId: GroupId, index: FrameIndex, damaged: boolean): void {
    this.#groups.set(groupId, newGroup(index, damaged));
  }

  get(groupId: GroupId): LogGroup | undefined {
    return this.#groups.get(groupId);
  }

  /** Nothing of the group is of use any more; what is still under way for it counts for nothing. */
  forget(groupId: GroupId, live: readonly Segment[]): void {
    this.#groups.delete(groupId);
    this.#forgotten.add(groupId);
    for (const segment of live) segment.lastSequences.delete(groupId);
  }

  /**
   * The cut that has to go before `entry`, if there is one. Told once: what is taken after this
   * entry is appended after it.
   */
  cutBefore(entry: LogEntry): LogEntry | undefined {
    const groupId = entry.kind === 'frame' ? entry.frame.groupId : entry.groupId;
    const group = this.#groups.get(groupId);
    if (group?.mustCut !== true) return undefined;
    group.mustCut = false;
    return entry.kind === 'cut' ? undefined : { kind: 'cut', groupId, to: group.index.end };
  }

  /**
   * The entry gets its place in the log, at `lsn`. Gives, for a cut, whether the group's history
   * begins anew with it (what it cuts to is not in the log).
   */
  append(entry: LogEntry, lsn: number): boolean {
    if (entry.kind === 'cut') return this.#appendCut(entry.groupId, entry.to);
    const { frame } = entry;
    if (this.#forgotten.has(frame.groupId)) return false;
    let group = this.#groups.get(frame.groupId);
    if (group === undefined) {
      const base = { sequence: frame.firstSequence - 1, digest: frame.digestBefore };
      group = newGroup(new FrameIndex(base), false);
      this.#groups.set(frame.groupId, group);
    }
    const { end } = group.index;
    assert(frame.firstSequence === end.sequence + 1, 'a frame follows the last one of its group');
    assert(frame.digestBefore === end.digest, 'a frame continues the history of its group');
    group.index.add({
      firstSequence: frame.firstSequence,
      lastSequence: frame.lastSequence,
      lsn,
      frameSizeBytes: frame.sizeBytes,
      digestAfter: frame.digestAfter,
    });
    return false;
  }

  #appendCut(groupId: GroupId, to: HistoryPoint): boolean {
    if (this.#forgotten.has(groupId)) return false;
    const group = this.#groups.get(groupId);
    if (group === undefined) {
      this.#groups.set(groupId, newGroup(new FrameIndex(to), false));
      return true;
    }
    group.unreadableThrough = Math.min(group.unreadableThrough, to.sequence);
    if (group.index.digestAt(to.sequence) === to.digest) {
      group.index.truncate(to.sequence);
      group.durableSequence = Math.min(group.durableSequence, to.sequence);
      return false;
    }
    group.index.restart(to);
    group.durableSequence = to.sequence;
    return true;
  }

  /** The entry is durable, in the last of the live segments. */
  durable(entry: LogEntry, restart: boolean, live: readonly Segment[]): void {
    const groupId = entry.kind === 'frame' ? entry.frame.groupId : entry.groupId;
    const group = this.#groups.get(groupId);
    if (group === undefined) return;
    if (entry.kind === 'frame') {
      group.durableSequence = entry.frame.lastSequence;
      live.at(-1)?.lastSequences.set(groupId, entry.frame.lastSequence);
      return;
    }
    group.durableSequence = entry.to.sequence;
    for (const { lastSequences } of live) {
      const last = lastSequences.get(groupId);
      if (last === undefined) continue;
      if (restart) lastSequences.delete(groupId);
      else if (last > entry.to.sequence) lastSequences.set(groupId, entry.to.sequence);
    }
  }

  /** The segment was released: its frames are gone. */
  dropSegment(segment: Segment, endLsn: number): void {
    for (const groupId of segment.lastSequences.keys()) {
      this.#groups.get(groupId)?.index.dropBelow(endLsn);
    }
  }
}

function newGroup(index: FrameIndex, mustCut: boolean): LogGroup {
  return { index, durableSequence: index.end.sequence, unreadableThrough: 0, mustCut };
}
