/**
 * Blocks of a volume, from the other site (R34): asking for them, and answering. A site answers
 * with everything that was committed where the question was asked (H45), checked against its own
 * checksums, and asks nobody itself while it does: two sites that miss the same block both say so.
 */
import type { HealingReport, PeerBlocks } from '../../wal/block-healing.ts';
import { crc32c } from '../../wal/checksum.ts';
import { CasemateError } from '../errors.ts';
import type { PeerCallParameters, PeerCallResult } from '../peer-calls.ts';
import type { Group } from './group.ts';
import type { GroupContext } from './group-context.ts';

/** How long the asked site waits to learn that what it is asked for is committed. */
const commitMsMax = 3000;
/** Healed blocks are told together when no more come for so long. */
const gatherEventsMs = 200;
/** How often blocks that could not be healed are tried again. */
const tryAgainMs = 5000;

/** Asks for a range of a volume. Undefined: the other site can't help; does not reject. */
export async function fetchBlocks(
  context: GroupContext,
  group: Group,
  range: { readonly volume: number; readonly offsetBytes: number; readonly lengthBytes: number },
): Promise<PeerBlocks | undefined> {
  const { groupId, view } = group;
  try {
    const answer = await context.askBlocks({ groupId, ...range, commit: view.commit });
    const data = Buffer.from(answer.data);
    if (crc32c(data) !== answer.checksum) return undefined;
    return { data, inSync: answer.inSync && group.view.inSyncWithPeer };
  } catch {
    // Not connected, too slow, or without the block itself: all the same to who needs it.
    return undefined;
  }
}

/** Answers the other site; throws CasemateError when it can't. */
export async function answerBlocks(
  group: Group | undefined,
  asked: PeerCallParameters<'blocks'>,
  delay: (ms: number) => Promise<void>,
): Promise<PeerCallResult<'blocks'>> {
  const { offsetBytes, lengthBytes, commit } = asked;
  if (group === undefined) throw cannotHelp('this site does not have the group');
  let isLate = false;
  const reached = (): boolean => isLate || group.closed || group.volumes.committedThrough >= commit;
  await Promise.race([group.waitFor(reached), delay(commitMsMax)]);
  isLate = true;
  const volume = group.volumes.byNumber(asked.volume);
  if (group.closed || group.volumes.committedThrough < commit || volume === undefined) {
    throw cannotHelp(`record ${commit} is not committed here`);
  }
  if (offsetBytes + lengthBytes > volume.store.sizeBytes) {
    throw cannotHelp('the volume is smaller here');
  }
  const data = Buffer.allocUnsafeSlow(lengthBytes);
  await volume.store.readUnhealed(data, offsetBytes);
  return { data, checksum: crc32c(data), inSync: group.view.inSyncWithPeer };
}

function cannotHelp(why: string): CasemateError {
  return new CasemateError('ERR_BLOCKS_UNAVAILABLE', `these blocks can't be given: ${why}`);
}

/** Says what became of bad blocks of one volume, as events: what was healed in a row in one. */
export class HealingEvents {
  readonly #context: Pick<GroupContext, 'event' | 'delay'>;
  readonly #group: string;
  readonly #volumeName: () => string;
  #healed = { blocks: 0, offsetBytes: 0 };

  constructor(
    context: Pick<GroupContext, 'event' | 'delay'>,
    group: string,
    volumeName: () => string,
  ) {
    this.#context = context;
    this.#group = group;
    this.#volumeName = volumeName;
  }

  take(report: HealingReport): void {
    const { kind, offsetBytes, lengthBytes } = report;
    if (kind === 'unreadable') {
      const text =
        `${lengthBytes} bytes at ${offsetBytes} of volume ${this.#volumeName()} can't be read or ` +
        'do not match their checksum, and the other site could not help; reads of them fail';
      this.#context.event('error', 'block-unreadable', this.#group, text);
      return;
    }
    this.#healed.blocks += 1;
    if (this.#healed.blocks > 1) return;
    this.#healed.offsetBytes = offsetBytes;
    void this.#context.delay(gatherEventsMs).then(() => this.#tellHealed());
  }

  #tellHealed(): void {
    const { blocks, offsetBytes } = this.#healed;
    this.#healed = { blocks: 0, offsetBytes: 0 };
    const what = blocks === 1 ? 'a block' : `${blocks} blocks, the first of them`;
    const text =
      `${what} at byte ${offsetBytes} of volume ${this.#volumeName()} had rotted on this disk and ` +
      'was rewritten from the other site';
    this.#context.event('warn', 'block-healed', this.#group, text);
  }
}

/** Tries again, now and then, to heal what could not be healed when it was found. */
export class HealingRetries {
  #nextMs = 0;

  tick(nowMs: number, groups: Iterable<Group>): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + tryAgainMs;
    for (const group of groups) {
      if (group.view.peer.kind !== 'in-sync') continue;
      for (const { store } of group.volumes.all) {
        if (store.damage.badBlockCount === 0) continue;
        // What goes wrong with the disk on the way is told by the store itself.
        store.healKnown().catch(() => undefined);
      }
    }
  }
}
