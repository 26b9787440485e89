/**
 * The end of groups that were removed (R39): first what the store and the log have of them, then
 * their files, which are deleted, or set aside if nobody here asked for it. Where there is no room
 * for that it is tried again until there is: nothing that counts depends on it. After a crash
 * before the store has it, the next start finds the group removed in the register.
 */
import { join } from 'node:path';
import { isMissing, isOutOfSpace } from '../wal/disk-error.ts';
import type { GroupId } from '../wal/frame.ts';
import { fullDiskRetryMs } from '../wal/volume-store.ts';
import { isWithoutRoom } from './store/errors.ts';
import type { Group } from './volume/group.ts';
import type { GroupContext } from './volume/group-context.ts';
import { setAside } from './volume/set-aside.ts';

type EndingsContext = Pick<
  GroupContext,
  'disk' | 'dataDirectory' | 'delay' | 'event' | 'failed'
> & {
  readonly store: Pick<GroupContext['store'], 'removeGroup'>;
  readonly log: Pick<GroupContext['log'], 'forget'>;
};

export type EndedGroup = Pick<Group, 'groupId' | 'groupName' | 'close'>;

/** What becomes of the files. */
export type EndHow = 'delete-files' | 'set-aside';

/** One group's end. */
class Ending {
  readonly group: EndedGroup;
  /** Resolves when there is no room for it, and it goes on by itself. */
  readonly waits: Promise<void>;
  isWaiting = false;
  #nowWaits: () => void = () => undefined;

  constructor(group: EndedGroup) {
    this.group = group;
    this.waits = new Promise((resolve) => {
      this.#nowWaits = resolve;
    });
  }

  wait(): void {
    this.isWaiting = true;
    this.#nowWaits();
  }
}

export class GroupEndings {
  readonly #context: EndingsContext;
  readonly #underWay = new Map<GroupId, Promise<void>>();
  #isClosed = false;

  constructor(context: EndingsContext) {
    this.#context = context;
  }

  /** The group is being ended: the store may still have it as one that there is. */
  has(groupId: GroupId): boolean {
    return this.#underWay.has(groupId);
  }

  /** What waits for room is left to the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay.values());
  }

  /** Resolves when the group is ended, or as soon as that waits for room and goes on by itself. */
  async end(group: EndedGroup, how: EndHow): Promise<void> {
    const ending = new Ending(group);
    const ended = this.#end(ending, how).finally(() => this.#underWay.delete(group.groupId));
    this.#underWay.set(group.groupId, ended);
    ended.catch((error: unknown) => {
      if (ending.isWaiting) this.#context.failed(error);
    });
    await Promise.race([ended, ending.waits]);
  }

  async #end(ending: Ending, how: EndHow): Promise<void> {
    const { store, log, event, dataDirectory } = this.#context;
    const { groupId, groupName } = ending.group;
    await ending.group.close();
    if (!(await this.#whenRoom(ending, () => store.removeGroup(groupId)))) return;
    log.forget(groupId);
    try {
      await this.#whenRoom(ending, () => this.#endFiles(groupId, how));
    } catch (error) {
      const text = `files of the removed group are left in ${dataDirectory}: ${String(error)}`;
      event('warn', 'files-left', groupName, text);
    }
  }

  /** False if the site is closed before there was room. */
  async #whenRoom(ending: Ending, task: () => Promise<void> | void): Promise<boolean> {
    do {
      try {
        await task();
        return true;
      } catch (error) {
        if (!isWithoutRoom(error)) throw error;
        if (!ending.isWaiting) {
          const text = `the end of the removed group waits for room: ${String(error)}`;
          this.#context.event('error', 'removal-waits', ending.group.groupName, text);
        }
        ending.wait();
      }
      await this.#context.delay(fullDiskRetryMs);
    } while (!this.#isClosed);
    return false;
  }

  async #endFiles(groupId: GroupId, how: EndHow): Promise<void> {
    const { disk, dataDirectory } = this.#context;
    await this.#eachFile(groupId, (file) =>
      how === 'delete-files'
        ? disk.remove(join(dataDirectory, file))
        : setAside(this.#context, file),
    );
    await disk.syncDirectory(dataDirectory);
  }

  /** Those that can't be moved keep no other; what has removed its own files meanwhile is right. */
  async #eachFile(groupId: GroupId, end: (file: string) => Promise<void>): Promise<void> {
    const { disk, dataDirectory } = this.#context;
    const left: unknown[] = [];
    for (const file of await disk.list(dataDirectory)) {
      if (!file.startsWith(`${groupId}-`)) continue;
      try {
        await end(file);
      } catch (error) {
        if (isOutOfSpace(error)) throw error;
        if (!isMissing(error)) left.push(error);
      }
    }
    if (left.length > 0) throw left[0];
  }
}
