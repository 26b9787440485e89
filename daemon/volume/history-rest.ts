/**
 * Fetches the end of a group's history from the peer, frame by frame, for a log that may have lost
 * it (R30), and keeps it until the core has looked at all of it. Asks until it has an answer, or
 * nobody waits for one any more.
 */
import type { CoreEvent, CoreView } from '../../replication/core/events.ts';
import type { Frame, GroupId, HistoryPoint } from '../../wal/frame.ts';
import { decodeFrame, frameSizeBytesMax } from '../../wal/frame-format.ts';
import { frameUnavailable } from '../peer-calls.ts';
import { summarise } from './frame-summary.ts';
import type { GroupContext } from './group-context.ts';
import { epochStartOf } from './record-payloads.ts';

/** How often a peer that can't be reached, or is not ready, is asked again. */
const tryAgainMs = 100;

/** What is looked at of the group. */
export interface RestGroup {
  readonly groupId: GroupId;
  readonly view: CoreView;
  readonly closed: boolean;
}

export class HistoryRest {
  readonly #context: GroupContext;
  readonly #group: RestGroup;
  readonly #tell: (event: CoreEvent) => void;
  #frames: readonly Frame[] = [];

  constructor(context: GroupContext, group: RestGroup, tell: (event: CoreEvent) => void) {
    this.#context = context;
    this.#group = group;
    this.#tell = tell;
  }

  /** Asks for what follows `after`, and tells the core what came. */
  fetch(after: HistoryPoint): void {
    void this.#fetch(after).then((frames) => {
      this.#frames = frames;
      const summaries = frames.map((frame) => summarise(frame, epochStartOf(frame.records)));
      this.#tell({ kind: 'restFetched', frames: summaries });
      this.#frames = [];
    });
  }

  /** The frames that the core is looking at: it takes all of them. */
  get frames(): readonly Frame[] {
    return this.#frames;
  }

  /** Primary by the register, and not by a swap of this life. */
  get #isWanted(): boolean {
    const { closed, view } = this.#group;
    return !closed && !view.reigning && view.config?.primary === this.#context.storeId;
  }

  async #fetch(after: HistoryPoint): Promise<Frame[]> {
    const frames: Frame[] = [];
    // No primary has more under way than it may have in flight, and a frame.
    let leftBytes = this.#context.limits.inFlightBytesMax + frameSizeBytesMax;
    let { sequence } = after;
    while (this.#isWanted) {
      const frame = await this.#ask(sequence);
      if (frame === 'later') {
        await this.#context.delay(tryAgainMs);
        continue;
      }
      if (frame === 'none' || frame.firstSequence !== sequence + 1) return frames;
      // What the peer has written in a reign of its own is for a site that follows it.
      const start = epochStartOf(frame.records);
      if (start !== undefined && start.primary !== this.#context.storeId) return frames;
      leftBytes -= frame.sizeBytes;
      if (leftBytes < 0) return [];
      frames.push(frame);
      sequence = frame.lastSequence;
    }
    return [];
  }

  async #ask(after: number): Promise<Frame | 'none' | 'later'> {
    try {
      const answer = await this.#context.askFrame({ groupId: this.#group.groupId, after });
      return decodeFrame([Buffer.from(answer.frame)]);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      return code === frameUnavailable ? 'none' : 'later';
    }
  }
}
