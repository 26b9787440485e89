/**
 * What of the log is still needed (R31). A segment is needed as long as it holds a frame above a
 * group's own need (hard: recovery would miss it) or above its peer's need (soft: it gives way when
 * the log's limit needs the room; the peer then catches up in another way).
 */
import type { GroupId } from './frame.ts';
import type { Segment } from './segments.ts';

export interface Needs {
  /** Frames above are needed by this site: its checkpoint. */
  readonly own: number;
  /** Frames above are wanted for the peer. */
  readonly peer: number;
}

export type Hold = 'own' | 'peer' | 'nothing';

export class Retention {
  readonly #needs = new Map<GroupId, Needs>();

  /** A group's needs; they only rise, except after a restart of the group's history. */
  set(groupId: GroupId, needs: Needs): void {
    this.#needs.set(groupId, needs);
  }

  remove(groupId: GroupId): void {
    this.#needs.delete(groupId);
  }

  /** The groups that need the segment themselves. */
  ownersOf(segment: Segment): GroupId[] {
    const entries = [...segment.lastSequences];
    const needs = (groupId: GroupId): number => this.#needs.get(groupId)?.own ?? 0;
    return entries.filter(([groupId, last]) => last > needs(groupId)).map(([groupId]) => groupId);
  }

  /** Who holds the segment. A group that has not said what it needs needs everything. */
  holdOn(segment: Segment): Hold {
    let hold: Hold = 'nothing';
    for (const [groupId, lastSequence] of segment.lastSequences) {
      const needs = this.#needs.get(groupId);
      if (needs === undefined || lastSequence > needs.own) return 'own';
      if (lastSequence > needs.peer) hold = 'peer';
    }
    return hold;
  }
}
